/* Source `online`: the teacher generates new images for each step. */
#include <string.h>

#include "strategy/source.h"

static int64_t online_evaluations(const gd_config *config) {
  return gd_sampling_evaluations(&config->replay.sampling);
}

static void online_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  gd_sampler_noise noise = {.key = replay->key, .first = images.begin, .step_is_taken = true};
  noise.key.purpose = GD_RANDOM_REPLAY_SAMPLER;
  gd_replay_draw_start(replay, images, batch);
  if (replay->of.config->replay.coupled)
    memcpy(batch->target, batch->x, (size_t)(batch->n * batch->n_elements) * sizeof(float));
  gd_replay_draw_labels(replay, images, batch);
  gd_generator_input in = {.n = batch->n, .x = batch->x, .label = batch->label};
  // an image that is not finite makes the loss so, which all ranks learn of at the end of the step
  gd_generator_sample(replay->teacher, &replay->of.config->replay.sampling, &in, &noise);
  gd_replay_draw_timesteps(replay, images, batch);
  gd_replay_draw_noise(replay, images, batch);
}

const gd_replay_source gd_source_online = {.evaluations = online_evaluations, .fill = online_fill};
