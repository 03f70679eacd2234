/* The paths from images to noise: where a timestep is on them. */
#include <math.h>

#include "gendistill/diffusion.h"

// The variance-preserving diffusion of DDPM (Ho et al. 2020). Samplers follow x / alpha over sigma / alpha
// (Karras et al. 2022, arXiv 2206.00364).
static gd_noise_level diffusion_level(const gd_schedule *schedule, int t, float least_abar) {
  float a = t < 0 ? 1.0f : fmaxf(schedule->alphas_cumprod[t], least_abar), alpha = sqrtf(a), sigma = sqrtf(1.0f - a);
  return (gd_noise_level){.alpha = alpha,
                          .sigma = sigma,
                          .alpha_squared = a,
                          .alpha_slope = -sigma,
                          .sigma_slope = alpha,
                          .scale = alpha,
                          .spread = 1,
                          .time = (float)t};
}

// Flow matching on straight paths: x_s = (1 - s) x_0 + s eps at s = (t + 1) / T; the network sees T s.
static gd_noise_level flow_level(const gd_schedule *schedule, int t, float least_abar) {
  (void)least_abar;  // it is solved without a division by alpha
  float time = (float)(t + 1), s = time / (float)schedule->timesteps, alpha = 1.0f - s;
  return (gd_noise_level){.alpha = alpha,
                          .sigma = s,
                          .alpha_squared = alpha * alpha,
                          .alpha_slope = -1,
                          .sigma_slope = 1,
                          .scale = 1,
                          .spread = sqrtf(alpha * alpha + s * s),
                          .time = time};
}

static const gd_path gd_path_diffusion = {.level = diffusion_level};
static const gd_path gd_path_flow = {.level = flow_level, .is_straight = true};

#define PATH_ROW(name) &gd_path_##name,
static const gd_path *const paths[GD_N_PATHS] = {GD_PATHS(PATH_ROW)};
static const char *const names[GD_N_PATHS] = {GD_PATHS(GD_LIST_NAME)};

const gd_path *gd_path_get(gd_path_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_PATHS);
  return paths[id];
}

const char *gd_path_name(gd_path_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_PATHS);
  return names[id];
}
