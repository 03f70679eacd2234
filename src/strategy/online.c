/* Source `online`: the teacher generates new images for each step. */
#include <string.h>

#include "strategy/source.h"

static int64_t online_evaluations(const gd_config *config) {
  return gd_sampling_evaluations(&config->replay.sampling);
}

/* ---- replay.skip_snr: current images where the noise leaves little of the image ---- */

static bool is_sampled(const gd_replay *replay, int64_t image) {
  double skip = replay->of.config->replay.skip_snr;
  return skip == 0 || gd_schedule_snr(replay->of.schedule, gd_replay_timestep(replay, image)) >= skip;
}

static int64_t online_step_evaluations(const gd_replay *replay) {
  int64_t n = 0;
  for (int64_t i = 0; i < replay->n_images; i++) n += is_sampled(replay, i);
  return n * online_evaluations(replay->of.config);
}

static void take_current(const gd_replay *replay, int64_t image, float *x) {
  const gd_replay_step *step = &replay->step;
  gd_dataset_image(replay->of.dataset, step->current[image % step->n_current], false, x);
}

/* ---- Source ---- */

static gd_sampler_noise noise_of_images(const gd_replay *replay, gd_range images) {
  gd_sampler_noise noise = {.key = replay->key, .first = images.begin, .step_is_taken = true};
  noise.key.purpose = GD_RANDOM_REPLAY_SAMPLER;
  return noise;
}

// An image that is not finite makes the loss so, which all ranks learn of at the end of the step.
static void sample_all(gd_replay *replay, gd_range images, gd_batch *batch) {
  gd_sampler_noise noise = noise_of_images(replay, images);
  gd_generator_input in = {.n = batch->n, .x = batch->x, .label = batch->label};
  gd_generator_sample(replay->teacher, &replay->of.config->replay.sampling, &in, &noise);
}

// The rows that are sampled move to the front and back again.
static void sample_some(gd_replay *replay, gd_range images, gd_batch *batch) {
  int64_t n_elements = batch->n_elements;
  size_t nbytes = (size_t)n_elements * sizeof(float);
  int n = 0, *rows = GD_NEW_ARRAY(int, batch->n + 1);
  float *x = gd_alloc((size_t)batch->n * nbytes + 1), *label = GD_NEW_ARRAY(float, batch->n + 1);
  for (int row = 0; row < batch->n; row++) {
    if (!is_sampled(replay, images.begin + row)) continue;
    memcpy(x + n * n_elements, batch->x + row * n_elements, nbytes);
    if (batch->label) label[n] = batch->label[row];
    rows[n++] = row;
  }
  gd_sampler_noise noise = noise_of_images(replay, images);
  noise.rows = rows;
  gd_generator_input in = {.n = n, .x = x, .label = batch->label ? label : NULL};
  if (n > 0) gd_generator_sample(replay->teacher, &replay->of.config->replay.sampling, &in, &noise);
  for (int row = 0, next = 0; row < batch->n; row++) {
    float *out = batch->x + row * n_elements;
    if (next < n && rows[next] == row)
      memcpy(out, x + next++ * n_elements, nbytes);
    else
      take_current(replay, images.begin + row, out);
  }
  gd_free(rows);
  gd_free(x);
  gd_free(label);
}

static void online_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  gd_replay_draw_start(replay, images, batch);
  if (replay->of.config->replay.coupled)
    memcpy(batch->target, batch->x, (size_t)(batch->n * batch->n_elements) * sizeof(float));
  gd_replay_draw_labels(replay, images, batch);
  (replay->of.config->replay.skip_snr > 0 ? sample_some : sample_all)(replay, images, batch);
  gd_replay_draw_timesteps(replay, images, batch);
  gd_replay_draw_noise(replay, images, batch);
}

const gd_replay_source gd_source_online = {.generates = true,
                                           .evaluations = online_evaluations,
                                           .step_evaluations = online_step_evaluations,
                                           .fill = online_fill};
