/* DDIM sampling (Song 2020, eq. 12 and 16); DDPM is its case eta = 1 with a step at every timestep.
 *
 * Knows no network and draws no random number: both come through callbacks. */
#include <math.h>

#include "gendistill/diffusion.h"

// What one step from t to p does: x0 = clip((x - x_noise e) / x_signal), x = to_signal x0 + to_noise e + sd z.
typedef struct step_weights {
  float x_signal, x_noise;
  float to_signal, to_noise;
  float sd;
} step_weights;

static step_weights weigh_step(const gd_schedule *schedule, int t, int previous, float eta) {
  float a = schedule->alphas_cumprod[t], ap = previous >= 0 ? schedule->alphas_cumprod[previous] : 1.0f;
  // 1e-8: a may be 0 at the last timestep (zero_terminal_snr)
  float variance = (1.0f - ap) / (1.0f - a) * (1.0f - a / (ap + 1e-8f));
  step_weights w;
  w.x_signal = sqrtf(a + 1e-8f);
  w.x_noise = sqrtf(1.0f - a);
  w.sd = eta * sqrtf(fmaxf(variance, 0.0f));
  w.to_signal = sqrtf(ap);
  w.to_noise = sqrtf(fmaxf(1.0f - ap - w.sd * w.sd, 0.0f));
  return w;
}

static void move(step_weights w, int64_t n, const float *e, float *x) {
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < n; i++) {
    float x0 = (x[i] - w.x_noise * e[i]) / w.x_signal;
    x0 = x0 < -1.0f ? -1.0f : x0 > 1.0f ? 1.0f : x0;
    x[i] = w.to_signal * x0 + w.to_noise * e[i];
  }
}

static void add_scaled(float sd, int64_t n, const float *z, float *x) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) x[i] += sd * z[i];
}

gd_nonfinite_sample gd_sample(const gd_schedule *schedule, const gd_config_sampling *sampling, int n_images,
                              int64_t n_elements, gd_predict predict, void *predict_context, gd_sampling_noise noise,
                              void *noise_context, float *x) {
  gd_nonfinite_sample nonfinite = {.image = -1};
  bool is_ddpm = sampling->sampler == GD_DDPM;
  int steps = is_ddpm ? schedule->timesteps : sampling->steps;
  float eta = is_ddpm ? 1.0f : (float)sampling->eta;
  int *timesteps = GD_NEW_ARRAY(int, steps);
  float *z = gd_alloc(sizeof(float) * (size_t)n_elements);
  gd_timesteps_trailing(schedule->timesteps, steps, timesteps);
  for (int k = 0; k < steps && nonfinite.image < 0; k++) {
    int t = timesteps[k];
    step_weights w = weigh_step(schedule, t, t - schedule->timesteps / steps, eta);
    move(w, n_images * n_elements, predict(predict_context, x, t), x);
    for (int i = 0; w.sd > 0.0f && i < n_images; i++) {
      noise(noise_context, k, i, z);
      add_scaled(w.sd, n_elements, z, x + i * n_elements);
    }
    int64_t at = gd_first_nonfinite(x, n_images * n_elements);
    if (at >= 0) nonfinite = (gd_nonfinite_sample){.image = (int)(at / n_elements), .step = k, .timestep = t};
  }
  gd_free(z);
  gd_free(timesteps);
  return nonfinite;
}
