/* The table of samplers, and the loop over a sampler's steps. A sampler is in a file of its own.
 *
 * Knows no network and draws no random number: both come through callbacks. */
#include "diffusion/sampling.h"

#include <math.h>
#include <string.h>

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

gd_sampler_id gd_sampler_of_path(gd_path_id path) {
  int id = 0;
  while (!(samplers[id]->paths & (1u << path))) id++;
  return (gd_sampler_id)id;
}

bool gd_sampler_is_simple(gd_sampler_id id) {
  const gd_sampler *sampler = gd_sampler_get(id);
  return sampler->evaluations == gd_sampling_one_per_step && !sampler->takes_all_timesteps;
}

void gd_sampling_timesteps(const gd_sampling *sampling, int timesteps, int *out) {
  if (sampling->n_timesteps > 0)
    memcpy(out, sampling->timesteps, (size_t)sampling->steps * sizeof *out);
  else
    gd_timesteps_trailing(timesteps, sampling->steps, out);
}

gd_sampling gd_sampling_settle(gd_sampling sampling, int timesteps) {
  const gd_sampler *sampler = gd_sampler_get(sampling.sampler);
  if (sampling.n_timesteps > 0) sampling.steps = sampling.n_timesteps;
  if (sampler->takes_all_timesteps) sampling.steps = timesteps;
  if (sampler->has_own_eta) sampling.eta = sampler->eta;
  return sampling;
}

int gd_sampling_evaluations(const gd_sampling *sampling) {
  int evaluations = gd_sampler_get(sampling->sampler)->evaluations(sampling->steps);
  return sampling->guidance > 0 ? 2 * evaluations : evaluations;
}

/* ---- For samplers ---- */

int gd_sampling_one_per_step(int steps) {
  return steps;
}

static void clip_pixels(int64_t n, float *x) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) x[i] = x[i] < -1.0f ? -1.0f : x[i] > 1.0f ? 1.0f : x[i];
}

void gd_sampling_estimate(gd_sampling_state *state, const float *x, gd_noise_level level) {
  const gd_sampling_calls *calls = state->calls;
  const gd_schedule *schedule = state->schedule;
  const float *output = calls->predict(calls->predict_context, x, level.time);
#pragma omp parallel for
  for (int i = 0; i < state->n_images; i++) {
    int64_t n = state->n_elements, at = i * n;
    schedule->objective->estimate(level, n, x + at, output + at, state->x0 + at, state->eps + at);
    if (!schedule->path->is_straight) clip_pixels(n, state->x0 + at);
  }
}

void gd_sampling_add_noise(gd_sampling_state *state, float sd) {
  const float *z = state->z;
  for (int image = 0; sd > 0.0f && image < state->n_images; image++) {
    float *x = state->x + image * state->n_elements;
    state->calls->noise(state->calls->noise_context, state->k, state->first_image + image, state->z);
#pragma omp simd
    for (int64_t i = 0; i < state->n_elements; i++) x[i] += sd * z[i];
  }
}

double gd_log_snr(gd_noise_level level) {
  return log((double)level.alpha) - log((double)level.sigma);
}

float gd_ode_position(gd_noise_level level) {
  return level.sigma / level.scale;
}

void gd_ode_slope(gd_sampling_state *state, const float *x, gd_noise_level level, float *slope) {
  float scale = level.scale, s = gd_ode_position(level);
  gd_sampling_estimate(state, x, level);
  const float *x0 = state->x0;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < state->n_images * state->n_elements; i++) slope[i] = (x[i] / scale - x0[i]) / s;
}

void gd_ode_advance(const gd_sampling_state *state, const float *x, gd_noise_level from, gd_noise_level to,
                    const float *slope, float *out) {
  float ratio = to.scale / from.scale, move = to.scale * (gd_ode_position(to) - gd_ode_position(from));
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < state->n_images * state->n_elements; i++) out[i] = ratio * x[i] + move * slope[i];
}

/* ---- The loop ---- */

