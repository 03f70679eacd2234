/* The objective x0: the network predicts the image. */
#include <string.h>

#include "gendistill/diffusion.h"

static void x0_target(gd_noise_level level, int64_t n, const float *x0, const float *eps, float *target) {
  (void)level;
  (void)eps;
  memcpy(target, x0, (size_t)n * sizeof *x0);
}

static void x0_estimate(gd_noise_level level, int64_t n, const float *x, const float *output, float *x0, float *eps) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    x0[i] = output[i];
    eps[i] = (x[i] - level.alpha * output[i]) / level.sigma;
  }
}

static double x0_min_snr_weight(double snr, double limit) {
  return snr < limit ? snr : limit;
}

const gd_objective gd_objective_x0 = {
    .target = x0_target, .estimate = x0_estimate, .min_snr_weight = x0_min_snr_weight};
