/* gendistill bench: what each stage of a run reaches on made-up images, and what the machine could, as one JSON
 * object; medians over repeats.
 *
 * All ranks work together as in a run; a figure is that of all ranks together where its name does not say otherwise. */
#include "app/bench.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/command.h"
#include "gendistill/model.h"
#include "gendistill/store.h"

// ---- For the stages

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, int n) {
  qsort(values, (size_t)n, sizeof *values, ascending);
  return values[n / 2];
}

static void reset_profiles(gd_bench *b) {
  if (!b->trainer || !gd_trainer_plan(b->trainer)) return;
  gd_plan_profile_reset(gd_trainer_plan(b->trainer));
  if (gd_trainer_generator(b->trainer)) gd_plan_profile_reset(gd_generator_plan(gd_trainer_generator(b->trainer)));
}

gd_err gd_bench_time(gd_bench *b, void (*prepare)(void *context), gd_err (*run)(void *context), void *context,
                     gd_bench_times *out) {
  double *seconds = GD_NEW_ARRAY(double, b->repeats), *waits = GD_NEW_ARRAY(double, b->repeats), total = 0;
  gd_err err = GD_OK;
  for (int i = -1; i < b->repeats && err == GD_OK; i++) {
    if (i == 0) reset_profiles(b);
    if (prepare) prepare(context);
    b->seconds_reduction = 0;
    MPI_Barrier(b->comm->mpi);
    double start = gd_seconds();
    err = run(context);
    MPI_Barrier(b->comm->mpi);
    if (i < 0) continue;  // caches, first touches and the like are not what is measured
    seconds[i] = gd_seconds() - start;
    waits[i] = b->seconds_reduction;
    total += seconds[i];
  }
  *out = (gd_bench_times){median(seconds, b->repeats), total / b->repeats, median(waits, b->repeats)};
  MPI_Bcast(&out->median, 1, MPI_DOUBLE, 0, b->comm->mpi);
  MPI_Bcast(&out->mean, 1, MPI_DOUBLE, 0, b->comm->mpi);
  gd_free(seconds);
  gd_free(waits);
  return err;
}

void gd_bench_put(gd_bench *b, const char *stage, const char *what, double value) {
  char *key = gd_format("%s_%s", stage, what);
  json_object_set_new(b->json, key, isfinite(value) ? json_real(value) : json_null());
  gd_free(key);
}

double gd_bench_sum(const gd_bench *b, double mine) {
  double total = 0;
  MPI_Allreduce(&mine, &total, 1, MPI_DOUBLE, MPI_SUM, b->comm->mpi);
  return total;
}

// ---- Files

static gd_err make_folder(gd_bench *b, const char *directory) {
  bool was_there = access(directory, F_OK) == 0;
  gd_err err = gd_folder_make(directory);
  if (err != GD_OK) return err;
  if (!was_there) b->made_folder = gd_strdup(directory);
  b->folder = gd_format("%s/bench-XXXXXX", directory);
  if (mkdtemp(b->folder)) return GD_OK;
  gd_free(b->folder);
  b->folder = NULL;
  return gd_error(GD_ERR_FAILED, "%s: cannot make a folder in it: %s", directory, strerror(errno));
}

// Rank 0 makes it, with a name that no other run has.
static gd_err folder_make(gd_bench *b, const char *directory) {
  const gd_comm *comm = b->comm;
  gd_err err = gd_comm_agree(comm, comm->rank == 0 ? make_folder(b, directory) : GD_OK);
  if (err != GD_OK) return err;
  int length = b->folder ? (int)strlen(b->folder) + 1 : 0;
  MPI_Bcast(&length, 1, MPI_INT, 0, comm->mpi);
  if (!b->folder) b->folder = gd_alloc((size_t)length);
  MPI_Bcast(b->folder, length, MPI_CHAR, 0, comm->mpi);
  return GD_OK;
}

// The folder is this command's own: what the stages have left in it goes too.
static void remove_with_files(const char *folder) {
  DIR *opened = opendir(folder);
  for (struct dirent *entry; opened && (entry = readdir(opened));) {
    char *path = gd_format("%s/%s", folder, entry->d_name);
    unlink(path);  // "." and ".." are folders and stay
    gd_free(path);
  }
  if (opened) closedir(opened);
  rmdir(folder);
}

static void folder_remove(gd_bench *b) {
  if (b->comm->rank == 0 && b->folder) remove_with_files(b->folder);
  if (b->made_folder) rmdir(b->made_folder);
  gd_free(b->folder);
  gd_free(b->made_folder);
  b->folder = b->made_folder = NULL;
}

// ---- The machine

static double number_json(const gd_bench *b, const char *stage, const char *what) {
  char *key = gd_format("%s_%s", stage, what);
  double value = json_real_value(json_object_get(b->json, key));
  gd_free(key);
  return value;
}