// Not zeroed: this is inside a training step, and all of it is written before it is read.
static float *new_floats(int64_t n) {
  return gd_alloc((size_t)n * sizeof(float));
}

// The estimate of this step becomes the newest of the history; the oldest buffer takes the next one.
static void turn_history(gd_sampling_state *state) {
  int n_history = state->sampler->n_history;
  if (n_history == 0) return;
  float *oldest = state->history[n_history - 1], *newest = state->x0;
  for (int i = n_history - 1; i > 0; i--) state->history[i] = state->history[i - 1];
  state->history[0] = newest;
  state->x0 = oldest ? oldest : new_floats(state->n_images * state->n_elements);
}

// Where each step begins and ends.
static void place_steps(gd_sampling_state *state, const gd_sampling *sampling) {
  int n = state->n_steps, stride = state->schedule->timesteps / n;
  bool listed = sampling->n_timesteps > 0;
  state->timesteps = GD_NEW_ARRAY(int, n);
  state->ends = GD_NEW_ARRAY(int, n);
  gd_sampling_timesteps(sampling, state->schedule->timesteps, state->timesteps);
  for (int k = 0; k < n; k++) {
    state->ends[k] = k < n - 1 ? state->timesteps[k + 1] : -1;
    if (state->sampler->strides && !listed) state->ends[k] = state->timesteps[k] - stride;
  }
}

static void make_buffers(gd_sampling_state *state) {
  const gd_sampler *sampler = state->sampler;
  int64_t count = state->n_images * state->n_elements;
  state->x0 = new_floats(count);
  state->eps = new_floats(count);
  state->z = new_floats(state->n_elements);
  state->history = GD_NEW_ARRAY(float *, sampler->n_history);
  state->scratch = GD_NEW_ARRAY(float *, sampler->n_scratch);
  for (int i = 0; i < sampler->n_scratch; i++) state->scratch[i] = new_floats(count);
}

static void end_sampling(gd_sampling_state *state) {
  for (int i = 0; i < state->sampler->n_history; i++) gd_free(state->history[i]);
  for (int i = 0; i < state->sampler->n_scratch; i++) gd_free(state->scratch[i]);
  gd_free(state->timesteps);
  gd_free(state->ends);
  gd_free(state->x0);
  gd_free(state->eps);
  gd_free(state->history);
  gd_free(state->scratch);
  gd_free(state->z);
}

static gd_noise_level sampling_level(const gd_sampling_state *state, int t) {
  return (state->sampler->needs_signal ? gd_schedule_level_with_signal : gd_schedule_level)(state->schedule, t);
}

static void run_step(gd_sampling_state *state) {
  state->past[1] = state->past[0];
  state->past[0] = state->now;
  state->now = sampling_level(state, state->timesteps[state->k]);
  state->next = sampling_level(state, state->ends[state->k]);
  state->sampler->step(state);
  turn_history(state);
}

gd_nonfinite_sample gd_sample(const gd_schedule *schedule, const gd_sampling *sampling, const gd_sampling_calls *calls,
                              int n_images, int64_t n_elements, float *x) {
  gd_nonfinite_sample nonfinite = {.image = -1};
  gd_sampling settled = gd_sampling_settle(*sampling, schedule->timesteps);
  gd_sampling_state state = {.schedule = schedule,
                             .sampler = gd_sampler_get(sampling->sampler),
                             .calls = calls,
                             .eta = settled.eta,
                             .n_steps = settled.steps,
                             .n_images = n_images,
                             .n_elements = n_elements,
                             .x = x};
  place_steps(&state, &settled);
  make_buffers(&state);
  for (; state.k < state.n_steps && nonfinite.image < 0; state.k++) {
    run_step(&state);
    int64_t at = gd_first_nonfinite(x, n_images * n_elements);
    if (at >= 0)
      nonfinite =
          (gd_nonfinite_sample){.image = (int)(at / n_elements), .step = state.k, .timestep = state.timesteps[state.k]};
  }
  end_sampling(&state);
  return nonfinite;
}

