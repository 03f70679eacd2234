/* DDIM (Song et al. 2020, eq. 12 and 16); DDPM is its case eta = 1 with a step at every timestep. */
#include <math.h>

#include "diffusion/sampling.h"

static void ddim_step(gd_sampling_state *state) {
  float a = state->now.alpha_squared, a_next = state->next.alpha_squared;
  float variance = (1.0f - a_next) / (1.0f - a) * (1.0f - a / (a_next + 1e-8f));
  float sd = (float)state->eta * sqrtf(fmaxf(variance, 0.0f));
  float to_signal = state->next.alpha, to_noise = sqrtf(fmaxf(1.0f - a_next - sd * sd, 0.0f));
  gd_sampling_estimate(state, state->x, state->now);
  const float *x0 = state->x0, *eps = state->eps;
  float *x = state->x;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < state->n_images * state->n_elements; i++) x[i] = to_signal * x0[i] + to_noise * eps[i];
  gd_sampling_add_noise(state, sd);
}

const gd_sampler gd_sampler_ddim = {
    .paths = GD_ON_DIFFUSION,
    .diffusers =
        {[GD_PATH_diffusion] = {"DDIMScheduler",
                                "\"clip_sample\": true, \"clip_sample_range\": 1.0, \"set_alpha_to_one\": true"}},
    .strides = true,
    .evaluations = gd_sampling_one_per_step,
    .step = ddim_step};

const gd_sampler gd_sampler_ddpm = {
    .paths = GD_ON_DIFFUSION,
    .diffusers = {[GD_PATH_diffusion] =
                      {"DDPMScheduler",
                       "\"clip_sample\": true, \"clip_sample_range\": 1.0, \"variance_type\": \"fixed_small\""}},
    .takes_all_timesteps = true,
    .has_own_eta = true,
    .eta = 1,
    .strides = true,
    .evaluations = gd_sampling_one_per_step,
    .step = ddim_step};
