/* The replay of one task: a source fills a batch, and the teacher answers it where the strategy wants that. */
#include <string.h>

#include "gendistill/strategy.h"
#include "strategy/source.h"

bool gd_replay_shares_rows(const gd_config *config) {
  const gd_replay_source *source = gd_replay_source_of(config);
  return source && source->shares_rows;
}

const char *gd_replay_folder(const gd_config *config) {
  const gd_replay_source *source = gd_replay_source_of(config);
  return source ? source->folder : NULL;
}

gd_err gd_replay_create(gd_replay **out, const gd_replay_setting *setting, int max_n) {
  gd_replay *replay = GD_NEW(gd_replay);
  *replay = (gd_replay){.of = *setting,
                        .strategy = gd_strategy_get(setting->config->strategy.name),
                        .source = gd_replay_source_of(setting->config),
                        .shape = gd_net_shape(setting->net, 0),
                        .labels = gd_strategy_labels(setting->config, setting->task)};
  GD_REQUIRE(replay->source && max_n > 0);
  gd_err err = GD_OK;
  if (setting->teacher) {
    GD_TRY(gd_generator_create(&replay->teacher, setting->net, setting->schedule, max_n, setting->precision));
    gd_generator_load(replay->teacher, setting->teacher);
  }
  if (replay->source->create) replay->source->create(replay);
done:
  if (err != GD_OK) gd_replay_destroy(&replay);
  *out = replay;
  return err;
}

void gd_replay_destroy(gd_replay **replay) {
  gd_replay *r = *replay;
  if (!r) return;
  if (r->own) r->source->release(r);
  gd_generator_destroy(&r->teacher);
  gd_free(r);
  *replay = NULL;
}

gd_err gd_replay_prepare(gd_replay *replay, const char *folder, gd_replay_cost *cost) {
  *cost = (gd_replay_cost){0};
  return replay->source->prepare ? replay->source->prepare(replay, folder, cost) : GD_OK;
}

gd_err gd_replay_begin_epoch(gd_replay *replay, int epoch, gd_replay_cost *cost) {
  *cost = (gd_replay_cost){0};
  return replay->source->begin_epoch ? replay->source->begin_epoch(replay, epoch, cost) : GD_OK;
}

int gd_replay_begin_step(gd_replay *replay, const gd_replay_step *step) {
  const gd_replay_setting *of = &replay->of;
  replay->step = *step;
  replay->key = (gd_random){.seed = of->config->seed, .task = (uint32_t)of->task, .step = (uint32_t)step->number};
  replay->n_images = replay->source->shares_rows ? step->n_current : gd_replay_images(of, step->number, step->seconds);
  replay->n_before = (step->number - 1) * gd_replay_max_images(of->config, of->task, of->n_steps);
  if (replay->source->begin_step) replay->source->begin_step(replay);
  return replay->n_images;
}

int64_t gd_replay_step_evaluations(const gd_replay *replay) {
  int64_t n = replay->n_images;
  if (!replay->source->step_evaluations) return gd_replay_evaluations(replay->of.config, n);
  return replay->source->step_evaluations(replay) + (replay->strategy->target == GD_TARGET_TEACHER ? n : 0);
}

static gd_random replay_key(const gd_replay *replay, gd_purpose purpose) {
  gd_random key = replay->key;
  key.purpose = purpose;
  return key;
}

void gd_replay_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  batch->n = (int)(images.end - images.begin);
  if (batch->n == 0) return;
  if (replay->source->fill) {
    replay->source->fill(replay, images, batch);
    gd_batch_drop_labels(batch, replay->of.config, replay_key(replay, GD_RANDOM_REPLAY_LABEL_DROP), images.begin);
  }
  if (replay->strategy->target != GD_TARGET_TEACHER || replay->of.config->replay.pool_targets) return;
  gd_generator_input in = {.n = batch->n, .x = batch->x, .label = batch->label};
  memcpy(batch->target, gd_generator_predict(replay->teacher, &in, batch->t),
         (size_t)(batch->n * batch->n_elements) * sizeof(float));
}

gd_generator *gd_replay_teacher(const gd_replay *replay) {
  return replay->teacher;
}

size_t gd_replay_nbytes(const gd_replay *replay) {
  size_t nbytes = replay->teacher ? gd_generator_nbytes(replay->teacher) : 0;
  return nbytes + (replay->source->nbytes ? replay->source->nbytes(replay) : 0);
}

/* ---- Random numbers ---- */

void gd_replay_give(gd_replay *replay, const gd_replay_draws *draws) {
  replay->given = draws;
}

// Numbers for each image: those of a test, or random ones.
static void draw_normal(const gd_replay *replay, gd_purpose purpose, const float *given, gd_range images,
                        int64_t n_elements, float *out) {
#pragma omp parallel for
  for (int64_t i = images.begin; i < images.end; i++) {
    float *image = out + (i - images.begin) * n_elements;
    if (given)
      memcpy(image, given + i * n_elements, (size_t)n_elements * sizeof *given);
    else
      gd_random_normal(replay_key(replay, purpose), (uint64_t)i, (size_t)n_elements, image);
  }
}

void gd_replay_draw_labels(const gd_replay *replay, gd_range images, gd_batch *batch) {
  for (int64_t i = images.begin; batch->label && i < images.end; i++)
    batch->label[i - images.begin] = (float)gd_label_at(&replay->labels, replay->n_before + i);
}

void gd_replay_draw_start(const gd_replay *replay, gd_range images, gd_batch *batch) {
  const float *given = replay->given ? replay->given->start : NULL;
  draw_normal(replay, GD_RANDOM_REPLAY_START, given, images, batch->n_elements, batch->x);
}

int gd_replay_timestep(const gd_replay *replay, int64_t image) {
  if (replay->given) return replay->given->timesteps[image];
  gd_random key = replay_key(replay, GD_RANDOM_REPLAY_TIMESTEP);
  return (int)gd_random_below(key, (uint64_t)image, (uint32_t)replay->of.schedule->timesteps);
}

void gd_replay_draw_timesteps(const gd_replay *replay, gd_range images, gd_batch *batch) {
  for (int64_t i = images.begin; i < images.end; i++)
    batch->timesteps[i - images.begin] = gd_replay_timestep(replay, i);
}

void gd_replay_draw_noise(const gd_replay *replay, gd_range images, gd_batch *batch) {
  const float *given = replay->given ? replay->given->noise : NULL;
  if (!replay->of.config->replay.coupled)  // else the source has written it
    draw_normal(replay, GD_RANDOM_REPLAY_NOISE, given, images, batch->n_elements, batch->target);
  gd_batch_add_noise(batch, replay->of.schedule);
}
