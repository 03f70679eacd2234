/* From the sample set after the task before, which every rank gets whole; or from the generator, for each step anew. */
#include "eval/solver_replay.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "gendistill/generate.h"
#include "gendistill/strategy.h"
#include "gendistill/train.h"

struct gd_solver_replay_source {
  gd_solver_replay_setting of;
  int64_t n;        // of the set; 0: fresh images
  uint64_t digest;  // of the set's images, or of the generator's parameters
  float *images;    // (n, H, W, C) in [-1, 1]; fresh: of this rank's rows, with room for `room`
  float *targets;   // (n, n_classes) as soften_logits makes them, likewise
  int64_t n_elements;
  uint32_t step;

  gd_net *unet;  // of fresh images
  gd_schedule *schedule;
  gd_generator *generator;
  gd_checkpoint checkpoint;
  gd_label_cycle labels;
  int64_t first, room;
};

static gd_random replay_key(const gd_solver_replay_source *s, gd_purpose purpose) {
  return (gd_random){.seed = s->of.config->seed, .purpose = purpose, .task = (uint32_t)s->of.task, .step = s->step};
}

// Logits to probabilities at the temperature, or to their logarithms.
static void soften_logits(const gd_solver_replay_source *s, float *logits) {
  int n = s->of.train->n_classes;
  double total = 0, temperature = s->of.config->solver.temperature;
  float largest = logits[gd_largest(logits, n)];
  for (int c = 0; c < n; c++) total += exp((logits[c] - largest) / temperature);
  for (int c = 0; c < n; c++) {
    double log_p = (logits[c] - largest) / temperature - log(total);
    logits[c] = (float)(s->of.config->solver.loss == GD_SOLVER_REFERENCE ? log_p : exp(log_p));
  }
}

/* ---- Sample set ---- */

static gd_err take_sample_set(gd_solver_replay_source *s) {
  gd_sample_set set;
  uint8_t *bytes = NULL;
  char *path = gd_sample_set_path(s->of.config->output.directory, s->of.task - 1);
  gd_err err;
  GD_TRY(gd_sample_set_read(s->of.comm, path, &set, &bytes));
  if (set.h != s->of.train->size || set.w != set.h || set.c != s->of.train->channels || set.n_global < 1)
    GD_TRY(gd_error(GD_ERR_INPUT, "%s: holds no images of the configuration's size, which the solver replays", path));
  int n_classes = s->of.train->n_classes;
  int64_t n_local = set.local.end - set.local.begin;
  s->n = set.n_global;
  s->images = GD_NEW_ARRAY(float, s->n * s->n_elements);
  s->targets = GD_NEW_ARRAY(float, s->n *n_classes);
  float *mine = s->targets + set.local.begin * n_classes;
  gd_pixels_normalise(bytes, n_local * s->n_elements, s->images + set.local.begin * s->n_elements);
  gd_images view = {.held = bytes, .held_size = set.h, .size = set.h, .channels = set.c};
  gd_extract(s->of.plan, s->of.net, n_local, &view, mine);
  for (int64_t i = 0; i < n_local; i++) soften_logits(s, mine + i * n_classes);
  gd_comm_share_images(s->of.comm, s->images, s->n, s->n_elements, MPI_FLOAT);
  gd_comm_share_images(s->of.comm, s->targets, s->n, n_classes, MPI_FLOAT);
  s->digest = gd_digest(s->images, (size_t)(s->n * s->n_elements) * sizeof(float), 0);
done:
  gd_free(bytes);
  gd_free(path);
  return err;
}

/* ---- Fresh images ---- */

static gd_err open_generator(gd_solver_replay_source *s) {
  const gd_config *config = s->of.config;
  gd_checkpoint header = {0};
  char *path = NULL;
  gd_err err;
  gd_precision precision = gd_precision_agree(s->of.comm, config->training.precision);
  GD_TRY(gd_run_end_of_task(s->of.comm, config->output.directory, s->of.task - 1, &path, &header));
  if (!path)
    GD_TRY(
        gd_error(GD_ERR_INPUT,
                 "%s/checkpoints: the checkpoint at the end of task %d is gone, with whose network solver.replay fresh "
                 "generates images",
                 config->output.directory, s->of.task));
  gd_model_create(&s->unet, config);
  gd_schedule_create(&s->schedule, &config->diffusion);
  GD_TRY(gd_checkpoint_read(s->of.comm, path, gd_net_params(s->unet), &s->checkpoint));
  GD_TRY(
      gd_comm_agree(s->of.comm, gd_generator_create(&s->generator, s->unet, s->schedule, GD_IMAGE_CHUNK, precision)));
  gd_generator_load(s->generator, gd_checkpoint_sampling_params(&s->checkpoint));
  s->digest = s->checkpoint.digest;
  s->labels = gd_strategy_labels(config, s->of.task);
done:
  gd_checkpoint_clear(&header);
  gd_free(path);
  return err;
}