/* ---- A part of the way: every image has a state of its own ---- */

typedef struct partial_work {
  gd_sampling_state *states;  // (n_images)
  int *steps;                 // (n_images) that the image makes
  int *images;                // (n) that make the present step
  float *x, *times;           // (n) where they are
} partial_work;

// Evenly spaced steps from T to timestep `end`; fewer where there are fewer timesteps.
static void place_steps_to(gd_sampling_state *state, int end) {
  int last = state->schedule->timesteps - 1, span = last - end;
  if (span < state->n_steps) state->n_steps = span;
  state->timesteps = GD_NEW_ARRAY(int, state->n_steps + 1);
  state->ends = GD_NEW_ARRAY(int, state->n_steps + 1);
  for (int k = 0; k < state->n_steps; k++) {
    state->timesteps[k] = last - (int)((int64_t)k * span / state->n_steps);
    state->ends[k] = last - (int)((int64_t)(k + 1) * span / state->n_steps);
  }
}

// The output of one image, which is there already.
static const float *take_output(void *context, const float *x, float time) {
  (void)x;
  (void)time;
  return context;
}

static void step_image(gd_sampling_state *state, int k, const float *output) {
  gd_sampling_calls calls = *state->calls;
  const gd_sampling_calls *before = state->calls;
  calls.predict = take_output;
  calls.predict_context = (void *)output;
  state->calls = &calls;
  state->k = k;
  run_step(state);
  state->calls = before;
}

// Step k of those images that make it; returns how many.
static int step_images(partial_work *w, int n_images, int k) {
  int n = 0;
  for (int i = 0; i < n_images; i++) {
    gd_sampling_state *state = &w->states[i];
    if (k >= w->steps[i]) continue;
    w->images[n] = i;
    w->times[n] = sampling_level(state, state->timesteps[k]).time;
    memcpy(w->x + n * state->n_elements, state->x, (size_t)state->n_elements * sizeof(float));
    n++;
  }
  if (n == 0) return 0;
  const gd_sampling_calls *calls = w->states[0].calls;
  const float *outputs = calls->predict_some(calls->predict_context, n, w->images, w->x, w->times);
  for (int i = 0; i < n; i++) {
    gd_sampling_state *state = &w->states[w->images[i]];
    step_image(state, k, outputs + i * state->n_elements);
  }
  return n;
}

void gd_sample_partly(const gd_schedule *schedule, const gd_sampling *sampling, const gd_sampling_calls *calls,
                      int n_images, int64_t n_elements, const int *steps, const int *ends, float *x) {
  GD_REQUIRE(gd_sampler_is_simple(sampling->sampler));
  partial_work w = {.states = GD_NEW_ARRAY(gd_sampling_state, n_images),
                    .steps = GD_NEW_ARRAY(int, n_images),
                    .images = GD_NEW_ARRAY(int, n_images),
                    .times = GD_NEW_ARRAY(float, n_images),
                    .x = new_floats(n_images * n_elements)};
  for (int i = 0; i < n_images; i++) {
    gd_sampling_state *state = &w.states[i];
    *state = (gd_sampling_state){.schedule = schedule,
                                 .sampler = gd_sampler_get(sampling->sampler),
                                 .calls = calls,
                                 .eta = sampling->eta,
                                 .n_steps = ends ? steps[i] : sampling->steps,
                                 .first_image = i,
                                 .n_images = 1,
                                 .n_elements = n_elements,
                                 .x = x + i * n_elements};
    if (ends)
      place_steps_to(state, ends[i]);
    else
      place_steps(state, sampling);
    make_buffers(state);
    w.steps[i] = ends ? state->n_steps : steps[i];
  }
  for (int k = 0; step_images(&w, n_images, k) > 0; k++)
    ;
  for (int i = 0; i < n_images; i++) end_sampling(&w.states[i]);
  gd_free(w.states);
  gd_free(w.steps);
  gd_free(w.images);
  gd_free(w.times);
  gd_free(w.x);
}
