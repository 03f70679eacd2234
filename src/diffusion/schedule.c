/* The noise schedule, forward noising, and the timesteps of a sampler.
 *
 * float32 as the PyTorch reference computes it, so that a network trained there sees the same noise levels here. */
#include <math.h>
#include <string.h>

#include "gendistill/diffusion.h"

// torch.linspace: from both ends to the middle.
static void linspace(float start, float end, int n, float *out) {
  if (n == 1) {
    out[0] = start;
    return;
  }
  float step = (end - start) / (float)(n - 1);
  for (int i = 0; i < n; i++) out[i] = i < n / 2 ? start + step * (float)i : end - step * (float)(n - 1 - i);
}

// torch.cumprod of 1 - beta: the running product is kept in double, each element rounded to float.
static void cumulate_alphas(const float *betas, int n, float *alphas_cumprod) {
  double product = 1.0;
  for (int i = 0; i < n; i++) {
    product *= (double)(1.0f - betas[i]);
    alphas_cumprod[i] = (float)product;
  }
}

// Lin et al. 2024 (arXiv 2305.08891), algorithm 1. The reference goes back to betas and multiplies again; so do we.
static void rescale_zero_terminal_snr(int n, float *betas, float *alphas_cumprod) {
  float first = sqrtf(alphas_cumprod[0]), last = sqrtf(alphas_cumprod[n - 1]);
  float scale = first / (first - last), before = 1.0f;
  for (int i = 0; i < n; i++) {
    float root = (sqrtf(alphas_cumprod[i]) - last) * scale;
    betas[i] = before > 0.0f ? 1.0f - root * root / before : 1.0f;  // once zero in float32, abar stays zero
    before = root * root;
  }
  cumulate_alphas(betas, n, alphas_cumprod);
}

void gd_schedule_create(gd_schedule **out, const gd_diffusion *config) {
  int n = config->timesteps;
  GD_REQUIRE(n >= 1);
  gd_schedule *schedule = GD_NEW(gd_schedule);
  schedule->timesteps = n;
  schedule->path = gd_path_get(config->path);
  schedule->objective = gd_objective_get(config->prediction);
  schedule->loss_weight = config->loss_weight;
  *out = schedule;
  if (schedule->path->is_straight) return;
  schedule->alphas_cumprod = GD_NEW_ARRAY(float, n);
  float *betas = GD_NEW_ARRAY(float, n);
  linspace((float)config->beta_start, (float)config->beta_end, n, betas);
  cumulate_alphas(betas, n, schedule->alphas_cumprod);
  // with one timestep the first, which stays, is also the last, which goes to zero: leave it
  if (config->zero_terminal_snr && n > 1) rescale_zero_terminal_snr(n, betas, schedule->alphas_cumprod);
  gd_free(betas);
}

void gd_schedule_destroy(gd_schedule **schedule) {
  if (!*schedule) return;
  gd_free((*schedule)->alphas_cumprod);
  gd_free(*schedule);
  *schedule = NULL;
}

gd_noise_level gd_schedule_level(const gd_schedule *schedule, int t) {
  GD_REQUIRE(t < schedule->timesteps);
  return schedule->path->level(schedule, t < 0 ? -1 : t, 0);
}

gd_noise_level gd_schedule_level_with_signal(const gd_schedule *schedule, int t) {
  GD_REQUIRE(t < schedule->timesteps);
  return schedule->path->level(schedule, t < 0 ? -1 : t, 0x1p-24f);
}

void gd_schedule_add_noise(const gd_schedule *schedule, int t, int64_t n, const float *x0, const float *eps,
                           float *xt) {
  gd_noise_level level = gd_schedule_level(schedule, t);
#pragma omp simd
  for (int64_t i = 0; i < n; i++) xt[i] = level.alpha * x0[i] + level.sigma * eps[i];
}

void gd_schedule_noise(const gd_schedule *schedule, int t, int64_t n, float *x, float *target) {
  enum { BLOCK = 1024 };
  float wanted[BLOCK];
  for (int64_t at = 0; at < n; at += BLOCK) {
    int64_t length = n - at < BLOCK ? n - at : BLOCK;
    schedule->objective->target(gd_schedule_level(schedule, t), length, x + at, target + at, wanted);
    gd_schedule_add_noise(schedule, t, length, x + at, target + at, x + at);
    memcpy(target + at, wanted, (size_t)length * sizeof *wanted);
  }
}

double gd_schedule_snr(const gd_schedule *schedule, int t) {
  gd_noise_level level = gd_schedule_level(schedule, t);
  return (double)level.alpha_squared / ((double)level.sigma * level.sigma);
}

double gd_schedule_loss_weight(const gd_schedule *schedule, int t) {
  const double limit = 5;  // recommended by the method's paper
  if (schedule->loss_weight == GD_WEIGHT_NONE) return 1;
  double a = gd_schedule_level(schedule, t).alpha_squared;
  return schedule->objective->min_snr_weight(a / (1 - a), limit);
}

void gd_timesteps_trailing(int timesteps, int steps, int *out) {
  GD_REQUIRE(steps >= 1 && steps <= timesteps);
  // rint rounds halves to even; the division is the only rounding, so halves are exact
  for (int k = 0; k < steps; k++) out[k] = (int)rint(timesteps - (double)k * timesteps / steps) - 1;
}
