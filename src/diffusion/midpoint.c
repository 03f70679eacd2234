/* The midpoint method on the ODE of a straight path: the slope in the middle of the step, which half a step of Euler's
 * method leads to. */
#include "diffusion/sampling.h"

// Straight paths are linear in s.
static gd_noise_level middle_of(gd_noise_level a, gd_noise_level b) {
  gd_noise_level middle = a;
  middle.alpha = (a.alpha + b.alpha) / 2;
  middle.sigma = (a.sigma + b.sigma) / 2;
  middle.alpha_squared = middle.alpha * middle.alpha;
  middle.time = (a.time + b.time) / 2;
  return middle;
}

static void midpoint_step(gd_sampling_state *state) {
  float *slope = state->scratch[0], *half = state->scratch[1];
  gd_noise_level middle = middle_of(state->now, state->next);
  gd_ode_slope(state, state->x, state->now, slope);
  gd_ode_advance(state, state->x, state->now, middle, slope, half);
  gd_ode_slope(state, half, middle, slope);
  gd_ode_advance(state, state->x, state->now, state->next, slope, state->x);
}

static int midpoint_evaluations(int steps) {
  return 2 * steps;
}

const gd_sampler gd_sampler_midpoint = {.paths = GD_ON_FLOW,
                                        .has_own_eta = true,
                                        .n_scratch = 2,
                                        .evaluations = midpoint_evaluations,
                                        .step = midpoint_step};
