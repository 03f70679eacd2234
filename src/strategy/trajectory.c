/* Distillation on what the sampler passes through, without images at its end: the teacher takes an image from noise to
 * a random timestep and answers where it stands. */
#include "strategy/source.h"

// The images go to their timesteps in equal steps; count_steps: how many.
static void fill_partly(gd_replay *replay, gd_range images, gd_batch *batch,
                        int (*count_steps)(const gd_replay *replay, int timestep)) {
  gd_sampler_noise noise = {.key = replay->key, .first = images.begin, .step_is_taken = true};
  noise.key.purpose = GD_RANDOM_REPLAY_SAMPLER;
  int *steps = GD_NEW_ARRAY(int, batch->n);
  gd_replay_draw_start(replay, images, batch);
  gd_replay_draw_labels(replay, images, batch);
  gd_replay_draw_timesteps(replay, images, batch);
  for (int row = 0; row < batch->n; row++) steps[row] = count_steps(replay, batch->timesteps[row]);
  gd_generator_input in = {.n = batch->n, .x = batch->x, .label = batch->label};
  gd_generator_sample_partly(replay->teacher, &replay->of.config->replay.sampling, &in, &noise, steps,
                             batch->timesteps);
  gd_batch_set_times(batch, replay->of.schedule);
  gd_free(steps);
}

/* ---- trajectory_distillation: in as many steps as replay.steps has for that part of the way ---- */

static int share_of_steps(const gd_replay *replay, int timestep) {
  int n_timesteps = replay->of.schedule->timesteps, n_steps = replay->of.config->replay.sampling.steps;
  return ((n_timesteps - 1 - timestep) * n_steps + n_timesteps - 1) / n_timesteps;  // rounded up
}

static void trajectory_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  fill_partly(replay, images, batch, share_of_steps);
}

// The mean, (N + 1) / 2 at most, rounded up.
static int64_t trajectory_evaluations(const gd_config *config) {
  return config->replay.sampling.steps / 2 + 1;
}

static int64_t trajectory_step_evaluations(const gd_replay *replay) {
  int64_t n = 0;
  for (int64_t i = 0; i < replay->n_images; i++) n += share_of_steps(replay, gd_replay_timestep(replay, i));
  return n;
}

static const gd_replay_source source_trajectory = {.generates = true,
                                                   .evaluations = trajectory_evaluations,
                                                   .step_evaluations = trajectory_step_evaluations,
                                                   .fill = trajectory_fill};

const gd_strategy gd_strategy_trajectory_distillation = {
    .data = GD_DATA_TASK, .replay = &source_trajectory, .target = GD_TARGET_TEACHER};

/* ---- partial_distillation: in replay.steps steps ---- */

static int all_steps(const gd_replay *replay, int timestep) {
  (void)timestep;
  return replay->of.config->replay.sampling.steps;
}

static void partial_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  fill_partly(replay, images, batch, all_steps);
}

static int64_t partial_evaluations(const gd_config *config) {
  return config->replay.sampling.steps;
}

static const gd_replay_source source_partial = {
    .generates = true, .evaluations = partial_evaluations, .fill = partial_fill};

const gd_strategy gd_strategy_partial_distillation = {
    .data = GD_DATA_TASK, .replay = &source_partial, .target = GD_TARGET_TEACHER};
