/* DDIM (Song et al. 2020, eq. 12 and 16); DDPM is its case eta = 1 with a step at every timestep. */
#include <math.h>

#include "diffusion/sampling.h"

static void ddim_step(gd_sampling_state *state) {
  int t = state->timesteps[state->k];
  gd_noise_level now = gd_schedule_level(state->schedule, t);
  gd_noise_level next = gd_schedule_level(state->schedule, t - state->stride);
  float a = now.alpha_squared, a_next = next.alpha_squared;
  float variance = (1.0f - a_next) / (1.0f - a) * (1.0f - a / (a_next + 1e-8f));
  float sd = (float)state->eta * sqrtf(fmaxf(variance, 0.0f));
  float to_signal = next.alpha, to_noise = sqrtf(fmaxf(1.0f - a_next - sd * sd, 0.0f));
  gd_sampling_estimate(state, t);
  const float *x0 = state->x0, *eps = state->eps;
  float *x = state->x;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < state->n_images * state->n_elements; i++) x[i] = to_signal * x0[i] + to_noise * eps[i];
  gd_sampling_add_noise(state, sd);
}

const gd_sampler gd_sampler_ddim = {.evaluations = gd_sampling_one_per_step, .step = ddim_step};

const gd_sampler gd_sampler_ddpm = {.takes_all_timesteps = true,
                                    .has_own_eta = true,
                                    .eta = 1,
                                    .evaluations = gd_sampling_one_per_step,
                                    .step = ddim_step};
