/* What a sampler's step sees and may do. */
#ifndef GD_DIFFUSION_SAMPLING_H
#define GD_DIFFUSION_SAMPLING_H

#include "gendistill/diffusion.h"

struct gd_sampling_state {
  const gd_schedule *schedule;
  const gd_sampler *sampler;
  const gd_sampling_calls *calls;
  double eta;
  int n_steps, k;           /* the step is number k, from 0 */
  int *timesteps, *ends;    /* (n_steps) where each step begins and ends; -1: no noise */
  gd_noise_level now, next; /* where the step begins and ends */
  gd_noise_level past[2];   /* where the step before it, and the one before that, began */
  int first_image;          /* number of the first image, for its noise */
  int n_images;
  int64_t n_elements; /* of an image */
  float *x;           /* (n_images, n_elements), in place */
  float *x0, *eps;    /* (n_images, n_elements) by gd_sampling_estimate */
  float **history;    /* x_0 as estimated at the steps before, newest first; NULL where there was no such step */
  float **scratch;    /* the sampler's own, each (n_images, n_elements) */
  float *z;           /* (n_elements) */
};

/* Evaluates the network for x (n_images, n_elements) at `level`: state->x0, clipped to [-1, 1] on diffusion paths, and
 * state->eps. */
void gd_sampling_estimate(gd_sampling_state *state, const float *x, gd_noise_level level);

/* Adds sd times the sampler's noise to x. */
void gd_sampling_add_noise(gd_sampling_state *state, float sd);

/* ln(alpha / sigma). */
double gd_log_snr(gd_noise_level level);

/* The ODE of the path in y = x / scale over s = sigma / scale. */

/* s of a level. */
float gd_ode_position(gd_noise_level level);

/* Evaluates the network for x at `level`, not without noise: dy / ds = (y - x_0) / s. */
void gd_ode_slope(gd_sampling_state *state, const float *x, gd_noise_level level, float *slope);

/* From x at `from` along `slope` to `to`: out may be x. */
void gd_ode_advance(const gd_sampling_state *state, const float *x, gd_noise_level from, gd_noise_level to,
                    const float *slope, float *out);

/* Evaluations of samplers that evaluate the network once per step. */
int gd_sampling_one_per_step(int steps);

#endif
