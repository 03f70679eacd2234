/* Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), the global gradient norm and the exponential moving
 * average, on the flat arrays of all parameters. Sums are over blocks of fixed size, so that results do not depend on
 * the thread count. */
#include <math.h>

#include "nn/net.h"
#include "nn/simd.h"

enum { BLOCK = 8192 };

// Weight of the batch in a running statistic (PyTorch's momentum).
static const float statistic_momentum = 0.1f;

GD_SIMD static double square_sum(const float *restrict x, int64_t n) {
  float lanes[16] = {0};  // independent partial sums, so that the loop vectorises
  double total = 0;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; j++) lanes[j] += x[i + j] * x[i + j];
  for (; i < n; i++) total += (double)x[i] * x[i];
  for (int j = 0; j < 16; j++) total += lanes[j];
  return total;
}

double gd_gradient_norm(const gd_param_table *table, const float *grads) {
  double total = 0;
  for (int i = 0; i < table->n; i++) {
    const gd_param *param = &table->params[i];
    if (param->is_statistic) continue;
    int64_t n_blocks = (param->count + BLOCK - 1) / BLOCK;
    double *sums = GD_NEW_ARRAY(double, n_blocks);
#pragma omp parallel for
    for (int64_t b = 0; b < n_blocks; b++) {
      int64_t left = param->count - b * BLOCK;
      sums[b] = square_sum(grads + param->offset + b * BLOCK, left < BLOCK ? left : BLOCK);
    }
    for (int64_t b = 0; b < n_blocks; b++) total += sums[b];
    gd_free(sums);
  }
  return sqrt(total);
}

// Constants of one step, in float32 as PyTorch uses them.
typedef struct gd_adam_constants {
  float beta1, beta2, scale, step_size, inverse_sqrt_correction, eps, keep;
} gd_adam_constants;

GD_SIMD static void adam_block(gd_adam_constants k, int64_t n, const float *restrict grads, float *restrict params,
                               float *restrict m, float *restrict v) {
  for (int64_t i = 0; i < n; i++) {
    float g = grads[i] * k.scale;
    m[i] = k.beta1 * m[i] + (1.0f - k.beta1) * g;
    v[i] = k.beta2 * v[i] + (1.0f - k.beta2) * g * g;
    params[i] = k.keep * params[i] - k.step_size * m[i] / (sqrtf(v[i]) * k.inverse_sqrt_correction + k.eps);
  }
}

static void adam_param(gd_adam_constants k, int64_t count, const float *grads, float *params, float *m, float *v) {
#pragma omp parallel for
  for (int64_t i = 0; i < count; i += BLOCK)
    adam_block(k, count - i < BLOCK ? count - i : BLOCK, grads + i, params + i, m + i, v + i);
}

void gd_adam_step(const gd_adam *adam, const gd_param_table *table, int64_t step, float scale, int n_slots,
                  const float *grads, float *params, float *m, float *v) {
  double correction1 = 1.0 - pow(adam->beta1, (double)step), correction2 = 1.0 - pow(adam->beta2, (double)step);
  gd_adam_constants k = {.beta1 = adam->beta1,
                         .beta2 = adam->beta2,
                         .scale = scale,
                         .step_size = (float)(adam->learning_rate / correction1),
                         .inverse_sqrt_correction = (float)(1.0 / sqrt(correction2)),
                         .eps = adam->eps,
                         .keep = (float)(1.0 - (double)adam->learning_rate * adam->weight_decay)};
  for (int i = 0; i < table->n; i++) {
    const gd_param *param = &table->params[i];
    int64_t o = param->offset;
    if (!param->is_statistic) {
      adam_param(k, param->count, grads + o, params + o, m + o, v + o);
      continue;
    }
    for (int64_t j = o; j < o + param->count; j++)
      params[j] += statistic_momentum * (grads[j] / (float)n_slots - params[j]);
  }
}

void gd_ema_update(const gd_param_table *table, float decay, const float *params, float *ema) {
#pragma omp parallel for simd
  for (int64_t i = 0; i < table->total; i++) ema[i] = decay * ema[i] + (1.0f - decay) * params[i];
}
