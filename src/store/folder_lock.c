/* One writer per folder: FOLDER/run.lock, held by rank 0 for all ranks of a job.
 *
 * It consists of two parts, because neither works on every file system:
 * - An fcntl lock, which ends with its process, even a killed one. On local file systems, NFS (by its lock manager) and
 *   Lustre mounted with `flock` it is valid on all nodes, on Lustre with `localflock` within a node only, on Lustre
 *   without either option nowhere.
 * - A record of the holder in the file, with a counter that a thread raises every few seconds. A job that finds the
 *   record of another node watches whether the counter rises. No clocks are compared.
 * The file stays when the lock is released. If it were removed, two processes could lock two files with one name. */
#include "store/folder_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gendistill/store.h"
#include "store/atomic_file.h"

enum { RECORD_NBYTES = 1024 };

static double patience = 30;  // seconds without a sign of life after which a holder on another node is considered dead

void gd_folder_lock_patience(double seconds) {
  patience = seconds;
}

struct gd_folder_lock {
  char *path;
  int fd;
  json_t *holder;               // this job
  char written[RECORD_NBYTES];  // the last record that this job wrote
  gd_side_thread *thread;       // raises the counter
};

/* ---- Who holds it ---- */

static const char *environment_text(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

// Processes with the same id are on one node, where any file system with fcntl locks supports them.
static void read_boot_id(char id[64]) {
  FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
  if (!file || !fgets(id, 64, file)) id[0] = 0;
  id[strcspn(id, "\n")] = 0;
  if (file) fclose(file);
}

static json_t *describe_this_job(const char *work) {
  char host[256] = "", boot[64], since[32];
  time_t now = time(NULL);
  struct tm utc;
  gethostname(host, sizeof host - 1);
  read_boot_id(boot);
  strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
  json_t *holder = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s}", "work", work, "host", host, "boot", boot, "process",
                             (int)getpid(), "job", environment_text("SLURM_JOB_ID"), "restart",
                             environment_text("SLURM_RESTART_COUNT"), "since", since);
  if (!holder) gd_abort("no record of the lock's holder");  // a host name that is not UTF-8
  return holder;
}

static const char *record_text(const json_t *holder, const char *key) {
  const char *text = json_string_value(json_object_get(holder, key));
  return text ? text : "";
}

static bool same_text(const json_t *a, const json_t *b, const char *key) {
  return strcmp(record_text(a, key), record_text(b, key)) == 0;
}

// Slurm starts a requeued job only after all its ranks have ended.
static bool is_earlier_start(const json_t *holder, const json_t *mine) {
  return *record_text(mine, "job") && same_text(holder, mine, "job") && !same_text(holder, mine, "restart");
}

static bool is_same_boot(const json_t *holder, const json_t *mine) {
  return *record_text(mine, "boot") && same_text(holder, mine, "boot");
}

// "`train`, process 77 on node3, Slurm job 12, since ..."; new string.
static char *name_holder(const json_t *holder) {
  const char *job = record_text(holder, "job");
  if (!holder) return gd_strdup("another process");
  return gd_format("`%s`, process %d on %s%s%s, since %s", record_text(holder, "work"),
                   (int)json_integer_value(json_object_get(holder, "process")), record_text(holder, "host"),
                   *job ? ", Slurm job " : "", job, record_text(holder, "since"));
}

static gd_err refuse_folder(const gd_folder_lock *lock, const json_t *holder) {
  char *name = name_holder(holder);
  gd_error_record("%s: the folder is in use by %s; wait until that has ended, or choose another folder", lock->path,
                  name);
  gd_free(name);
  return GD_ERR_INPUT;
}

/* ---- The record in the file ---- */

static void read_record(int fd, char record[RECORD_NBYTES]) {
  memset(record, 0, RECORD_NBYTES);
  if (pread(fd, record, RECORD_NBYTES - 1, 0) < 0) record[0] = 0;
}

