/* DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095), as the scheduler of diffusers with a last step to no noise. */
#include "diffusion/sampling.h"

// The estimate of x_0 is extrapolated from the last two, but not in the first step, which has one, and in the last,
// which is infinitely long in log SNR.
static void dpmpp_2m_step(gd_sampling_state *state) {
  gd_noise_level now = state->now, next = state->next;
  gd_sampling_estimate(state, state->x, now);
  bool extrapolates = state->k > 0 && state->k < state->n_steps - 1;
  double step = extrapolates ? gd_log_snr(next) - gd_log_snr(now) : 0;
  float weight = extrapolates ? (float)(step / (2 * (gd_log_snr(now) - gd_log_snr(state->past[0])))) : 0;
  float ratio = next.sigma / now.sigma, gain = next.alpha - now.alpha * ratio;
  const float *x0 = state->x0, *earlier = extrapolates ? state->history[0] : x0;
  float *x = state->x;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < state->n_images * state->n_elements; i++)
    x[i] = ratio * x[i] + gain * (x0[i] + weight * (x0[i] - earlier[i]));
}

const gd_sampler gd_sampler_dpmpp_2m = {
    .paths = GD_ON_DIFFUSION,
    .diffusers = {[GD_PATH_diffusion] = {"DPMSolverMultistepScheduler",
                                         "\"algorithm_type\": \"dpmsolver++\", \"solver_order\": 2, \"solver_type\": "
                                         "\"midpoint\", \"final_sigmas_type\": \"zero\""}},
    .has_own_eta = true,
    .needs_signal = true,
    .n_history = 1,
    .evaluations = gd_sampling_one_per_step,
    .step = dpmpp_2m_step};
