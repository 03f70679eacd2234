/* Errors, log, memory, clock and counter-based random numbers.
 *
 * Everything here is local: no function of this header communicates, except that a broken
 * invariant ends all ranks through MPI_Abort. */
#ifndef GENDISTILL_BASE_H
#define GENDISTILL_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define GD_VERSION "0.1.0"

/* ---- Errors -------------------------------------------------------------------------------- */

/* Status of a function that can fail because of its input or its surroundings. The numbers are the
 * program's exit statuses; a larger number wins when ranks disagree. */
typedef enum gd_err {
  GD_OK = 0,
  GD_ERR_FAILED = 1, /* the surroundings failed: disk full, file vanished */
  GD_ERR_INPUT = 2,  /* the user's input is wrong: configuration, file, shape */
  GD_STOPPED = 75,   /* stopped early, with a checkpoint to resume from */
} gd_err;

/* Records the formatted message of an error. Local. It replaces the previous message; it should name the file, line,
 * key or object. No trailing newline. */
void gd_error_record(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline gd_err gd_error_return(gd_err err) {
  return err;
}

/* Records a message like gd_error_record and returns `err`. A macro, so that compilers see which value is returned. */
#define gd_error(err, ...) (gd_error_record(__VA_ARGS__), gd_error_return(err))

/* Puts "prefix: " in front of the recorded message and returns `err`; does nothing for GD_OK. Local. */
gd_err gd_error_context(gd_err err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last message recorded on this rank; "" if none. Local. Valid until the next error. */
const char *gd_error_message(void);

/* Returns from the enclosing function through its `done:` label when `expr` fails.
 * The function must have a variable `gd_err err`. */
#define GD_TRY(expr)             \
  do {                           \
    err = (expr);                \
    if (err != GD_OK) goto done; \
  } while (0)

/* Prints rank, file, line and the message, then ends all ranks with MPI_Abort. Local, does not return. */
_Noreturn void gd_abort_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define gd_abort(...) gd_abort_at(__FILE__, __LINE__, __VA_ARGS__)

/* Checks an invariant of the program itself. Never for input. */
#define GD_REQUIRE(cond)                                  \
  do {                                                    \
    if (!(cond)) gd_abort("broken invariant: %s", #cond); \
  } while (0)

/* ---- Log ----------------------------------------------------------------------------------- */

typedef enum gd_log_level { GD_LOG_ERROR, GD_LOG_WARN, GD_LOG_INFO, GD_LOG_DEBUG } gd_log_level;

/* Sets this process's rank, which abort messages name, and the most detailed level that it prints. Local. Ranks other
 * than 0 print errors only, whatever the level. */
void gd_log_setup(int rank, gd_log_level level);

/* Parses "error", "warn", "info" or "debug". Local. GD_ERR_INPUT for anything else. */
gd_err gd_log_level_parse(const char *text, gd_log_level *level);

/* Writes one line to stderr. Local. */
void gd_log(gd_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Memory: a failed allocation ends all ranks, so results need no check --------------------- */

/* Prints "out of memory: " with the message, this rank's peak memory and what helps, then ends all ranks with
 * MPI_Abort. For allocations that fail inside a library; the functions below call it themselves. Local, does not
 * return. */
_Noreturn void gd_out_of_memory(const char *format, ...) __attribute__((format(printf, 1, 2)));

void *gd_alloc(size_t nbytes);      /* uninitialised, 64-byte aligned; free with gd_free */
void *gd_alloc_zero(size_t nbytes); /* zeroed, 64-byte aligned */
void gd_free(void *pointer);        /* accepts NULL */
char *gd_strdup(const char *text);
char *gd_format(const char *format, ...) __attribute__((format(printf, 1, 2))); /* new string */

/* Opens a stream whose text becomes a new string in `*text` when gd_text_end closes it; `text` must stay valid until
 * then. Local. */
FILE *gd_text_begin(char **text);
void gd_text_end(FILE *stream);

/* A list names all methods of a kind: #define GD_THINGS(ROW) ROW(one) ROW(two). Each use gives another macro for ROW;
 * this one makes an array of their names. */
#define GD_LIST_NAME(name) #name,

#define GD_NEW(type)              ((type *)gd_alloc_zero(sizeof(type)))
#define GD_NEW_ARRAY(type, count) ((type *)gd_alloc_zero(sizeof(type) * (size_t)(count)))

/* ---- Clock --------------------------------------------------------------------------------- */

/* Seconds since a fixed point in time, monotonic. Local. */
double gd_seconds(void);

/* ---- Early stop ------------------------------------------------------------------------------ */

/* From now on a write past the limit of file size (ulimit -f) fails with an error instead of a signal, and the limit of
 * CPU time (ulimit -t) ends the process with a message and status GD_ERR_FAILED. Local. */
void gd_stop_at_limits(void);

/* From now on SIGTERM, SIGUSR1 and SIGXCPU (the soft limit of CPU time) request a stop instead of ending the process.
 * Local. */
void gd_stop_on_signals(void);

/* Requests a stop `seconds` from now; the earliest of several requests counts. Local. */
void gd_stop_in(double seconds);

/* GD_STOPPED, with the reason as the message, once a stop was requested. Local: ranks see the request at different
 * times, so a collective loop calls gd_comm_agree(comm, gd_stop_check()). */
gd_err gd_stop_check(void);

/* ---- Progress of this rank, for the watchdog of comm.h ------------------------------------------ */

typedef struct gd_progress_state {
  uint64_t count;   /* rises with every sign of progress */
  const char *work; /* the piece of work; never NULL */
  const char *call; /* the MPI function that the rank is in, or NULL */
  int task;         /* from 1; 0: none yet */
  int64_t step;     /* of the task, from 1; 0: none yet */
} gd_progress_state;

/* Records a sign of progress: the start of a new piece of work, or with NULL a further part of the current one. `work`
 * is a string that lives as long as the program. Local; main thread only. */
void gd_progress(const char *work);

/* Records which step begins now. Local; main thread only. */
void gd_progress_step(int task, int64_t step);

/* Records the MPI function that is entered, or NULL when it is left, and returns the previous record. Local; main
 * thread only. */
const char *gd_progress_call(const char *name);

/* What was recorded last. Local; any thread. */
gd_progress_state gd_progress_read(void);

/* ---- A thread beside the main one ---------------------------------------------------------------- */

typedef struct gd_side_thread gd_side_thread;

/* Starts a thread that calls run(thread, context) once; it receives no signals. Local. Returns 0 or an errno value. */
int gd_side_thread_start(gd_side_thread **out, void (*run)(gd_side_thread *thread, void *context), void *context);
/* Waits for `seconds`; returns false at once when the thread is asked to end. Local; called by the thread itself. */
bool gd_side_thread_rest(gd_side_thread *thread, double seconds);
/* Ends the thread at its next gd_side_thread_rest and waits for it. Local. Accepts NULL, sets NULL. */
void gd_side_thread_end(gd_side_thread **thread);

/* ---- Digest ---------------------------------------------------------------------------------- */

/* 64-bit XXH3 digest of `nbytes` bytes, continuing from `seed` (0 to start). Local. */
uint64_t gd_digest(const void *data, size_t nbytes, uint64_t seed);

/* Digest of data that arrive in pieces: the same as gd_digest of all pieces in one array. Local. */
typedef struct gd_digest_stream gd_digest_stream;
gd_digest_stream *gd_digest_begin(uint64_t seed);
void gd_digest_add(gd_digest_stream *stream, const void *data, size_t nbytes);
uint64_t gd_digest_end(gd_digest_stream *stream); /* frees it */

/* ---- Invalid input ------------------------------------------------------------------------------ */

/* Index of the first of n numbers that is infinite or not a number, or -1. Local. */
int64_t gd_first_nonfinite(const float *values, int64_t n);
int64_t gd_first_nonfinite_double(const double *values, int64_t n);

/* Refuses a file that begins with these bytes if they are a Git LFS pointer, the placeholder of a file that was not
 * fetched. Local. GD_ERR_INPUT naming the file. */
gd_err gd_refuse_lfs_pointer(const char *path, const void *bytes, size_t nbytes);

/* ---- Random numbers ------------------------------------------------------------------------ */

/* What a random number is used for: a part of its key, so that no two uses share a stream. Never renumber: results
 * depend on these values. */
typedef enum gd_purpose {
  GD_RANDOM_INIT = 1,           /* parameter initialisation; index = parameter number */
  GD_RANDOM_TASK_ORDER = 2,     /* classes to tasks */
  GD_RANDOM_SUBSET = 3,         /* dataset.limit: which images of a task are used */
  GD_RANDOM_EPOCH_ORDER = 4,    /* permutation of a task's images; step = epoch */
  GD_RANDOM_FLIP = 5,           /* horizontal flips */
  GD_RANDOM_TIMESTEP = 6,       /* t of the current images */
  GD_RANDOM_NOISE = 7,          /* eps of the current images */
  GD_RANDOM_REPLAY_START = 8,   /* x_T of the replay images */
  GD_RANDOM_REPLAY_SAMPLER = 9, /* DDIM's z where eta > 0 */
  GD_RANDOM_REPLAY_TIMESTEP = 10,
  GD_RANDOM_REPLAY_NOISE = 11,
  GD_RANDOM_SAMPLE_START = 12,  /* x_T of a sample set */
  GD_RANDOM_SAMPLE_NOISE = 13,  /* z of a sample set where eta > 0 */
  GD_RANDOM_AUGMENT = 14,       /* shift and flip of a classifier's training images */
  GD_RANDOM_DROPOUT = 15,       /* the solver's dropout masks */
  GD_RANDOM_SOLVER_REPLAY = 16, /* which generated images a solver's batch replays */
  GD_RANDOM_POOL_START = 17,    /* x_T of a replay pool */
  GD_RANDOM_POOL_NOISE = 18,    /* z of a replay pool where eta > 0 */
  GD_RANDOM_POOL_ORDER = 19,    /* permutation in which a pool is drawn from; step = pass */
  GD_RANDOM_LABEL_DROP = 20,    /* whether a current image has its label or the null class */
  GD_RANDOM_REPLAY_LABEL_DROP = 21,
  GD_RANDOM_NETWORK_DROPOUT = 22, /* in the U-Net */
  GD_RANDOM_BUFFER = 23,          /* which real images experience replay keeps; index = image */
  GD_RANDOM_BUFFER_ORDER = 24,    /* permutation in which they are replayed; step = pass */
  GD_RANDOM_REPLAY_FLIP = 25,     /* horizontal flips of them */
  GD_RANDOM_FISHER_ORDER = 26,    /* permutation of a task's images for the Fisher information */
  GD_RANDOM_FISHER_TIMESTEP = 27,
  GD_RANDOM_FISHER_NOISE = 28,
  GD_RANDOM_FISHER_DROPOUT = 29,
  GD_RANDOM_SOLVER_START = 31,  /* x_T of images generated for one step of the solver */
  GD_RANDOM_SOLVER_NOISE = 32,  /* z of them where eta > 0 */
  GD_RANDOM_POOL_TIMESTEP = 33, /* a pool image's own t and eps, where the pool keeps targets; index = image */
  GD_RANDOM_POOL_EPS = 34,
  GD_RANDOM_SOLVER_FISHER = 35, /* order of the images for the solver's Fisher information */
} gd_purpose;

/* Key of a stream (Philox4x32-10). A number depends on this key, the sample index and the element only, never on rank,
 * batch or call order. */
typedef struct gd_random {
  uint64_t seed;
  gd_purpose purpose;
  uint32_t task; /* < 2^16 */
  uint32_t step;
} gd_random;

/* n standard normal numbers of sample `index` (< 2^40). Local. */
void gd_random_normal(gd_random key, uint64_t index, size_t n, float *out);

/* n numbers uniform in [0, 1) of sample `index`. Local. */
void gd_random_uniform(gd_random key, uint64_t index, size_t n, float *out);

/* The numbers first .. first+n-1 of these; first is a multiple of 4. Local. */
void gd_random_uniform_part(gd_random key, uint64_t index, uint64_t first, size_t n, float *out);

/* A number uniform in 0 .. bound-1 of sample `index`. Local. */
uint32_t gd_random_below(gd_random key, uint64_t index, uint32_t bound);

/* A uniform permutation of 0 .. n-1 (Fisher-Yates). Local. */
void gd_random_permutation(gd_random key, uint32_t n, uint32_t *out);

#endif
