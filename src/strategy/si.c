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

/* ---- Penalty: lambda sum omega (p - a)^2 ---- */

typedef struct si_work {
  const float *omega, *anchor, *params;
  float *gradient, lambda;
} si_work;

static double si_block(const void *context, int64_t begin, int64_t end) {
  const si_work *w = context;
  double sum = 0;
  for (int64_t i = begin; i < end; i++) {
    float change = w->params[i] - w->anchor[i], pull = w->omega[i] * change;
    sum += (double)pull * change;
    w->gradient[i] += 2 * w->lambda * pull;
  }
  return sum;
}

static double si_penalty(gd_regularisation *r, const float *params, float *gradient) {
  double lambda = r->config->strategy.regulariser_lambda;
  si_work work = {r->arrays[OMEGA].values, r->arrays[ANCHOR].values, params, gradient, (float)lambda};
  return lambda * gd_regulariser_sum(r->total, si_block, &work);
}

/* ---- Importance ---- */

static void si_after_step(gd_regularisation *r, const float *params) {
  float *path = r->arrays[PATH].values;
#pragma omp parallel for simd
  for (int64_t i = 0; i < r->total; i++) path[i] -= r->gradient[i] * (params[i] - r->before[i]);
}

static gd_err si_end_task(gd_regularisation *r, const gd_image_gradients *gradients, int64_t *n) {
  float *omega = r->arrays[OMEGA].values, xi = (float)r->config->strategy.si_xi;
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