// NULL if nobody holds the lock, or the text is not a record.
static json_t *holder_in(const char *record) {
  json_t *holder = json_loads(record, 0, NULL);
  if (json_object_get(holder, "work")) return holder;
  json_decref(holder);
  return NULL;
}

// Padded to a fixed length, so that one write replaces a record. Returns 0 or an errno value.
static int write_record(gd_folder_lock *lock, const json_t *holder) {
  char *text = json_dumps(holder, JSON_COMPACT);
  char record[RECORD_NBYTES];
  snprintf(record, sizeof record, "%-*.*s", RECORD_NBYTES - 1, RECORD_NBYTES - 2, text);
  record[RECORD_NBYTES - 2] = '\n';
  free(text);
  ssize_t n = pwrite(lock->fd, record, RECORD_NBYTES - 1, 0);
  int reason = n == RECORD_NBYTES - 1 ? 0 : n < 0 ? errno : ENOSPC;
  if (!reason && fdatasync(lock->fd) != 0) reason = errno;  // so that other nodes see it
  memcpy(lock->written, record, sizeof record);
  lock->written[RECORD_NBYTES - 1] = 0;
  return reason;
}

static bool is_still_ours(const gd_folder_lock *lock) {
  char record[RECORD_NBYTES];
  read_record(lock->fd, record);
  return strcmp(record, lock->written) == 0;
}

/* ---- The thread that raises the counter ---- */

// A job that was stopped for longer than others wait may have lost the folder, where locks are not valid on all nodes.
static void end_if_taken(const gd_folder_lock *lock) {
  char record[RECORD_NBYTES];
  read_record(lock->fd, record);
  json_t *holder = strcmp(record, lock->written) != 0 ? holder_in(record) : NULL;
  bool is_removed = access(lock->path, F_OK) == 0 && !gd_file_is_at(lock->fd, lock->path);  // perhaps with its folder
  if (!holder && !is_removed) return;  // ours, or emptied by hand: no other writer
  char *name = name_holder(holder);
  gd_log(GD_LOG_ERROR, "%s: the folder was taken over by %s, while this job did not run", lock->path, name);
  MPI_Abort(MPI_COMM_WORLD, GD_ERR_FAILED);
}

// A record that cannot be written now is written the next time; the fcntl lock stays valid meanwhile.
static void raise_counter(gd_side_thread *thread, void *context) {
  gd_folder_lock *lock = context;
  for (int64_t count = 1; gd_side_thread_rest(thread, patience / 6); count++) {
    end_if_taken(lock);
    json_object_set_new(lock->holder, "count", json_integer(count));
    write_record(lock, lock->holder);
  }
}

/* ---- Take the lock ---- */

typedef enum attempt { LOCKED, DENIED, UNSUPPORTED } attempt;

// Opens the file again: network file systems then show what others have written.
static gd_err open_and_lock(gd_folder_lock *lock, attempt *out) {
  *out = DENIED;
  lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock->fd < 0) return gd_file_error(GD_ERR_FAILED, lock->path, "cannot create the file", errno);
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fcntl(lock->fd, F_SETLK, &whole) == 0)
    *out = LOCKED;
  else
    *out = errno == EACCES || errno == EAGAIN ? DENIED : UNSUPPORTED;
  return GD_OK;
}

static void close_lock_file(gd_folder_lock *lock) {
  if (lock->fd >= 0) close(lock->fd);
  lock->fd = -1;
}

typedef enum verdict { TAKE, WATCH, REFUSE } verdict;

// has_changed: the record has, since it was first seen; watched: seconds since then.
static verdict decide_attempt(attempt outcome, const json_t *holder, const json_t *mine, bool has_changed,
                              double watched) {
  bool same_boot = is_same_boot(holder, mine);
  if (outcome != DENIED && (!holder || is_earlier_start(holder, mine))) return TAKE;
  if (outcome == LOCKED && same_boot) return TAKE;  // its process ended without a release
  if (has_changed || (outcome == DENIED && same_boot)) return REFUSE;
  // a file server keeps the locks of a lost node for some time
  if (watched < (outcome == DENIED ? 4 * patience : patience)) return WATCH;
  return outcome == DENIED ? REFUSE : TAKE;
}

