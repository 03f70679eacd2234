/* The table of samplers, and the loop over a sampler's steps. A sampler is in a file of its own.
 *
 * Knows no network and draws no random number: both come through callbacks. */
#include "diffusion/sampling.h"

#define SAMPLER_DECLARATION(name) extern const gd_sampler gd_sampler_##name;
#define SAMPLER_ROW(name)         &gd_sampler_##name,
GD_SAMPLERS(SAMPLER_DECLARATION)
static const gd_sampler *const samplers[GD_N_SAMPLERS] = {GD_SAMPLERS(SAMPLER_ROW)};
static const char *const names[GD_N_SAMPLERS] = {GD_SAMPLERS(GD_LIST_NAME)};

const gd_sampler *gd_sampler_get(gd_sampler_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_SAMPLERS);
  return samplers[id];
}

const char *gd_sampler_name(gd_sampler_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_SAMPLERS);
  return names[id];
}

gd_sampling gd_sampling_settle(gd_sampling sampling, int timesteps) {
  const gd_sampler *sampler = gd_sampler_get(sampling.sampler);
  if (sampler->takes_all_timesteps) sampling.steps = timesteps;
  if (sampler->has_own_eta) sampling.eta = sampler->eta;
  return sampling;
}

int gd_sampling_evaluations(const gd_sampling *sampling) {
  return gd_sampler_get(sampling->sampler)->evaluations(sampling->steps);
}

int gd_sampling_one_per_step(int steps) {
  return steps;
}

static void clip_pixels(int64_t n, float *x) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) x[i] = x[i] < -1.0f ? -1.0f : x[i] > 1.0f ? 1.0f : x[i];
}

void gd_sampling_estimate(gd_sampling_state *state, int t) {
  const gd_sampling_calls *calls = state->calls;
  gd_noise_level level = gd_schedule_level(state->schedule, t);
  const float *output = calls->predict(calls->predict_context, state->x, gd_schedule_time(state->schedule, t));
#pragma omp parallel for
  for (int i = 0; i < state->n_images; i++) {
    int64_t n = state->n_elements, at = i * n;
    state->schedule->objective->estimate(level, n, state->x + at, output + at, state->x0 + at, state->eps + at);
    clip_pixels(n, state->x0 + at);
  }
}

void gd_sampling_add_noise(gd_sampling_state *state, float sd) {
  const float *z = state->z;
  for (int image = 0; sd > 0.0f && image < state->n_images; image++) {
    float *x = state->x + image * state->n_elements;
    state->calls->noise(state->calls->noise_context, state->k, image, state->z);
#pragma omp simd
    for (int64_t i = 0; i < state->n_elements; i++) x[i] += sd * z[i];
  }
}

// Not zeroed: this is inside a training step, and all of it is written before it is read.
static float *new_floats(int64_t n) {
  return gd_alloc((size_t)n * sizeof(float));
}

// The estimate of this step becomes the newest of the history; the oldest buffer takes the next one.
static void turn_history(gd_sampling_state *state, int n_history) {
  if (n_history == 0) return;
  float *oldest = state->history[n_history - 1], *newest = state->x0;
  for (int i = n_history - 1; i > 0; i--) state->history[i] = state->history[i - 1];
  state->history[0] = newest;
  state->x0 = oldest ? oldest : new_floats(state->n_images * state->n_elements);
}

static gd_sampling_state begin_sampling(const gd_schedule *schedule, const gd_sampling *sampling, int n_images,
                                        int64_t n_elements, float *x) {
  int n_history = gd_sampler_get(sampling->sampler)->n_history;
  int *timesteps = GD_NEW_ARRAY(int, sampling->steps);
  gd_timesteps_trailing(schedule->timesteps, sampling->steps, timesteps);
  return (gd_sampling_state){.schedule = schedule,
                             .eta = sampling->eta,
                             .n_steps = sampling->steps,
                             .timesteps = timesteps,
                             .stride = schedule->timesteps / sampling->steps,
                             .n_images = n_images,
                             .n_elements = n_elements,
                             .x = x,
                             .x0 = new_floats(n_images * n_elements),
                             .eps = new_floats(n_images * n_elements),
                             .history = GD_NEW_ARRAY(float *, n_history),
                             .z = new_floats(n_elements)};
}

static void end_sampling(gd_sampling_state *state, int n_history) {
  for (int i = 0; i < n_history; i++) gd_free(state->history[i]);
  gd_free((int *)state->timesteps);
  gd_free(state->x0);
  gd_free(state->eps);
  gd_free(state->history);
  gd_free(state->z);
}

gd_nonfinite_sample gd_sample(const gd_schedule *schedule, const gd_sampling *sampling, const gd_sampling_calls *calls,
                              int n_images, int64_t n_elements, float *x) {
  gd_nonfinite_sample nonfinite = {.image = -1};
  const gd_sampler *sampler = gd_sampler_get(sampling->sampler);
  gd_sampling settled = gd_sampling_settle(*sampling, schedule->timesteps);
  gd_sampling_state state = begin_sampling(schedule, &settled, n_images, n_elements, x);
  state.calls = calls;
  for (; state.k < state.n_steps && nonfinite.image < 0; state.k++) {
    sampler->step(&state);
    turn_history(&state, sampler->n_history);
    int64_t at = gd_first_nonfinite(x, n_images * n_elements);
    if (at >= 0)
      nonfinite =
          (gd_nonfinite_sample){.image = (int)(at / n_elements), .step = state.k, .timestep = state.timesteps[state.k]};
  }
  end_sampling(&state, sampler->n_history);
  return nonfinite;
}
