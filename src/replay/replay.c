/* A replay batch: random numbers first, then input and target as the strategy's row says. */
#include "gendistill/replay.h"

#include <string.h>

void gd_replay_draw(gd_strategy_id id, gd_random key, uint64_t first_index, int timesteps, int64_t n_elements, int n,
                    bool start, const gd_replay_draws *out) {
  const gd_strategy *strategy = gd_strategy_get(id);
  gd_random first = key, time = key, noise = key;
  first.purpose = GD_RANDOM_REPLAY_START;
  time.purpose = GD_RANDOM_REPLAY_TIMESTEP;
  noise.purpose = GD_RANDOM_REPLAY_NOISE;
  if (strategy->input == GD_INPUT_CURRENT || strategy->input == GD_INPUT_NONE) return;
#pragma omp parallel for
  for (int i = 0; i < n; i++) {
    uint64_t index = first_index + (uint64_t)i;
    if (start) gd_random_normal(first, index, (size_t)n_elements, out->start + i * n_elements);
    out->timesteps[i] = (int)gd_random_below(time, index, (uint32_t)timesteps);
    if (strategy->input == GD_INPUT_SAMPLES)
      gd_random_normal(noise, index, (size_t)n_elements, out->noise + i * n_elements);
  }
}

typedef struct noise_context {
  gd_random key;
  uint64_t first_index;
  int64_t n_elements;
} noise_context;

// Sampling step k of an image takes the k-th stretch of the image's stream: a step of its own in the key's counter.
static void sampler_noise(void *context, int k, int image, float *z) {
  const noise_context *c = context;
  uint64_t index = (c->first_index + (uint64_t)image) | (uint64_t)k << 24;
  gd_random_normal(c->key, index, (size_t)c->n_elements, z);
}

void gd_replay_make(gd_strategy_id id, gd_generator *teacher, const gd_schedule *schedule,
                    const gd_config_sampling *sampling, gd_random key, uint64_t first_index, int64_t n_elements,
                    const gd_replay_draws *draws, int n, float *x, float *t, float *target) {
  const gd_strategy *strategy = gd_strategy_get(id);
  size_t nbytes = (size_t)n * (size_t)n_elements * sizeof(float);
  if (strategy->input == GD_INPUT_NOISE || strategy->input == GD_INPUT_SAMPLES) {
    memcpy(x, draws->start, nbytes);
    for (int i = 0; i < n; i++) t[i] = (float)draws->timesteps[i];
  }
  if (strategy->input == GD_INPUT_SAMPLES) {
    key.purpose = GD_RANDOM_REPLAY_SAMPLER;
    noise_context context = {.key = key, .first_index = first_index, .n_elements = n_elements};
    // an image that is not finite makes the loss so, which all ranks learn of at the end of the step
    if (sampling) gd_generator_sample(teacher, sampling, n, sampler_noise, &context, x);
    for (int i = 0; i < n; i++)
      gd_schedule_add_noise(schedule, draws->timesteps[i], n_elements, x + i * n_elements,
                            draws->noise + i * n_elements, x + i * n_elements);
  }
  memcpy(target, strategy->target == GD_TARGET_TEACHER ? gd_generator_predict(teacher, x, t, n) : draws->noise, nbytes);
}
