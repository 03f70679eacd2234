/* gendistill bench: throughput of each stage on made-up images, medians over repeats, as one JSON object.
 *
 * All ranks work together as in a run; a figure counts images of all ranks. Nothing is read or written. */
#include <jansson.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "app/command.h"
#include "gendistill/train.h"

typedef struct gd_bench {
  const gd_comm *comm;
  const gd_config *config;
  gd_dataset dataset;  // one batch of made-up images
  gd_trainer *trainer;
  gd_generator *generator;
  gd_schedule *schedule;
  uint32_t *indices;
  float *images;  // (GD_IMAGE_CHUNK, H, W, C)
  int64_t n_elements;
  int repeats;
  int64_t step;
} gd_bench;

static void make_images(gd_bench *b) {
  int channels = gd_dataset_channels(b->config->dataset.name), size = b->config->dataset.image_size;
  int n = b->config->training.batch_size;
  b->n_elements = (int64_t)size * size * channels;
  b->dataset = (gd_dataset){.n = n, .size = size, .channels = channels, .n_classes = 1};
  b->dataset.images = gd_alloc((size_t)n * (size_t)b->n_elements);
  for (int64_t i = 0; i < n * b->n_elements; i++) b->dataset.images[i] = (uint8_t)(i * 37 % 251);
  b->indices = GD_NEW_ARRAY(uint32_t, n);
  for (int i = 0; i < n; i++) b->indices[i] = (uint32_t)i;
  b->images = GD_NEW_ARRAY(float, GD_IMAGE_CHUNK * b->n_elements);
}

static gd_err train_step(gd_bench *b) {
  gd_step_metrics metrics;
  return gd_trainer_step(b->trainer, ++b->step, b->indices, b->config->training.batch_size, false, &metrics);
}

static gd_err forward(gd_bench *b) {
  float t[GD_IMAGE_CHUNK] = {0};
  gd_generator_predict(b->generator, b->images, t, GD_IMAGE_CHUNK);
  return GD_OK;
}

static gd_err ddim(gd_bench *b) {
  gd_config_sampling sampling = {.sampler = GD_DDIM, .steps = 10};
  if (sampling.steps > b->config->diffusion.timesteps) sampling.steps = b->config->diffusion.timesteps;
  gd_generator_sample(b->generator, &sampling, GD_IMAGE_CHUNK, NULL, NULL, b->images);
  return GD_OK;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// Median seconds of `stage` over the repeats, after one that is not counted; all ranks start together.
static gd_err time_stage(gd_bench *b, gd_err (*stage)(gd_bench *), double *seconds) {
  gd_err err = stage(b);
  double *times = GD_NEW_ARRAY(double, b->repeats);
  for (int i = 0; i < b->repeats && err == GD_OK; i++) {
    MPI_Barrier(b->comm->mpi);
    double start = gd_seconds();
    err = stage(b);
    MPI_Barrier(b->comm->mpi);
    times[i] = gd_seconds() - start;
  }
  qsort(times, (size_t)b->repeats, sizeof *times, ascending);
  *seconds = times[b->repeats / 2];
  MPI_Bcast(seconds, 1, MPI_DOUBLE, 0, b->comm->mpi);
  gd_free(times);
  return err;
}

static void add_rate(json_t *json, const char *name, double images, double seconds) {
  json_object_set_new(json, name, json_real(images / seconds));
}

static gd_err run_stages(gd_bench *b, json_t *json) {
  gd_err err = GD_OK;
  double seconds, batch = b->config->training.batch_size, chunk = (double)GD_IMAGE_CHUNK * b->comm->size;
  const gd_net *net = gd_trainer_net(b->trainer);
  float *params = GD_NEW_ARRAY(float, gd_net_params(net)->total);
  gd_param_table_initialise(gd_net_params(net), b->config->seed, params);
  GD_TRY(gd_comm_agree(b->comm, gd_generator_create(&b->generator, net, b->schedule, GD_IMAGE_CHUNK)));
  gd_generator_load(b->generator, params);
  GD_TRY(time_stage(b, forward, &seconds));
  add_rate(json, "forward_images_per_second", chunk, seconds);
  GD_TRY(time_stage(b, ddim, &seconds));
  add_rate(json, "ddim_images_per_second", chunk, seconds);
  gd_generator_destroy(&b->generator);
  GD_TRY(gd_comm_agree(b->comm, gd_trainer_begin_task(b->trainer, 0)));
  GD_TRY(time_stage(b, train_step, &seconds));
  add_rate(json, "train_step_images_per_second", batch, seconds);
  GD_TRY(gd_comm_agree(b->comm, gd_trainer_begin_task(b->trainer, 1)));  // with the teacher's replay
  GD_TRY(time_stage(b, train_step, &seconds));
  add_rate(json, "gd_step_images_per_second", batch, seconds);
done:
  gd_free(params);
  return err;
}

static void describe(const gd_bench *b, json_t *json) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  json_object_set_new(json, "strategy", json_string(gd_strategy_name(b->config->strategy.name)));
  json_object_set_new(json, "parameters", json_integer(gd_net_params(gd_trainer_net(b->trainer))->total));
  json_object_set_new(json, "batch_size", json_integer(b->config->training.batch_size));
  json_object_set_new(json, "reduction",
                      json_string(b->config->training.reduction == GD_REDUCTION_TREE ? "tree" : "fast"));
  json_object_set_new(json, "ranks", json_integer(b->comm->size));
  json_object_set_new(json, "threads_a_rank", json_integer(omp_get_max_threads()));
  json_object_set_new(json, "repeats", json_integer(b->repeats));
  json_object_set_new(json, "peak_memory_bytes", json_integer((json_int_t)usage.ru_maxrss * 1024));
}

gd_err gd_command_bench(const gd_comm *comm, int argc, char **argv) {
  gd_err err = GD_OK;
  const char *path;
  gd_texts sets = {0};
  int64_t repeats = 3;
  gd_config *config = NULL;
  gd_bench b = {.comm = comm};
  json_t *json = json_object();
  const gd_option options[] = {
      {"set", GD_OPTION_TEXTS, &sets, false}, {"repeats", GD_OPTION_INT, &repeats, false}, {0}};
  err = gd_options_parse(argc, argv, options, "a configuration file", &path);
  if (err == GD_OK && (repeats < 1 || repeats > 1000))
    err = gd_error(GD_ERR_INPUT, "--repeats: must be from 1 to 1000, is %lld", (long long)repeats);
  if (err == GD_OK) err = gd_config_create(&config, path, sets.n, sets.values);
  GD_TRY(gd_comm_agree(comm, err));
  b.config = config;
  b.repeats = (int)repeats;
  gd_schedule_create(&b.schedule, &config->diffusion);
  make_images(&b);
  GD_TRY(gd_trainer_create(&b.trainer, comm, config, &b.dataset));
  GD_TRY(run_stages(&b, json));
  describe(&b, json);
  if (comm->rank == 0 && (json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0 || puts("") < 0))
    err = gd_error(GD_ERR_FAILED, "cannot write to stdout");
done:
  gd_generator_destroy(&b.generator);
  gd_trainer_destroy(&b.trainer);
  gd_schedule_destroy(&b.schedule);
  gd_free(b.dataset.images);
  gd_free(b.indices);
  gd_free(b.images);
  gd_config_destroy(&config);
  json_decref(json);
  return err;
}
