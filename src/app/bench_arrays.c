/* The bench's stages that work on arrays of the parameters' size: gradient reduction, optimiser, checkpoint compared
 * with a plain write of as many bytes; and the machine's rates. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/bench.h"
#include "gendistill/store.h"

enum { PIECE = 4 << 20 };  // bytes per plain write

typedef struct array_stage {
  gd_bench *b;
  const gd_param_table *table;
  float *params, *m, *v, *grads;  // (table->total)
  gd_slot_sum *sum;
  gd_checkpoint checkpoint;
  char *checkpoint_path, *plain_path;
  int64_t file_nbytes;
  char *piece;  // (PIECE)
} array_stage;

// ---- Reduction

// What comes before on every rank: its own slots' gradients, one after another or, where that is allowed, merged.
static void push_gradients(void *context) {
  array_stage *s = context;
  const gd_config *config = s->b->config;
  gd_range slots = gd_range_block(config->training.slots, s->b->comm->size, s->b->comm->rank);
  if (config->training.reduction == GD_REDUCTION_FAST) slots.end = slots.begin + 1;
  for (int64_t slot = slots.begin; slot < slots.end; slot++) {
    memcpy(gd_slot_sum_buffer(s->sum), s->grads, (size_t)s->table->total * sizeof(float));
    gd_slot_sum_push(s->sum, (int)slot);
  }
}

static gd_err run_reduction(void *context) {
  array_stage *s = context;
  gd_slot_sum_finish(s->sum);
  return GD_OK;
}

static gd_err reduction_stage(array_stage *s) {
  gd_bench *b = s->b;
  gd_bench_times times = {0};
  gd_err err = GD_OK;
  if (b->comm->size > 1) {
    gd_slot_sum_create(&s->sum, b->comm, b->config->training.slots, s->table->total, b->config->training.reduction);
    err = gd_bench_time(b, push_gradients, run_reduction, s, &times);
    gd_slot_sum_destroy(&s->sum);
  }
  double nbytes = (double)s->table->total * sizeof(float);
  gd_bench_put(b, "reduction", "seconds", times.median);
  if (times.median > 0)
    gd_bench_put(b, "reduction", "bytes_per_second", nbytes / times.median);
  else
    json_object_set_new(b->json, "reduction_bytes_per_second", json_null());  // one rank has nothing to reduce
  return err;
}

// ---- Optimiser

static gd_err run_optimiser(void *context) {
  array_stage *s = context;
  const gd_adam adam = {.learning_rate = 1e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
  double norm = gd_gradient_norm(s->table, s->grads);
  float scale = norm > 1 ? (float)(1 / norm) : 1.0f;
  gd_adam_step(&adam, s->table, 1, scale, s->b->config->training.slots, s->grads, s->params, s->m, s->v);
  return GD_OK;
}

static gd_err optimiser_stage(array_stage *s) {
  enum { N_ARRAYS = 1 + 4 + 3 };  // the norm reads one; Adam reads four and writes three
  gd_bench_times times;
  gd_err err = gd_bench_time(s->b, NULL, run_optimiser, s, &times);
  if (err != GD_OK) return err;
  double nbytes = (double)N_ARRAYS * (double)s->table->total * sizeof(float) * s->b->comm->size;
  gd_bench_put(s->b, "optimiser", "seconds", times.median);
  gd_bench_put(s->b, "optimiser", "bytes_per_second", nbytes / times.median);
  return GD_OK;
}

// ---- Checkpoint

static gd_err file_error(const char *path, const char *what, int reason) {
  return gd_error(GD_ERR_FAILED, "%s: %s: %s", path, what, strerror(reason));
}

static void remove_checkpoint(void *context) {
  array_stage *s = context;
  if (s->b->comm->rank == 0) unlink(s->checkpoint_path);
}

static void remove_plain(void *context) {
  array_stage *s = context;
  if (s->b->comm->rank == 0) unlink(s->plain_path);
}

static gd_err write_checkpoint(void *context) {
  array_stage *s = context;
  return gd_checkpoint_write(s->b->comm, s->checkpoint_path, s->table, &s->checkpoint);
}

static int write_range(int fd, gd_range bytes, const char *piece) {
  while (bytes.begin < bytes.end) {
    int64_t left = bytes.end - bytes.begin;
    ssize_t n = pwrite(fd, piece, (size_t)(left < PIECE ? left : PIECE), (off_t)bytes.begin);
    if (n < 0 && errno != EINTR) return errno;
    if (n > 0) bytes.begin += n;
  }
  return fsync(fd) == 0 ? 0 : errno;
}

// As many bytes into one file, each rank its part, made durable as a checkpoint is.
static gd_err write_plain(void *context) {
  array_stage *s = context;
  const gd_comm *comm = s->b->comm;
  int fd = open(s->plain_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  int reason = fd < 0 ? errno : write_range(fd, gd_range_block(s->file_nbytes, comm->size, comm->rank), s->piece);
  if (fd >= 0 && close(fd) != 0 && !reason) reason = errno;
  return gd_comm_agree(comm, reason ? file_error(s->plain_path, "cannot write", reason) : GD_OK);
}

static gd_err measure_file(array_stage *s) {
  struct stat status = {0};
  gd_err err = GD_OK;
  if (stat(s->checkpoint_path, &status) != 0) err = file_error(s->checkpoint_path, "cannot get the status", errno);
  s->file_nbytes = (int64_t)status.st_size;
  return gd_comm_agree(s->b->comm, err);
}

// As many arrays as a run saves in the middle of its second task.
static void describe_checkpoint(array_stage *s) {
  const gd_config *config = s->b->config;
  s->checkpoint = (gd_checkpoint){.task = 1,
                                  .step = 1,
                                  .global_step = 1,
                                  .seed = config->seed,
                                  .config_text = gd_config_dump(config),
                                  .code_version = GD_VERSION};
  gd_checkpoint_add(&s->checkpoint, "model", s->params);
  gd_checkpoint_add(&s->checkpoint, "teacher", gd_strategy_has_teacher(config) ? s->grads : NULL);
  gd_checkpoint_add(&s->checkpoint, "optimizer/m", s->m);
  gd_checkpoint_add(&s->checkpoint, "optimizer/v", s->v);
  gd_checkpoint_add(&s->checkpoint, "ema", config->training.ema_decay > 0 ? s->grads : NULL);
}

static gd_err checkpoint_stage(array_stage *s) {
  gd_err err;
  gd_bench *b = s->b;
  gd_bench_times times, plain;
  describe_checkpoint(s);
  s->checkpoint_path = gd_format("%s/checkpoint.h5", b->folder);
  s->plain_path = gd_format("%s/plain", b->folder);
  s->piece = gd_alloc(PIECE);
  for (int i = 0; i < PIECE; i++) s->piece[i] = (char)(i * 37 % 251);
  GD_TRY(gd_bench_time(b, remove_checkpoint, write_checkpoint, s, &times));
  GD_TRY(measure_file(s));
  GD_TRY(gd_bench_time(b, remove_plain, write_plain, s, &plain));
  double nbytes = (double)s->file_nbytes;
  gd_bench_put(b, "checkpoint", "seconds", times.median);
  json_object_set_new(b->json, "checkpoint_bytes", json_integer(s->file_nbytes));
  gd_bench_put(b, "checkpoint", "bytes_per_second", nbytes / times.median);
  gd_bench_put(b, "plain_write", "bytes_per_second", nbytes / plain.median);
  gd_bench_put(b, "checkpoint", "share_of_plain_write", plain.median / times.median);
done:
  MPI_Barrier(b->comm->mpi);  // no rank needs the files any more
  remove_checkpoint(s);
  remove_plain(s);
  gd_free(s->checkpoint_path);
  gd_free(s->plain_path);
  gd_free(s->checkpoint.config_text);
  gd_free(s->piece);
  return err;
}

// ---- All together

gd_err gd_bench_arrays(gd_bench *b) {
  gd_err err;
  const gd_param_table *table = gd_net_params(b->net);
  array_stage s = {.b = b, .table = table};
  s.params = GD_NEW_ARRAY(float, table->total);
  s.m = GD_NEW_ARRAY(float, table->total);
  s.v = GD_NEW_ARRAY(float, table->total);
  s.grads = GD_NEW_ARRAY(float, table->total);
  gd_param_table_initialise(table, b->config->seed, s.params);
  for (int64_t i = 0; i < table->total; i++) s.grads[i] = (float)(i % 7 + 1) * 1e-5f;
  GD_TRY(reduction_stage(&s));
  GD_TRY(optimiser_stage(&s));
  GD_TRY(checkpoint_stage(&s));
done:
  gd_free(s.params);
  gd_free(s.m);
  gd_free(s.v);
  gd_free(s.grads);
  return err;
}
