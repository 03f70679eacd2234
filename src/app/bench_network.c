/* The bench's stages that run the network: forward, DDIM, a training step, a GD step; images and floating-point
 * operations a second. An image's forward run counts as the operations of its convolutions, linear maps and attention,
 * backward as twice as many. */
#include <string.h>

#include "app/bench.h"

enum { DDIM_STEPS = 10 };

typedef struct network_stage {
  gd_bench *b;
  gd_dataset dataset;  // one batch of made-up images
  uint32_t *indices;   // (n)
  int64_t step;
  gd_schedule *schedule;
  gd_generator *generator;
  gd_sampling sampling;
  float *params;
  float *images;  // (GD_IMAGE_CHUNK, H, W, C)
  float labels[GD_IMAGE_CHUNK];
  gd_generator_input in;  // those
  double flops;           // of one image's forward run
} network_stage;

// ---- Stages

static gd_err run_forward(void *context) {
  network_stage *s = context;
  float t[GD_IMAGE_CHUNK] = {0};
  gd_generator_predict(s->generator, &s->in, t);
  return GD_OK;
}

static gd_err run_ddim(void *context) {
  network_stage *s = context;
  gd_generator_sample(s->generator, &s->sampling, &s->in, NULL);
  return GD_OK;
}

static gd_err run_train_step(void *context) {
  network_stage *s = context;
  gd_step_metrics metrics = {0};
  gd_err err = gd_trainer_step(s->b->trainer, ++s->step, s->indices, s->dataset.n, 0, &metrics);
  s->b->seconds_reduction = metrics.seconds_reduction;
  return err;
}

// ---- Work of a stage, in forward runs of an image

static double gd_step_runs(const gd_config *config) {
  int n_replay = gd_replay_max_images(config, 1, 1);
  double n_current = config->training.batch_size, teacher = (double)gd_replay_evaluations(config, n_replay);
  if (!gd_strategy_replays(config)) return 3 * n_current;
  if (gd_replay_shares_rows(config)) return 3 * n_current + teacher;  // the student's rows serve both
  return 3 * (n_current + n_replay) + teacher;
}

static double forward_flops(const gd_plan *plan) {
  double flops = 0;
  for (int i = 0; i < gd_plan_n_ops(plan); i++) flops += gd_plan_profile(plan, i).flops;
  return flops / gd_plan_batch(plan);
}

// ---- All together

static void put_rates(network_stage *s, const char *stage, double images, double runs, double seconds) {
  gd_bench_put(s->b, stage, "images_per_second", images / seconds);
  gd_bench_put(s->b, stage, "gflops_per_second", runs * s->flops / seconds / 1e9);
}

static gd_err sampling_stages(network_stage *s) {
  gd_err err;
  gd_bench *b = s->b;
  gd_bench_times times;
  double n = (double)GD_IMAGE_CHUNK * b->comm->size;
  GD_TRY(gd_comm_agree(b->comm, gd_generator_create(&s->generator, b->net, s->schedule, GD_IMAGE_CHUNK, b->precision)));
  gd_generator_load(s->generator, s->params);
  s->in = (gd_generator_input){
      .n = GD_IMAGE_CHUNK, .x = s->images, .label = b->config->model.conditional ? s->labels : NULL};
  s->flops = forward_flops(gd_generator_plan(s->generator));
  GD_TRY(gd_bench_time(b, NULL, run_forward, s, &times));
  put_rates(s, "forward", n, n, times.median);
  GD_TRY(gd_bench_time(b, NULL, run_ddim, s, &times));
  put_rates(s, "ddim", n, n * gd_sampling_evaluations(&s->sampling), times.median);
done:
  gd_generator_destroy(&s->generator);
  gd_free(s->params);  // no part of what a run holds
  s->params = NULL;
  return err;
}

static gd_err begin_task(gd_bench *b, int task) {
  gd_replay_cost prepared;
  gd_trainer_begin_task(b->trainer, task);
  return gd_trainer_prepare(b->trainer, 1 + b->repeats, b->folder, &prepared);
}

