/* Noise schedule, forward noising, DDIM and DDPM sampling. Knows nothing of networks: it sees a callback. */
#ifndef GENDISTILL_DIFFUSION_H
#define GENDISTILL_DIFFUSION_H

#include "gendistill/base.h"
#include "gendistill/config.h"

/* abar_t of DESIGN 4, float32 arithmetic as PyTorch's, t = 0 .. timesteps-1. */
typedef struct gd_schedule {
  int timesteps;
  float *alphas_cumprod; /* (timesteps) */
} gd_schedule;

void gd_schedule_create(gd_schedule **out, const gd_config_diffusion *config);
void gd_schedule_destroy(gd_schedule **schedule);

/* x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps for one image of n elements; x_t may be x_0. Local. */
void gd_schedule_add_noise(const gd_schedule *schedule, int t, int64_t n, const float *x0, const float *eps, float *xt);

/* Trailing timesteps of N steps: t_k = round(T - k T/N) - 1 (round half to even, as numpy), k = 0 .. steps-1. Local. */
void gd_timesteps_trailing(int timesteps, int steps, int *out);

/* The noise that a network sees in n images of n_elements floats each, all at timestep t; the result has the
 * same shape and is valid until the next call. */
typedef const float *(*gd_predict)(void *context, const float *x, int t);

/* Writes the z of sampling step k for image i of the batch, n_elements floats. Asked for where sd > 0 only. */
typedef void (*gd_sampling_noise)(void *context, int k, int image, float *z);

/* The first step of a sampler after which x was not finite, and the first image of the batch with such a value. */
typedef struct gd_nonfinite_sample {
  int image; /* -1: all are finite */
  int step;  /* from 0 */
  int timestep;
} gd_nonfinite_sample;

/* Samples in place: x holds x_T on entry, x_0 in about [-1, 1] on return; (n_images, n_elements). Local.
 * steps <= timesteps. Stops after the first step that leaves a value that is not finite, which the result names.
 * Source: DDIM (Song 2020), eq. 12 and 16; DDPM is eta = 1, steps = timesteps. */
gd_nonfinite_sample gd_sample(const gd_schedule *schedule, const gd_config_sampling *sampling, int n_images,
                              int64_t n_elements, gd_predict predict, void *predict_context, gd_sampling_noise noise,
                              void *noise_context, float *x);

#endif