// All ranks measure at the same time, as they share memory and power.
static void measure_machine(gd_bench *b) {
  MPI_Barrier(b->comm->mpi);
  double matmul = gd_bench_sum(b, gd_measure_matmul(b->precision));
  double memory = gd_bench_sum(b, gd_measure_memory());
  static const char *const stages[] = {"forward", "ddim", "train_step", "gd_step"};
  b->matmul = matmul / b->comm->size;
  gd_bench_put(b, "matmul", "gflops_per_second", b->matmul / 1e9);
  gd_bench_put(b, "memory", "bytes_per_second", memory);
  for (int i = 0; i < 4; i++)
    gd_bench_put(b, stages[i], "share_of_matmul", number_json(b, stages[i], "gflops_per_second") * 1e9 / matmul);
  gd_bench_put(b, "optimiser", "share_of_memory", number_json(b, "optimiser", "bytes_per_second") / memory);
}

// ---- The command

static void put_machine(gd_bench *b) {
  const gd_config *config = b->config;
  json_t *json = b->json;
  json_object_set_new(json, "strategy", json_string(gd_strategy_name(config->strategy.name)));
  json_object_set_new(json, "precision", json_string(b->precision == GD_BFLOAT16 ? "bfloat16" : "float32"));
  json_object_set_new(json, "parameters", json_integer(gd_net_params(b->net)->total));
  json_object_set_new(json, "batch_size", json_integer(config->training.batch_size));
  json_object_set_new(json, "reduction",
                      json_string(config->training.reduction == GD_REDUCTION_TREE ? "tree" : "fast"));
  json_object_set_new(json, "ranks", json_integer(b->comm->size));
  json_object_set_new(json, "threads_per_rank", json_integer(omp_get_max_threads()));
  json_object_set_new(json, "repeats", json_integer(b->repeats));
}

static void put_peak_memory(gd_bench *b) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  json_object_set_new(b->json, "peak_memory_bytes", json_integer((json_int_t)usage.ru_maxrss * 1024));
}

static gd_err run_stages(gd_bench *b) {
  gd_err err;
  put_machine(b);
  GD_TRY(gd_bench_network(b));
  put_peak_memory(b);  // before there are arrays that a run does not have
  GD_TRY(gd_bench_arrays(b));
  measure_machine(b);
  if (b->wants_profile) gd_bench_profile_put(b);
done:
  return err;
}

static gd_err print_json(const gd_bench *b) {
  if (b->comm->rank != 0) return GD_OK;
  if (json_dumpf(b->json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0 || puts("") < 0 || fflush(stdout) != 0)
    return gd_error(GD_ERR_FAILED, "cannot write to stdout");
  if (b->wants_profile) gd_bench_profile_print(b);
  return GD_OK;
}

static gd_err check_options(int64_t repeats, const char *directory) {
  if (repeats < 1 || repeats > 1000)
    return gd_error(GD_ERR_INPUT, "--repeats: must be from 1 to 1000, is %lld", (long long)repeats);
  if (directory && !*directory) return gd_error(GD_ERR_INPUT, "--directory: must name a folder");
  return GD_OK;
}

gd_err gd_command_bench(const gd_comm *comm, int argc, char **argv) {
  const char *path, *directory = NULL;
  gd_texts sets = {0};
  int64_t repeats = 3;
  gd_config *config = NULL;
  gd_bench b = {.comm = comm, .json = json_object()};
  const gd_option options[] = {{"set", GD_OPTION_TEXTS, &sets, false},
                               {"repeats", GD_OPTION_INT, &repeats, false},
                               {"directory", GD_OPTION_TEXT, &directory, false},
                               {"profile", GD_OPTION_FLAG, &b.wants_profile, false},
                               {0}};
  gd_err err = gd_options_parse(argc, argv, options, "a configuration file", &path);
  if (err == GD_OK) err = check_options(repeats, directory);
  GD_TRY(gd_comm_agree(comm, err));
  GD_TRY(gd_config_read(&config, comm, path, sets.n, sets.values));
  GD_REQUIRE(config);
  gd_config_apply(config);
  // a step with a whole replay batch is what is timed; a pool of one batch serves for that
  config->replay.limit_images = config->replay.limit_evaluations = 0;
  config->replay.limit_seconds = 0;
  config->replay.pool_images = gd_replay_max_images(config, 1, 1);
  b.config = config;
  b.repeats = (int)repeats;
  b.precision = gd_precision_agree(comm, config->training.precision);
  gd_model_create(&b.net, config);
  GD_TRY(folder_make(&b, directory ? directory : config->output.directory));
  GD_TRY(run_stages(&b));
  err = gd_comm_agree(comm, print_json(&b));
done:
  folder_remove(&b);
  gd_bench_profile_clear(&b.student);
  gd_bench_profile_clear(&b.teacher);
  gd_net_destroy(&b.net);
  gd_config_destroy(&config);
  json_decref(b.json);
  return err;
}
