/* The watchdog: a thread on each rank that notices when the job stands still, and ends it.
 *
 * Each rank's thread sends rank 0 what its rank does, several times a time-out; rank 0 judges, and answers so that the
 * others notice when rank 0 itself is gone. Messages go over a communicator of the watchdog's own. The thread must not
 * wait for anything: what cannot be sent now is left out. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/rank.h"
#include "gendistill/comm.h"

enum { TICKS = 10, REPORT_LENGTH = 4096, NAME_LENGTH = 48 };

// What a rank tells of itself.
typedef struct beat {
  double still;  // seconds without progress
  int64_t step;
  int task;
  int is_last;  // the thread has ended
  char work[NAME_LENGTH], call[NAME_LENGTH];
} beat;

// What is known of a rank.
typedef struct peer {
  beat last;
  double heard;  // when; on the clock of gd_seconds
  beat outgoing;
  MPI_Request sending;  // persistent, of `outgoing`
} peer;

struct gd_watchdog {
  gd_comm *comm;
  bool is_connected;  // messages between threads are possible, and there are other ranks
  peer *peers;        // (size)
  gd_side_thread *thread;
  uint64_t count;  // of the last look at this rank's progress ...
  double changed;  // ... and when it had changed
};

static _Atomic double timeout = GD_WATCHDOG_SECONDS;

// ---- What this rank does

static beat look(gd_watchdog *w, double now) {
  gd_progress_state state = gd_progress_read();
  if (state.count != w->count) {
    w->count = state.count;
    w->changed = now;
  }
  beat b = {.still = now - w->changed, .step = state.step, .task = state.task};
  snprintf(b.work, sizeof b.work, "%s", state.work);
  if (state.call) snprintf(b.call, sizeof b.call, "%s", state.call);
  return b;
}

// ---- Messages

// Rank 0 talks with all others, they with rank 0.
static bool is_partner(const gd_watchdog *w, int rank) {
  return w->is_connected && rank != w->comm->rank && (rank == 0 || w->comm->rank == 0);
}

// False: the message before is not out yet.
static bool send_to(gd_watchdog *w, int rank, const beat *b) {
  peer *to = &w->peers[rank];
  int done;
  MPI_Test(&to->sending, &done, MPI_STATUS_IGNORE);
  if (!done) return false;
  to->outgoing = *b;
  MPI_Start(&to->sending);
  return true;
}

static void send_all(gd_watchdog *w, const beat *b) {
  for (int rank = 0; rank < w->comm->size; rank++)
    if (is_partner(w, rank)) send_to(w, rank, b);
}

// PMPI: what the watchdog does is no progress.
static void receive_from(gd_watchdog *w, int rank) {
  PMPI_Recv(&w->peers[rank].last, sizeof(beat), MPI_BYTE, rank, 0, w->comm->mpi, MPI_STATUS_IGNORE);
  w->peers[rank].heard = gd_seconds();
}

static void receive_all(gd_watchdog *w) {
  for (;;) {
    int there = 0;
    MPI_Status status;
    if (w->is_connected) MPI_Iprobe(MPI_ANY_SOURCE, 0, w->comm->mpi, &there, &status);
    if (!there) return;
    receive_from(w, status.MPI_SOURCE);
  }
}

// ---- The report

typedef struct report {
  char text[REPORT_LENGTH];
  size_t length;
} report;

__attribute__((format(printf, 2, 3))) static void put(report *r, const char *format, ...) {
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

static void put_place(report *r, const beat *b) {
  if (*b->call) put(r, "in %s, ", b->call);
  put(r, "%s", b->work);
  if (b->step > 0) put(r, ", task %d step %lld", b->task, (long long)b->step);
}

// "; ranks 0, 2, 3: in MPI_Bcast, ..." for each place, ranks that answer only. `done`: (size), false on entry.
static void put_groups(report *r, const gd_watchdog *w, bool *done) {
  for (int first = 0; first < w->comm->size; first++) {
    if (done[first]) continue;
    const beat *place = &w->peers[first].last;
    put(r, "; rank %d", first);
    for (int rank = first + 1; rank < w->comm->size; rank++) {
      if (done[rank] || !same_place(place, &w->peers[rank].last)) continue;
      done[rank] = true;
      put(r, ", %d", rank);
    }
    put(r, ": ");
    put_place(r, place);
  }
}

// Names silent ranks and what the others do, then ends all ranks.
_Noreturn static void end_job(gd_watchdog *w, double now, double limit) {
  report r = {.length = 0};
  bool *done = GD_NEW_ARRAY(bool, w->comm->size);
  int n_silent = 0;
  put(&r, "the job stands still (comm.timeout_seconds: %g)", limit);
  for (int rank = 0; rank < w->comm->size; rank++) {
    // ranks other than 0 know of rank 0 and themselves only
    bool is_known = rank == w->comm->rank || is_partner(w, rank);
    done[rank] = !is_known;
    if (!is_known || !is_silent(w, rank, now, limit / TICKS)) continue;
    done[rank] = true;
    put(&r, "; rank %d has not answered for %.0f s, last seen ", rank, now - w->peers[rank].heard);
    put_place(&r, &w->peers[rank].last);
    n_silent++;
  }
  put_groups(&r, w, done);
  gd_free(done);
  if (n_silent > 0)
    put(&r, ". A rank that does not answer is stopped or starved, or its node is lost: take that node out");
  else
    put(&r, ". Ranks outside of MPI wait for a file system or compute without end; the others wait for them");
  put(&r, "; train --resume goes on from the newest checkpoint");
  gd_log(GD_LOG_ERROR, "%s", r.text);
  alarm(20);  // MPI may stand still as well
  MPI_Abort(MPI_COMM_WORLD, GD_STUCK_STATUS);
  _exit(GD_STUCK_STATUS);
}

// ---- The thread

static void judge(gd_watchdog *w, double now, double limit) {
  int rank = w->comm->rank;
  // one message is enough: where rank 0 is silent the next rank is the first to say so
  double least = w->peers[rank].last.still, patience = limit + 3 * rank * limit / TICKS;
  if (w->is_connected && rank == 0) {
    for (int i = 1; i < w->comm->size; i++) {
      double unheard = now - w->peers[i].heard, still = w->peers[i].last.still + unheard;
      if (unheard > limit) end_job(w, now, limit);
      if (still < least) least = still;
    }
  } else if (w->is_connected) {
    least = now - w->peers[0].heard;  // rank 0 looks at the rest
  }
  if (least > patience) end_job(w, now, limit);
}

// Everything heard so far counts as heard now.
static void forget_the_past(gd_watchdog *w, double now) {
  for (int rank = 0; rank < w->comm->size; rank++) {
    w->peers[rank].heard = now;
    w->peers[rank].last.still = 0;
  }
  w->changed = now;
}

static void watch(gd_side_thread *thread, void *context) {
  gd_watchdog *w = context;
  double last = gd_seconds(), last_limit = 0;
  for (;;) {
    double limit = atomic_load(&timeout), tick = limit > 0 ? limit / TICKS : 1;
    if (tick > 10) tick = 10;
    if (!gd_side_thread_rest(thread, tick < 0.5 ? tick : 0.5)) return;  // a shorter time-out may come
    double now = gd_seconds();
    // a job that was suspended as a whole, or begins to be watched, has its full time
    bool afresh = now - last > 5 * tick || limit != last_limit;
    if (!afresh && now - last < tick) continue;
    last = now;
    last_limit = limit;
    w->peers[w->comm->rank].last = look(w, now);
    receive_all(w);
    send_all(w, &w->peers[w->comm->rank].last);
    if (afresh)
      forget_the_past(w, now);
    else if (limit > 0)
      judge(w, now, limit);
  }
}

// ---- Start and end

void gd_watchdog_timeout(double seconds) {
  atomic_store(&timeout, seconds);
}

// Ends all ranks with one message, by rank 0.
static void require_on_all(const gd_comm *comm, int code) {
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
  require_on_all(comm, gd_side_thread_start(&w->thread, watch, w));
  *out = w;
}

void gd_watchdog_stop(gd_watchdog **watchdog) {
  gd_watchdog *w = *watchdog;
  if (!w) return;
  gd_side_thread_end(&w->thread);
  // a last word to each partner, and all that is still on the way up to theirs
  for (int rank = 0; rank < w->comm->size; rank++)
    while (is_partner(w, rank) && !send_to(w, rank, &(beat){.is_last = 1})) continue;
  for (int rank = 0; rank < w->comm->size; rank++)
    while (is_partner(w, rank) && !w->peers[rank].last.is_last) receive_from(w, rank);
  MPI_Barrier(w->comm->mpi);  // all that was sent has been received
  for (int rank = 0; rank < w->comm->size; rank++)
    if (is_partner(w, rank)) MPI_Request_free(&w->peers[rank].sending);
  gd_comm_destroy(&w->comm);
  gd_free(w->peers);
  gd_free(w);
  *watchdog = NULL;
}
