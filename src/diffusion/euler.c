/* Euler's method on the ODE of a path. On diffusion paths that is DDIM. */
#include "diffusion/sampling.h"

static void euler_step(gd_sampling_state *state) {
  float *slope = state->scratch[0];
  gd_ode_slope(state, state->x, state->now, slope);
  gd_ode_advance(state, state->x, state->now, state->next, slope, state->x);
}

const gd_sampler gd_sampler_euler = {.paths = GD_ON_FLOW,
                                     .diffusers = {[GD_PATH_flow] = {"FlowMatchEulerDiscreteScheduler", NULL}},
                                     .has_own_eta = true,
                                     .n_scratch = 1,
                                     .evaluations = gd_sampling_one_per_step,
                                     .step = euler_step};
