/* The watchdog: a thread on each rank that detects a stalled job and ends it.
 *
 * Several times per time-out each rank's thread sends a heartbeat to rank 0: what its rank is doing. Rank 0 decides,
 * and sends its own heartbeat so that the others notice when rank 0 itself is lost. Messages use a communicator of
 * their own. The thread never waits: a heartbeat that cannot be sent now is left out. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/rank.h"
#include "gendistill/comm.h"

enum {
  DEFAULT_TIMEOUT = 600,  // seconds
  STALLED_STATUS = 134,   // of the program
  TICKS = 10,             // heartbeats per time-out
  REPORT_LENGTH = 4096,
  NAME_LENGTH = 48,
};

// A heartbeat: what a rank is doing.
typedef struct beat {
  double idle;  // seconds without progress
  int64_t step;
  int task;
  int is_last;  // the sender's thread has ended
  char work[NAME_LENGTH], call[NAME_LENGTH];
} beat;

// What this rank knows of another one.
typedef struct peer {
  beat last;
  double heard;  // when `last` arrived, on the clock of gd_seconds
  beat outgoing;
  MPI_Request sending;  // persistent, of `outgoing`
} peer;

struct gd_watchdog {
  gd_comm *comm;
  bool is_connected;  // there are other ranks, and threads can send messages
  peer *peers;        // (size)
  gd_side_thread *thread;
  uint64_t count;  // of this rank's progress, when it was observed last ...
  double changed;  // ... and when it had changed
};

static _Atomic double timeout = DEFAULT_TIMEOUT;

// ---- What this rank is doing

static beat observe_progress(gd_watchdog *w, double now) {
  gd_progress_state state = gd_progress_read();
  if (state.count != w->count) {
    w->count = state.count;
    w->changed = now;
  }
  beat b = {.idle = now - w->changed, .step = state.step, .task = state.task};
  snprintf(b.work, sizeof b.work, "%s", state.work);
  if (state.call) snprintf(b.call, sizeof b.call, "%s", state.call);
  return b;
}

// ---- Messages

// Rank 0 exchanges heartbeats with all others, they with rank 0 only.
static bool is_partner(const gd_watchdog *w, int rank) {
  return w->is_connected && rank != w->comm->rank && (rank == 0 || w->comm->rank == 0);
}

// False: the previous heartbeat is still on its way.
static bool send_beat(gd_watchdog *w, int rank, const beat *b) {
  peer *to = &w->peers[rank];
  int done;
  MPI_Test(&to->sending, &done, MPI_STATUS_IGNORE);
  if (!done) return false;
  to->outgoing = *b;
  MPI_Start(&to->sending);
  return true;
}

static void send_beats(gd_watchdog *w, const beat *b) {
  for (int rank = 0; rank < w->comm->size; rank++)
    if (is_partner(w, rank)) send_beat(w, rank, b);
}

// PMPI: the watchdog's own calls are no progress of the rank.
static void receive_beat(gd_watchdog *w, int rank) {
  PMPI_Recv(&w->peers[rank].last, sizeof(beat), MPI_BYTE, rank, 0, w->comm->mpi, MPI_STATUS_IGNORE);
  w->peers[rank].heard = gd_seconds();
}

static void receive_beats(gd_watchdog *w) {
  for (;;) {
    int there = 0;
    MPI_Status status;
    if (w->is_connected) MPI_Iprobe(MPI_ANY_SOURCE, 0, w->comm->mpi, &there, &status);
    if (!there) return;
    receive_beat(w, status.MPI_SOURCE);
  }
}

// ---- The report

typedef struct report {
  char text[REPORT_LENGTH];
  size_t length;
} report;

__attribute__((format(printf, 2, 3))) static void report_put(report *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(r->text + r->length, sizeof r->text - r->length, format, args);
  va_end(args);
  r->length += (size_t)n;
  if (r->length >= sizeof r->text) r->length = sizeof r->text - 1;
}

// Three ticks: one may be late.
static bool is_silent(const gd_watchdog *w, int rank, double now, double tick) {
  return rank != w->comm->rank && now - w->peers[rank].heard > 3 * tick;
}

static bool same_place(const beat *a, const beat *b) {
  return a->step == b->step && a->task == b->task && strcmp(a->work, b->work) == 0 && strcmp(a->call, b->call) == 0;
}

static void report_place(report *r, const beat *b) {
  if (*b->call) report_put(r, "in %s, ", b->call);
  report_put(r, "%s", b->work);
  if (b->step > 0) report_put(r, ", task %d step %lld", b->task, (long long)b->step);
}

// "; rank 0, 2, 3: in MPI_Bcast, ..." for each place. done (size): ranks to leave out, or already reported.
static void report_groups(report *r, const gd_watchdog *w, bool *done) {
  for (int first = 0; first < w->comm->size; first++) {
    if (done[first]) continue;
    const beat *place = &w->peers[first].last;
    report_put(r, "; rank %d", first);
    for (int rank = first + 1; rank < w->comm->size; rank++) {
      if (done[rank] || !same_place(place, &w->peers[rank].last)) continue;
      done[rank] = true;
      report_put(r, ", %d", rank);
    }
    report_put(r, ": ");
    report_place(r, place);
  }
}

// Names the silent ranks and what the others are doing, then ends all ranks.
_Noreturn static void end_job(gd_watchdog *w, double now, double limit) {
  report r = {.length = 0};
  bool *done = GD_NEW_ARRAY(bool, w->comm->size);
  int n_silent = 0;
  report_put(&r, "the job has stalled (comm.timeout_seconds: %g)", limit);
  for (int rank = 0; rank < w->comm->size; rank++) {
    // ranks other than 0 know only themselves and rank 0
    bool is_known = rank == w->comm->rank || is_partner(w, rank);
    done[rank] = !is_known;
    if (!is_known || !is_silent(w, rank, now, limit / TICKS)) continue;
    done[rank] = true;
    report_put(&r, "; rank %d has not answered for %.0f s, last seen ", rank, now - w->peers[rank].heard);
    report_place(&r, &w->peers[rank].last);
    n_silent++;
  }
  report_groups(&r, w, done);
  gd_free(done);
  if (n_silent > 0)
    report_put(&r,
               ". A rank that does not answer is stopped or gets no CPU time, or its node is lost: exclude that node");
  else
    report_put(&r, ". Ranks outside of MPI wait for a file system or compute endlessly; the others wait for them");
  report_put(&r, "; train --resume continues from the newest checkpoint");
  gd_log(GD_LOG_ERROR, "%s", r.text);
  alarm(20);  // MPI may hang as well
  MPI_Abort(MPI_COMM_WORLD, STALLED_STATUS);
  _exit(STALLED_STATUS);
}

// ---- The thread

static void end_if_stalled(gd_watchdog *w, double now, double limit) {
  int rank = w->comm->rank;
  // one message is enough: when rank 0 is silent, lower ranks report it before higher ones
  double min_idle = w->peers[rank].last.idle, patience = limit + 3 * rank * limit / TICKS;
  if (w->is_connected && rank == 0) {
    for (int i = 1; i < w->comm->size; i++) {
      double silent = now - w->peers[i].heard, idle = w->peers[i].last.idle + silent;
      if (silent > limit) end_job(w, now, limit);
      if (idle < min_idle) min_idle = idle;
    }
  } else if (w->is_connected) {
    min_idle = now - w->peers[0].heard;  // rank 0 checks the others
  }
  if (min_idle > patience) end_job(w, now, limit);
}

// All times are counted from now.
static void restart_clocks(gd_watchdog *w, double now) {
  for (int rank = 0; rank < w->comm->size; rank++) {
    w->peers[rank].heard = now;
    w->peers[rank].last.idle = 0;
  }
  w->changed = now;
}

static void watchdog_main(gd_side_thread *thread, void *context) {
  gd_watchdog *w = context;
  double last = gd_seconds(), last_limit = 0;
  for (;;) {
    double limit = atomic_load(&timeout), tick = limit > 0 ? limit / TICKS : 1;
    if (tick > 10) tick = 10;
    if (!gd_side_thread_rest(thread, tick < 0.5 ? tick : 0.5)) return;  // a shorter time-out may be set meanwhile
    double now = gd_seconds();
    // at the start, after a new time-out and after the whole job was suspended, the full time-out applies
    bool is_new = now - last > 5 * tick || limit != last_limit;
    if (!is_new && now - last < tick) continue;
    last = now;
    last_limit = limit;
    w->peers[w->comm->rank].last = observe_progress(w, now);
    receive_beats(w);
    send_beats(w, &w->peers[w->comm->rank].last);
    if (is_new)
      restart_clocks(w, now);
    else if (limit > 0)
      end_if_stalled(w, now, limit);
  }
}

// ---- Start and end

void gd_watchdog_timeout(double seconds) {
  atomic_store(&timeout, seconds);
}

// Where a rank got no thread, ends all ranks with one message by rank 0.
static void require_thread_on_all(const gd_comm *comm, int code) {
  gd_err err = GD_OK;
  if (code) err = gd_error(GD_ERR_FAILED, "no thread for the watchdog: %s (ulimit -u, ulimit -v)", strerror(code));
  if (gd_comm_agree(comm, err) == GD_OK) return;
  if (comm->rank == 0) gd_abort("%s", gd_error_message());
  MPI_Barrier(comm->mpi);
}

void gd_watchdog_start(gd_watchdog **out, const gd_comm *comm) {
  gd_watchdog *w = GD_NEW(gd_watchdog);
  int threading;
  MPI_Query_thread(&threading);
  gd_comm_create(&w->comm, comm->mpi);
  w->is_connected = threading == MPI_THREAD_MULTIPLE && comm->size > 1;
  w->peers = GD_NEW_ARRAY(peer, comm->size);
  for (int rank = 0; rank < comm->size; rank++) {
    peer *p = &w->peers[rank];
    snprintf(p->last.work, NAME_LENGTH, "starting");
    if (is_partner(w, rank))
      MPI_Send_init(&p->outgoing, sizeof p->outgoing, MPI_BYTE, rank, 0, w->comm->mpi, &p->sending);
  }
  require_thread_on_all(comm, gd_side_thread_start(&w->thread, watchdog_main, w));
  *out = w;
}

void gd_watchdog_stop(gd_watchdog **watchdog) {
  gd_watchdog *w = *watchdog;
  if (!w) return;
  gd_side_thread_end(&w->thread);
  // one last heartbeat to each partner; receive all of a partner's up to its last one
  for (int rank = 0; rank < w->comm->size; rank++)
    while (is_partner(w, rank) && !send_beat(w, rank, &(beat){.is_last = 1})) continue;
  for (int rank = 0; rank < w->comm->size; rank++)
    while (is_partner(w, rank) && !w->peers[rank].last.is_last) receive_beat(w, rank);
  MPI_Barrier(w->comm->mpi);  // every message that was sent has been received
  for (int rank = 0; rank < w->comm->size; rank++)
    if (is_partner(w, rank)) MPI_Request_free(&w->peers[rank].sending);
  gd_comm_destroy(&w->comm);
  gd_free(w->peers);
  gd_free(w);
  *watchdog = NULL;
}
