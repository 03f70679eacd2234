/* The objective of DDPM (Ho et al. 2020): the network predicts the noise. */
#include <math.h>
#include <string.h>

#include "gendistill/diffusion.h"

static void epsilon_target(gd_noise_level level, int64_t n, const float *x0, const float *eps, float *target) {
  (void)level;
  (void)x0;
  memcpy(target, eps, (size_t)n * sizeof *eps);
}

static void epsilon_estimate(gd_noise_level level, int64_t n, const float *x, const float *output, float *x0,
                             float *eps) {
  float signal = sqrtf(level.alpha_squared + 1e-8f);  // alpha may be 0 at the last timestep (zero_terminal_snr)
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    x0[i] = (x[i] - level.sigma * output[i]) / signal;
    eps[i] = output[i];
  }
}

static double epsilon_min_snr_weight(double snr, double limit) {
  return snr > limit ? limit / snr : 1;
}

const gd_objective gd_objective_epsilon = {
    .target = epsilon_target, .estimate = epsilon_estimate, .min_snr_weight = epsilon_min_snr_weight};
