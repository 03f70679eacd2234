/* Elastic weight consolidation with a Fisher information of rank 1 (arXiv 2509.23593): F ~ c mu mu^T, where mu is the
 * mean gradient and c = mean (mu.g_i)^2 / |mu|^4. A task keeps u = sqrt(c) mu and the number u.p at its end. */
#include <math.h>

#include "strategy/regulariser.h"

enum { ROWS = 16 }; /* images at a time for the mean gradient */

// lambda / 2 sum over the tasks of (u.p - u.p_task)^2
static double rank1_penalty(gd_regularisation *r, const float *params, float *gradient) {
  double lambda = r->settings.lambda, sum = 0;
  for (int task = 0; task < r->task; task++) {
    const float *u = gd_regularisation_of_task(r, task);
    double change = gd_regulariser_product(r->total, u, params) - r->numbers[task];
    float pull = (float)(lambda * change);
    sum += change * change;
#pragma omp parallel for simd
    for (int64_t i = 0; i < r->total; i++) gradient[i] += pull * u[i];
  }
  return lambda / 2 * sum;
}

/* ---- End of a task ---- */

static void add_gradient(void *context, const float *gradient, float *sum) {
  int64_t total = ((const gd_regularisation *)context)->total;
#pragma omp parallel for simd
  for (int64_t i = 0; i < total; i++) sum[i] += gradient[i];
}

// With the mean gradient, which is there already.
static void add_squared_product(void *context, const float *gradient, float *sum) {
  gd_regularisation *r = context;
  double product = gd_regulariser_product(r->total, gd_regularisation_of_task(r, r->task), gradient);
  *sum += (float)(product * product);
}

static gd_err rank1_end_task(gd_regularisation *r, const gd_image_gradients *gradients, int64_t *n) {
  float *u = gd_regularisation_of_task(r, r->task), squares;
  gd_err err;
  int n_images = r->settings.fisher_images;
  gd_gradient_sum mean = {.rows = ROWS, .n = r->total, .add = add_gradient, .context = r};
  gd_gradient_sum variance = {.rows = 1, .n = 1, .add = add_squared_product, .context = r};
  GD_TRY(gd_image_gradients_sum(gradients, &mean, u));
  for (int64_t i = 0; i < r->total; i++) u[i] /= (float)n_images;
  GD_TRY(gd_image_gradients_sum(gradients, &variance, &squares));
  double norm2 = gd_regulariser_product(r->total, u, u),
         root = norm2 > 0 ? sqrt((double)squares / n_images) / norm2 : 0;
  for (int64_t i = 0; i < r->total; i++) u[i] *= (float)root;
  r->numbers[r->task] = gd_regulariser_product(r->total, u, gradients->params);
  r->n_numbers = r->task + 1;
  *n = 2 * (int64_t)n_images;
done:
  return err;
}

const gd_regulariser gd_regulariser_ewc_rank1 = {
    .of_task = "rank1", .penalty = rank1_penalty, .end_task = rank1_end_task};
