/* Distillation on what the sampler passes through, without images at its end: the teacher takes an image a part of the
 * way from noise and answers where it stands. */
#include "strategy/source.h"

/* ---- trajectory_distillation: to one of the sampler's own steps ---- */

// The step, from 1, at which image `image` of a training step stands: all are equally frequent.
static int trajectory_level(const gd_replay *replay, int64_t image) {
  gd_random key = replay->key;
  key.purpose = GD_RANDOM_REPLAY_LEVEL;
  uint32_t n_steps = (uint32_t)replay->of.config->replay.sampling.steps;
  return 1 + (int)((gd_random_below(key, 0, n_steps) + (uint64_t)image) % n_steps);
}

static void sample_partly(gd_replay *replay, gd_range images, gd_batch *batch, const int *steps, const int *ends) {
  gd_sampler_noise noise = {.key = replay->key, .first = images.begin, .step_is_taken = true};
  noise.key.purpose = GD_RANDOM_REPLAY_SAMPLER;
  gd_replay_draw_start(replay, images, batch);
  gd_replay_draw_labels(replay, images, batch);
  gd_generator_input in = {.n = batch->n, .x = batch->x, .label = batch->label};
  gd_generator_sample_partly(replay->teacher, &replay->of.config->replay.sampling, &in, &noise, steps, ends);
  gd_batch_set_times(batch, replay->of.schedule);
}

static void trajectory_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  const gd_sampling *sampling = &replay->of.config->replay.sampling;
  int *steps = GD_NEW_ARRAY(int, batch->n), *places = GD_NEW_ARRAY(int, sampling->steps);
  gd_sampling_timesteps(sampling, replay->of.schedule->timesteps, places);
  for (int row = 0; row < batch->n; row++) {
    steps[row] = trajectory_level(replay, images.begin + row) - 1;
    batch->timesteps[row] = places[steps[row]];
  }
  sample_partly(replay, images, batch, steps, NULL);
  gd_free(steps);
  gd_free(places);
}

// The mean, rounded up.
static int64_t trajectory_evaluations(const gd_config *config) {
  return config->replay.sampling.steps / 2;
}

static int64_t trajectory_step_evaluations(const gd_replay *replay) {
  int64_t n = 0;
  for (int64_t i = 0; i < replay->n_images; i++) n += trajectory_level(replay, i) - 1;
  return n;
}

static const gd_replay_source source_trajectory = {.generates = true,
                                                   .evaluations = trajectory_evaluations,
                                                   .step_evaluations = trajectory_step_evaluations,
                                                   .fill = trajectory_fill};

const gd_strategy gd_strategy_trajectory_distillation = {
    .data = GD_DATA_TASK, .replay = &source_trajectory, .target = GD_TARGET_TEACHER};

/* ---- partial_distillation: to a random timestep, in replay.steps steps ---- */

static void partial_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  int *steps = GD_NEW_ARRAY(int, batch->n);
  for (int row = 0; row < batch->n; row++) steps[row] = replay->of.config->replay.sampling.steps;
  gd_replay_draw_timesteps(replay, images, batch);
  sample_partly(replay, images, batch, steps, batch->timesteps);
  gd_free(steps);
}

static int64_t partial_evaluations(const gd_config *config) {
  return config->replay.sampling.steps;
}

static const gd_replay_source source_partial = {
    .generates = true, .evaluations = partial_evaluations, .fill = partial_fill};

const gd_strategy gd_strategy_partial_distillation = {
    .data = GD_DATA_TASK, .replay = &source_partial, .target = GD_TARGET_TEACHER};