// The generated images `rows`, at most a chunk, to the place `at` of this rank's.
static gd_err generate_rows(gd_solver_replay_source *s, gd_range rows, int64_t at) {
  int n = (int)(rows.end - rows.begin), n_classes = s->of.train->n_classes;
  float *x = s->images + at * s->n_elements, labels[GD_IMAGE_CHUNK];
  gd_random start = replay_key(s, GD_RANDOM_SOLVER_START);
  gd_sampler_noise noise = {.key = replay_key(s, GD_RANDOM_SOLVER_NOISE), .first = rows.begin, .step_is_taken = true};
  gd_generator_input in = {.n = n, .x = x, .label = s->labels.n ? labels : NULL};
  for (int i = 0; i < n; i++) {
    gd_random_normal(start, (uint64_t)(rows.begin + i), (size_t)s->n_elements, x + i * s->n_elements);
    if (in.label) labels[i] = (float)gd_label_at(&s->labels, rows.begin + i);
  }
  gd_nonfinite_sample nonfinite = gd_generator_sample(s->generator, &s->of.config->evaluation.sampling, &in, &noise);
  if (nonfinite.image >= 0)
    return gd_error(GD_ERR_FAILED, "solver, task %d: a generated image is not finite", s->of.task + 1);
  memcpy(gd_plan_input(s->of.plan, 0), x, (size_t)(n * s->n_elements) * sizeof(float));
  float *targets = s->targets + at * n_classes;
  memcpy(targets, gd_plan_forward(s->of.plan), (size_t)(n * n_classes) * sizeof(float));
  for (int i = 0; i < n; i++) soften_logits(s, targets + (int64_t)i * n_classes);
  return GD_OK;
}

static void make_room(gd_solver_replay_source *s, int64_t n) {
  if (n <= s->room) return;
  gd_free(s->images);
  gd_free(s->targets);
  s->images = GD_NEW_ARRAY(float, n * s->n_elements);
  s->targets = GD_NEW_ARRAY(float, n * s->of.train->n_classes);
  s->room = n;
}

gd_err gd_solver_replay_begin_step(gd_solver_replay_source *s, uint32_t step, int64_t first, int64_t n, gd_range mine) {
  gd_err err = GD_OK;
  s->step = step;
  if (s->n > 0) return GD_OK;
  gd_range rows = {mine.begin > first ? mine.begin : first, mine.end < first + n ? mine.end : first + n};
  if (rows.end < rows.begin) rows.end = rows.begin;
  make_room(s, rows.end - rows.begin);
  s->first = rows.begin;
  for (int64_t at = rows.begin; at < rows.end && err == GD_OK; at += GD_IMAGE_CHUNK) {
    gd_range chunk = {at, at + GD_IMAGE_CHUNK < rows.end ? at + GD_IMAGE_CHUNK : rows.end};
    err = generate_rows(s, chunk, at - rows.begin);
  }
  return err;
}

/* ---- Both ---- */

gd_err gd_solver_replay_create(gd_solver_replay_source **out, const gd_solver_replay_setting *setting) {
  gd_solver_replay_source *s = GD_NEW(gd_solver_replay_source);
  const gd_dataset *train = setting->train;
  *s = (gd_solver_replay_source){.of = *setting, .n_elements = (int64_t)train->size * train->size * train->channels};
  gd_err err = setting->config->solver.replay == GD_SOLVER_FRESH ? open_generator(s) : take_sample_set(s);
  if (err != GD_OK) gd_solver_replay_destroy(&s);
  *out = s;
  return err;
}

void gd_solver_replay_destroy(gd_solver_replay_source **source) {
  gd_solver_replay_source *s = *source;
  if (!s) return;
  gd_generator_destroy(&s->generator);
  gd_schedule_destroy(&s->schedule);
  gd_net_destroy(&s->unet);
  gd_checkpoint_clear(&s->checkpoint);
  gd_free(s->images);
  gd_free(s->targets);
  gd_free(s);
  *source = NULL;
}

char *gd_solver_replay_describe(const gd_solver_replay_source *s, int64_t *n) {
  *n = s->n;
  if (s->n > 0) return gd_format("%lld %016" PRIx64, (long long)s->n, s->digest);
  gd_sample_set set = gd_sample_set_describe(&s->of.config->evaluation.sampling, gd_net_shape(s->unet, 0), 0, 0, 0);
  return gd_format("fresh %016" PRIx64 " %s %d %.17g %.17g %s", s->digest, set.sampler, set.steps, set.eta,
                   set.guidance, set.timesteps);
}

void gd_solver_replay_fill(const gd_solver_replay_source *s, int64_t row, gd_classification_row *out) {
  int n_classes = s->of.train->n_classes;
  int64_t picked = row - s->first;
  if (s->n > 0) picked = gd_random_below(replay_key(s, GD_RANDOM_SOLVER_REPLAY), (uint64_t)row, (uint32_t)s->n);
  memcpy(out->inputs[0], s->images + picked * s->n_elements, (size_t)s->n_elements * sizeof(float));
  memcpy(out->target, s->targets + picked * n_classes, (size_t)n_classes * sizeof(float));
  out->temperature = s->of.config->solver.temperature;
  out->swapped = s->of.config->solver.loss == GD_SOLVER_REFERENCE;
}
