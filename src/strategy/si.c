/* Synaptic intelligence (Zenke et al. 2017). A parameter's importance grows with how much its steps have lowered the
 * loss, w = sum over the steps of -gradient * change: omega += w / (change in the task^2 + xi) at the end of a task.
 * The gradient is that of the loss without the penalty and before clipping. */
#include <string.h>

#include "strategy/regulariser.h"

enum { OMEGA, PATH, ANCHOR };

static void si_begin_task(gd_regularisation *r, const float *params) {
  memset(r->arrays[PATH].values, 0, (size_t)r->total * sizeof(float));
  memcpy(r->arrays[ANCHOR].values, params, (size_t)r->total * sizeof(float));
}

static double si_penalty(gd_regularisation *r, const float *params, float *gradient) {
  return gd_regulariser_spring(r->total, r->settings.lambda, r->arrays[OMEGA].values, r->arrays[ANCHOR].values, params,
                               gradient);
}

/* ---- Importance ---- */

static void si_after_step(gd_regularisation *r, const float *params) {
  float *path = r->arrays[PATH].values;
#pragma omp parallel for simd
  for (int64_t i = 0; i < r->total; i++) path[i] -= r->gradient[i] * (params[i] - r->before[i]);
}

static gd_err si_end_task(gd_regularisation *r, const gd_image_gradients *gradients, int64_t *n) {
  float *omega = r->arrays[OMEGA].values, xi = (float)r->settings.si_xi;
  const float *path = r->arrays[PATH].values, *anchor = r->arrays[ANCHOR].values, *params = gradients->params;
  for (int64_t i = 0; i < r->total; i++) {
    float change = params[i] - anchor[i];
    omega[i] += path[i] / (change * change + xi);
  }
  *n = 0;
  return GD_OK;
}

const gd_regulariser gd_regulariser_si = {.arrays = {"omega", "path", "anchor"},
                                          .begin_task = si_begin_task,
                                          .penalty = si_penalty,
                                          .after_step = si_after_step,
                                          .end_task = si_end_task};
