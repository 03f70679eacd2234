/* What a sampler's step sees and may do. */
#ifndef GD_DIFFUSION_SAMPLING_H
#define GD_DIFFUSION_SAMPLING_H

#include "gendistill/diffusion.h"

struct gd_sampling_state {
  const gd_schedule *schedule;
  const gd_sampling_calls *calls;
  double eta;
  int n_steps, k;       /* the step is number k, from 0 */
  const int *timesteps; /* (n_steps) */
  int stride;           /* timesteps of a step */
  int n_images;
  int64_t n_elements; /* of an image */
  float *x;           /* (n_images, n_elements), in place */
  float *x0, *eps;    /* (n_images, n_elements) by gd_sampling_estimate */
  float **history;    /* x_0 as estimated at the steps before, newest first; NULL where there was no such step */
  float *z;           /* (n_elements) */
};

/* Evaluates the network for x at timestep t: state->x0, clipped to [-1, 1], and state->eps. */
void gd_sampling_estimate(gd_sampling_state *state, int t);

/* Adds sd times the sampler's noise to x. */
void gd_sampling_add_noise(gd_sampling_state *state, float sd);

/* Evaluations of a sampler that evaluates the network once per step. */
int gd_sampling_one_per_step(int steps);

#endif
