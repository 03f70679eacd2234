/* Elastic weight consolidation (Kirkpatrick et al. 2017; online: Schwarz et al. 2018) with the diagonal of the
 * empirical Fisher information F, the mean over images of the squared gradient of the loss.
 *
 * Several terms F_k (p - p_k)^2 are one: with F = sum F_k and a = sum F_k p_k / F they are F (p - a)^2 and a constant.
 * So one term per task takes as much memory as one term for all. */
#include <string.h>

#include "strategy/regulariser.h"

enum { FISHER, ANCHOR };

static double ewc_penalty(gd_regularisation *r, const float *params, float *gradient) {
  double half = r->settings.lambda / 2, constant = r->n_numbers ? r->numbers[0] : 0;
  return gd_regulariser_spring(r->total, half, r->arrays[FISHER].values, r->arrays[ANCHOR].values, params, gradient) +
         half * constant;
}

/* ---- End of a task ---- */

static void add_squares(void *context, const float *gradient, float *sum) {
  int64_t total = ((const gd_regularisation *)context)->total;
#pragma omp parallel for simd
  for (int64_t i = 0; i < total; i++) sum[i] += gradient[i] * gradient[i];
}

// The term of the task is one of its own.
static void merge_term(gd_regularisation *r, const float *fisher, const float *params) {
  float *sum = r->arrays[FISHER].values, *anchor = r->arrays[ANCHOR].values;
  double constant = r->n_numbers ? r->numbers[0] : 0;
  for (int64_t i = 0; i < r->total; i++) {
    double before = sum[i], added = fisher[i], both = before + added, apart = (double)anchor[i] - params[i];
    if (both == 0) continue;
    constant += before * added / both * apart * apart;
    anchor[i] = (float)((before * anchor[i] + added * params[i]) / both);
    sum[i] = (float)both;
  }
  r->n_numbers = 1;
  r->numbers[0] = constant;
}

static void renew_term(gd_regularisation *r, const float *fisher, const float *params) {
  float *sum = r->arrays[FISHER].values, gamma = (float)r->settings.fisher_gamma;
  for (int64_t i = 0; i < r->total; i++) sum[i] = fisher[i] + gamma * sum[i];
  memcpy(r->arrays[ANCHOR].values, params, (size_t)r->total * sizeof *params);
}

static gd_err ewc_end_task(gd_regularisation *r, const gd_image_gradients *gradients, int64_t *n) {
  float *fisher = GD_NEW_ARRAY(float, r->total);
  gd_gradient_sum what = {.rows = 1, .n = r->total, .add = add_squares, .context = r};
  gd_err err = gd_image_gradients_sum(gradients, &what, fisher);
  *n = r->settings.fisher_images;
  for (int64_t i = 0; i < r->total; i++) fisher[i] /= (float)*n;
  if (err == GD_OK)
    (r->settings.fisher_terms == GD_FISHER_ONLINE ? renew_term : merge_term)(r, fisher, gradients->params);
  gd_free(fisher);
  return err;
}

const gd_regulariser gd_regulariser_ewc = {
    .arrays = {"fisher", "anchor"}, .penalty = ewc_penalty, .end_task = ewc_end_task};
