/* The objective v: the network predicts the velocity of the path from an image to noise. That is alpha eps - sigma x_0
 * where alpha^2 + sigma^2 = 1 (Salimans and Ho 2022, arXiv 2202.00512), and eps - x_0 on straight paths: flow matching
 * (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003). */
#include "gendistill/diffusion.h"

static void v_target(gd_noise_level level, int64_t n, const float *x0, const float *eps, float *target) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) target[i] = level.sigma_slope * eps[i] + level.alpha_slope * x0[i];
}

// Solves x = alpha x_0 + sigma eps and v = alpha_slope x_0 + sigma_slope eps, whose determinant is 1 on all paths.
static void v_estimate(gd_noise_level level, int64_t n, const float *x, const float *output, float *x0, float *eps) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    x0[i] = level.sigma_slope * x[i] - level.sigma * output[i];
    eps[i] = level.alpha * output[i] - level.alpha_slope * x[i];
  }
}

static double v_min_snr_weight(double snr, double limit) {
  return (snr < limit ? snr : limit) / (snr + 1);
}

const gd_objective gd_objective_v = {.target = v_target, .estimate = v_estimate, .min_snr_weight = v_min_snr_weight};
