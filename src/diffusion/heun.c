/* Heun's method on the ODE of a path (Karras et al. 2022, arXiv 2206.00364, algorithm 1): the mean of the slopes at
 * both ends of a step. The last step is Euler's: there is no slope where there is no noise. */
#include "diffusion/sampling.h"

static void heun_step(gd_sampling_state *state) {
  float *slope = state->scratch[0], *end = state->scratch[1], *slope_at_end = state->scratch[2];
  gd_ode_slope(state, state->x, state->now, slope);
  if (state->next.sigma > 0) {
    gd_ode_advance(state, state->x, state->now, state->next, slope, end);
    gd_ode_slope(state, end, state->next, slope_at_end);
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < state->n_images * state->n_elements; i++) slope[i] = (slope[i] + slope_at_end[i]) / 2;
  }
  gd_ode_advance(state, state->x, state->now, state->next, slope, state->x);
}

static int heun_evaluations(int steps) {
  return 2 * steps - 1;
}

const gd_sampler gd_sampler_heun = {
    .paths = GD_ON_DIFFUSION | GD_ON_FLOW,
    .diffusers = {[GD_PATH_diffusion] = {"HeunDiscreteScheduler", "\"clip_sample\": true, \"clip_sample_range\": 1.0"},
                  [GD_PATH_flow] = {"FlowMatchHeunDiscreteScheduler", NULL}},
    .has_own_eta = true,
    .needs_signal = true,
    .n_scratch = 3,
    .evaluations = heun_evaluations,
    .step = heun_step};