// The holder's record when it was first seen.
typedef struct watch {
  char record[RECORD_NBYTES];
  double since;  // 0: not seen yet
} watch;

// Tries once to take the lock. The file stays open, with its fcntl lock.
static gd_err try_lock(gd_folder_lock *lock, watch *first, verdict *out) {
  attempt outcome;
  watch now;
  gd_err err = open_and_lock(lock, &outcome);
  if (err != GD_OK) return err;
  read_record(lock->fd, now.record);
  now.since = gd_seconds();
  if (first->since == 0) *first = now;
  double watched = now.since - first->since;
  json_t *holder = holder_in(now.record);
  *out = decide_attempt(outcome, holder, lock->holder, strcmp(now.record, first->record) != 0, watched);
  if (*out == REFUSE) err = refuse_folder(lock, holder);
  if (*out == TAKE && watched >= patience)
    gd_log(GD_LOG_WARN, "%s: no sign of life from its holder for %.0f s, which is considered dead", lock->path,
           watched);
  json_decref(holder);
  return err;
}

static gd_err acquire_lock(gd_folder_lock *lock) {
  watch first = {.since = 0};
  verdict decided;
  gd_err err;
  gd_progress("waiting for the folder's lock");
  for (;;) {
    bool is_first = first.since == 0;
    GD_TRY(try_lock(lock, &first, &decided));
    if (decided == TAKE) break;
    if (is_first) gd_log(GD_LOG_INFO, "%s: waiting to see whether its holder on another node is alive", lock->path);
    close_lock_file(lock);
    usleep((useconds_t)(patience / 30 * 1e6));
    gd_progress(NULL);
    GD_TRY(gd_stop_check());
  }
  int reason = write_record(lock, lock->holder);
  if (reason) GD_TRY(gd_file_error(GD_ERR_FAILED, lock->path, "cannot write the file", reason));
  // without fcntl locks two jobs may get here at the same time: the last one to write keeps the folder
  usleep((useconds_t)(patience / 1000 * 1e6));
  if (!is_still_ours(lock)) err = refuse_folder(lock, NULL);
done:
  return err;
}

static void lock_free(gd_folder_lock **lock) {
  if (!*lock) return;
  close_lock_file(*lock);
  json_decref((*lock)->holder);
  gd_free((*lock)->path);
  gd_free(*lock);
  *lock = NULL;
}

// On rank 0.
static gd_err take_lock(gd_folder_lock **out, const char *folder, const char *work) {
  gd_folder_lock *lock = GD_NEW(gd_folder_lock);
  gd_err err;
  *lock = (gd_folder_lock){.path = gd_format("%s/run.lock", folder), .fd = -1, .holder = describe_this_job(work)};
  GD_TRY(gd_folder_make(folder));
  GD_TRY(acquire_lock(lock));
  int reason = gd_side_thread_start(&lock->thread, raise_counter, lock);
  if (reason) GD_TRY(gd_file_error(GD_ERR_FAILED, lock->path, "no thread to hold the lock", reason));
  *out = lock;
  lock = NULL;
done:
  lock_free(&lock);
  return err;
}

gd_err gd_folder_lock_take(gd_folder_lock **out, const gd_comm *comm, const char *folder, const char *work) {
  *out = NULL;
  return gd_comm_agree(comm, comm->rank == 0 ? take_lock(out, folder, work) : GD_OK);
}

void gd_folder_lock_release(gd_folder_lock **lock) {
  if (!*lock) return;
  gd_side_thread_end(&(*lock)->thread);
  json_t *nobody = json_object();
  if (is_still_ours(*lock)) write_record(*lock, nobody);
  json_decref(nobody);
  lock_free(lock);
}
