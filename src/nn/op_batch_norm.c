/* Batch normalisation, channels-last: statistics of the plan's batch in training, running statistics in inference.
 *
 * Sums are over fixed blocks of rows (one row per pixel) in double precision. So results do not depend on the thread
 * count, and deep networks with small batches do not lose accuracy as they do with oneDNN's float sums. The batch's
 * mean and unbiased variance are returned as the "gradients" of running_mean and running_var, so that the reduction
 * over slots and ranks makes them independent of the rank count. */
#include <math.h>
#include <string.h>

#include "nn/net.h"
#include "nn/simd.h"

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };  // the op's parameters

enum { BLOCK = 128 };  // rows

static int64_t n_rows(const gd_op *op) {
  return (int64_t)op->batch * op->in[0].h * op->in[0].w;
}

static int64_t n_blocks(const gd_op *op) {
  return (n_rows(op) + BLOCK - 1) / BLOCK;
}

static int block_rows(const gd_op *op, int64_t block) {
  int64_t left = n_rows(op) - block * BLOCK;
  return left < BLOCK ? (int)left : BLOCK;
}

// Sums over rows of each channel of a and of a b: (rows, C) -> (2, C).
GD_SIMD static void sum_block(const float *a, const float *b, int rows, int channels, double *restrict sums) {
  memset(sums, 0, 2 * (size_t)channels * sizeof(double));
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < channels; c++) {
      double value = a[(int64_t)r * channels + c];
      sums[c] += value;
      sums[channels + c] += value * b[(int64_t)r * channels + c];
    }
  }
}

// The same over all rows; the result is in scratch.
static const double *sum_all(const gd_op *op, const float *a, const float *b) {
  int channels = op->in[0].c;
  double *sums = op->scratch;
#pragma omp parallel for
  for (int64_t i = 0; i < n_blocks(op); i++)
    sum_block(a + i * BLOCK * channels, b + i * BLOCK * channels, block_rows(op, i), channels, sums + i * 2 * channels);
  for (int64_t i = 1; i < n_blocks(op); i++)
    for (int c = 0; c < 2 * channels; c++) sums[c] += sums[i * 2 * channels + c];
  return sums;
}

// Coefficients of each channel, (C) each, after the sums in scratch.
typedef struct gd_coefficients {
  float *scale, *shift, *slope;
} gd_coefficients;

static gd_coefficients coefficients(const gd_op *op) {
  float *first = (float *)((double *)op->scratch + n_blocks(op) * 2 * op->in[0].c);
  return (gd_coefficients){first, first + op->in[0].c, first + (int64_t)2 * op->in[0].c};
}

// y = (x - mean) scale + shift
GD_SIMD static void normalise(const float *restrict x, int rows, int channels, const float *restrict mean,
                              const float *restrict scale, const float *restrict shift, float *restrict y) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < channels; c++)
      y[(int64_t)r * channels + c] = (x[(int64_t)r * channels + c] - mean[c]) * scale[c] + shift[c];
}

// dx = (dy - shift) scale - (x - mean) slope
GD_SIMD static void input_gradient(const float *restrict x, const float *restrict dy, int rows, int channels,
                                   const float *restrict mean, gd_coefficients k, float *restrict dx) {
  const float *restrict scale = k.scale, *restrict shift = k.shift, *restrict slope = k.slope;
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < channels; c++) {
      int64_t i = (int64_t)r * channels + c;
      dx[i] = (dy[i] - shift[c]) * scale[c] - (x[i] - mean[c]) * slope[c];
    }
  }
}

static gd_err batch_norm_prepare(gd_op *op) {
  size_t channels = (size_t)op->in[0].c;
  op->saved_nbytes = 2 * channels * sizeof(float);  // mean, variance
  op->scratch_nbytes = (size_t)n_blocks(op) * 2 * channels * sizeof(double) + 3 * channels * sizeof(float);
  return GD_OK;
}

static void batch_norm_forward(gd_op *op) {
  int channels = op->in[0].c;
  const float *x = op->x[0];
  float *y = op->y, *mean = op->saved, *variance = mean + channels;
  double count = (double)n_rows(op);
  if (op->training) {
    const double *sums = sum_all(op, x, x);
    for (int c = 0; c < channels; c++) {
      double m = sums[c] / count;
      mean[c] = (float)m;
      variance[c] = (float)fmax(sums[channels + c] / count - m * m, 0);
    }
  } else {
    memcpy(mean, gd_op_param(op, RUNNING_MEAN), (size_t)channels * sizeof(float));
    memcpy(variance, gd_op_param(op, RUNNING_VAR), (size_t)channels * sizeof(float));
  }
  gd_coefficients k = coefficients(op);
  for (int c = 0; c < channels; c++)
    k.scale[c] = gd_op_param(op, WEIGHT)[c] / sqrtf(variance[c] + op->node->attributes.eps);
#pragma omp parallel for
  for (int64_t i = 0; i < n_blocks(op); i++)
    normalise(x + i * BLOCK * channels, block_rows(op, i), channels, mean, k.scale, gd_op_param(op, BIAS),
              y + i * BLOCK * channels);
}

// dbias = sum dy, dweight = sum dy xhat, dx = weight / sd (dy - dbias / n - xhat dweight / n); xhat = (x - mean) / sd.
static void batch_norm_backward(gd_op *op, float *grads) {
  int channels = op->in[0].c;
  const float *mean = op->saved, *variance = mean + channels, *weight = gd_op_param(op, WEIGHT);
  const float *x = op->x[0], *dy = op->dy;
  float *dweight = gd_op_grad(op, grads, WEIGHT), *dbias = gd_op_grad(op, grads, BIAS);
  float *mean_out = gd_op_grad(op, grads, RUNNING_MEAN), *variance_out = gd_op_grad(op, grads, RUNNING_VAR);
  double count = (double)n_rows(op);
  const double *sums = sum_all(op, dy, x);
  gd_coefficients k = coefficients(op);
  for (int c = 0; c < channels; c++) {
    double rstd = 1.0 / sqrt((double)variance[c] + op->node->attributes.eps);
    double dw = (sums[channels + c] - mean[c] * sums[c]) * rstd;
    dweight[c] = (float)dw;
    dbias[c] = (float)sums[c];
    k.scale[c] = (float)(weight[c] * rstd);
    k.shift[c] = (float)(sums[c] / count);
    k.slope[c] = (float)(weight[c] * rstd * rstd * dw / count);
    mean_out[c] = mean[c];
    variance_out[c] = count > 1 ? (float)(variance[c] * count / (count - 1)) : variance[c];
  }
  float *dx = op->dx[0];
  if (!dx) return;
#pragma omp parallel for
  for (int64_t i = 0; i < n_blocks(op); i++) {
    int64_t o = i * BLOCK * channels;
    input_gradient(x + o, dy + o, block_rows(op, i), channels, mean, k, dx + o);
  }
}

const gd_op_class gd_op_batch_norm = {.kind = "batch_norm",
                                      .backward_reads_inputs = 1,
                                      .prepare = batch_norm_prepare,
                                      .forward = batch_norm_forward,
                                      .backward = batch_norm_backward};