static gd_err training_stages(network_stage *s) {
  gd_err err;
  gd_bench *b = s->b;
  gd_bench_times times;
  double n = s->dataset.n;
  GD_TRY(begin_task(b, 0));
  GD_TRY(gd_bench_time(b, NULL, run_train_step, s, &times));
  put_rates(s, "train_step", n, 3 * n, times.median);
  double wait = gd_bench_sum(b, times.median_reduction) / b->comm->size;
  json_object_set_new(b->json, "visible_reduction_seconds", json_real(wait));
  GD_TRY(begin_task(b, 1));  // with the teacher's replay
  GD_TRY(gd_bench_time(b, NULL, run_train_step, s, &times));
  put_rates(s, "gd_step", n, gd_step_runs(b->config), times.median);
  if (!b->wants_profile) goto done;
  gd_generator *teacher = gd_trainer_generator(b->trainer);
  gd_bench_profile_take(&b->student, gd_trainer_plan(b->trainer), b->repeats, times.mean);
  if (teacher) gd_bench_profile_take(&b->teacher, gd_generator_plan(teacher), b->repeats, times.mean);
done:
  return err;
}

// All of the first class of the first task, so that a buffer of earlier tasks' images has some.
static void make_labels(network_stage *s) {
  const gd_config *config = s->b->config;
  gd_task_split split;
  s->dataset.n_classes = gd_dataset_kind_get(config->dataset.name)->n_classes;
  s->dataset.labels = gd_alloc_zero((size_t)s->dataset.n);
  gd_err err = gd_task_split_make(&split, &config->tasks, config->seed, s->dataset.n_classes);
  GD_REQUIRE(err == GD_OK);  // the configuration is valid
  memset(s->dataset.labels, split.classes[0][0], (size_t)s->dataset.n);
}

static void make_images(network_stage *s) {
  gd_shape shape = gd_net_shape(s->b->net, 0);
  int n = s->b->config->training.batch_size;
  int64_t n_elements = (int64_t)shape.h * shape.w * shape.c;
  s->dataset = (gd_dataset){.n = n, .size = shape.h, .channels = shape.c};
  make_labels(s);
  s->dataset.images = gd_alloc((size_t)(n * n_elements));
  for (int64_t i = 0; i < n * n_elements; i++) s->dataset.images[i] = (uint8_t)(i * 37 % 251);
  s->indices = GD_NEW_ARRAY(uint32_t, n);
  for (int i = 0; i < n; i++) s->indices[i] = (uint32_t)i;
  s->images = GD_NEW_ARRAY(float, GD_IMAGE_CHUNK *n_elements);
}

gd_err gd_bench_network(gd_bench *b) {
  gd_err err;
  network_stage s = {.b = b,
                     .sampling = {.sampler = gd_sampler_of_path(b->config->diffusion.path), .steps = DDIM_STEPS}};
  if (s.sampling.steps > b->config->diffusion.timesteps) s.sampling.steps = b->config->diffusion.timesteps;
  const gd_param_table *table = gd_net_params(b->net);
  gd_schedule_create(&s.schedule, &b->config->diffusion);
  s.params = GD_NEW_ARRAY(float, table->total);
  gd_param_table_initialise(table, b->config->seed, s.params);
  make_images(&s);
  // first of all, since it says whether the configuration fits the ranks
  GD_TRY(gd_trainer_create(&b->trainer, b->comm, b->config, &s.dataset));
  GD_TRY(sampling_stages(&s));
  GD_TRY(training_stages(&s));
done:
  gd_trainer_destroy(&b->trainer);
  gd_schedule_destroy(&s.schedule);
  gd_free(s.dataset.images);
  gd_free(s.dataset.labels);
  gd_free(s.indices);
  gd_free(s.images);
  gd_free(s.params);
  return err;
}
