/* GroupNorm with an optional SiLU behind it, channels-last, one image a thread (Wu and He 2018).
 *
 * Saved for backward: mean and 1/sqrt(var + eps) of each image and group. Sums over pixels run per channel, so that
 * they vectorise and do not depend on the thread count; parameter gradients are summed over the images in order. */
#include <math.h>
#include <string.h>

#include "nn/net.h"
#include "nn/simd.h"

// Sum over pixels of each channel: (pixels, C) -> (C).
GD_SIMD static void channel_sums(const float *restrict x, int pixels, int channels, float *restrict sums) {
  memset(sums, 0, (size_t)channels * sizeof(float));
  for (int p = 0; p < pixels; p++)
    for (int c = 0; c < channels; c++) sums[c] += x[(int64_t)p * channels + c];
}

// Sum over pixels of each channel's squared distance from mean[c].
GD_SIMD static void channel_squares(const float *restrict x, int pixels, int channels, const float *restrict mean,
                                    float *restrict sums) {
  memset(sums, 0, (size_t)channels * sizeof(float));
  for (int p = 0; p < pixels; p++) {
    for (int c = 0; c < channels; c++) {
      float d = x[(int64_t)p * channels + c] - mean[c];
      sums[c] += d * d;
    }
  }
}

GD_SIMD static void scale_shift(const float *restrict x, int pixels, int channels, const float *restrict scale,
                                const float *restrict shift, float *restrict y) {
  for (int p = 0; p < pixels; p++)
    for (int c = 0; c < channels; c++)
      y[(int64_t)p * channels + c] = x[(int64_t)p * channels + c] * scale[c] + shift[c];
}

GD_SIMD static void scale_shift_silu(const float *restrict x, int pixels, int channels, const float *restrict scale,
                                     const float *restrict shift, float *restrict y) {
  for (int p = 0; p < pixels; p++) {
    for (int c = 0; c < channels; c++) {
      float z = x[(int64_t)p * channels + c] * scale[c] + shift[c];
      y[(int64_t)p * channels + c] = z * gd_sigmoid(z);
    }
  }
}

// dz = dy silu'(z), and the channel sums of dz and dz x.
GD_SIMD static void silu_gradient(const float *restrict x, const float *restrict dy, int pixels, int channels,
                                  const float *restrict scale, const float *restrict shift, float *restrict dz,
                                  float *restrict sum_dz, float *restrict sum_dzx) {
  for (int p = 0; p < pixels; p++) {
    for (int c = 0; c < channels; c++) {
      int64_t i = (int64_t)p * channels + c;
      float z = x[i] * scale[c] + shift[c], s = gd_sigmoid(z);
      dz[i] = dy[i] * s * (1.0f + z * (1.0f - s));
      sum_dz[c] += dz[i];
      sum_dzx[c] += dz[i] * x[i];
    }
  }
}

GD_SIMD static void plain_gradient(const float *restrict x, const float *restrict dy, int pixels, int channels,
                                   float *restrict dz, float *restrict sum_dz, float *restrict sum_dzx) {
  for (int p = 0; p < pixels; p++) {
    for (int c = 0; c < channels; c++) {
      int64_t i = (int64_t)p * channels + c;
      dz[i] = dy[i];
      sum_dz[c] += dz[i];
      sum_dzx[c] += dz[i] * x[i];
    }
  }
}

// dx = a dz + b x + d, in place over dz.
GD_SIMD static void combine(float *restrict dz, const float *restrict x, int pixels, int channels,
                            const float *restrict a, const float *restrict b, const float *restrict d) {
  for (int p = 0; p < pixels; p++) {
    for (int c = 0; c < channels; c++) {
      int64_t i = (int64_t)p * channels + c;
      dz[i] = a[c] * dz[i] + b[c] * x[i] + d[c];
    }
  }
}

// Scratch of one image: rows of C floats.
enum { SUMS, MEANS, SCALE, SHIFT, COEFF_A, COEFF_B, COEFF_D, N_ROWS };

static gd_err prepare(gd_op *op) {
  size_t channels = (size_t)op->in[0].c, batch = (size_t)op->batch;
  op->saved_nbytes = 2 * batch * (size_t)op->node->attributes.groups * sizeof(float);
  op->scratch_nbytes = (N_ROWS + 2) * batch * channels * sizeof(float);  // and two rows for weight and bias gradients
  return GD_OK;
}

static float *image_rows(const gd_op *op, int n) {
  return (float *)op->scratch + (size_t)n * N_ROWS * (size_t)op->in[0].c;
}

// Mean and 1/sd of each group of one image.
static void image_statistics(const gd_op *op, const float *x, float *mean, float *rstd, float *rows) {
  int channels = op->in[0].c, groups = op->node->attributes.groups, width = channels / groups;
  int pixels = op->in[0].h * op->in[0].w;
  float *sums = rows + SUMS * channels, *means = rows + MEANS * channels;
  double count = (double)pixels * width;
  channel_sums(x, pixels, channels, sums);
  for (int g = 0; g < groups; g++) {
    double total = 0;
    for (int c = g * width; c < (g + 1) * width; c++) total += sums[c];
    mean[g] = (float)(total / count);
    for (int c = g * width; c < (g + 1) * width; c++) means[c] = mean[g];
  }
  channel_squares(x, pixels, channels, means, sums);
  for (int g = 0; g < groups; g++) {
    double total = 0;
    for (int c = g * width; c < (g + 1) * width; c++) total += sums[c];
    rstd[g] = (float)(1.0 / sqrt(total / count + op->node->attributes.eps));
  }
}

// y = x scale + shift, before the activation.
static void image_affine(const gd_op *op, const float *mean, const float *rstd, float *rows) {
  int channels = op->in[0].c, width = channels / op->node->attributes.groups;
  const float *weight = gd_op_param(op, 0), *bias = gd_op_param(op, 1);
  for (int c = 0; c < channels; c++) {
    rows[SCALE * channels + c] = weight[c] * rstd[c / width];
    rows[SHIFT * channels + c] = bias[c] - mean[c / width] * rows[SCALE * channels + c];
  }
}

static void forward(gd_op *op) {
  int channels = op->in[0].c, pixels = op->in[0].h * op->in[0].w, groups = op->node->attributes.groups;
#pragma omp parallel for
  for (int n = 0; n < op->batch; n++) {
    float *rows = image_rows(op, n), *mean = (float *)op->saved + (size_t)n * 2 * (size_t)groups;
    const float *x = op->x[0] + (int64_t)n * pixels * channels;
    float *y = op->y + (int64_t)n * pixels * channels;
    image_statistics(op, x, mean, mean + groups, rows);
    image_affine(op, mean, mean + groups, rows);
    if (op->node->attributes.activation == GD_SILU)
      scale_shift_silu(x, pixels, channels, rows + SCALE * channels, rows + SHIFT * channels, y);
    else
      scale_shift(x, pixels, channels, rows + SCALE * channels, rows + SHIFT * channels, y);
  }
}

// From the channel sums of dz and dz x: this image's parameter gradients, and dx = a dz + b x + d.
static void image_coefficients(const gd_op *op, const float *mean, const float *rstd, const float *sum_dz,
                               const float *sum_dzx, float *rows, float *d_weight, float *d_bias) {
  int channels = op->in[0].c, groups = op->node->attributes.groups, width = channels / groups;
  double count = (double)op->in[0].h * op->in[0].w * width;
  const float *weight = gd_op_param(op, 0);
  for (int g = 0; g < groups; g++) {
    double sum_a = 0, sum_b = 0;  // of weight dz, and of weight dz xhat
    for (int c = g * width; c < (g + 1) * width; c++) {
      d_bias[c] = sum_dz[c];
      d_weight[c] = (sum_dzx[c] - mean[g] * sum_dz[c]) * rstd[g];
      sum_a += (double)weight[c] * d_bias[c];
      sum_b += (double)weight[c] * d_weight[c];
    }
    float mean_a = (float)(sum_a / count), mean_b = (float)(sum_b / count);
    for (int c = g * width; c < (g + 1) * width; c++) {  // dx = rstd (weight dz - mean_a - xhat mean_b)
      rows[COEFF_A * channels + c] = rstd[g] * weight[c];
      rows[COEFF_B * channels + c] = -rstd[g] * rstd[g] * mean_b;
      rows[COEFF_D * channels + c] = -rstd[g] * mean_a + rstd[g] * rstd[g] * mean_b * mean[g];
    }
  }
}

static void backward_image(const gd_op *op, int n, float *d_weight, float *d_bias) {
  int channels = op->in[0].c, pixels = op->in[0].h * op->in[0].w, groups = op->node->attributes.groups;
  int64_t offset = (int64_t)n * pixels * channels;
  const float *mean = (const float *)op->saved + (size_t)n * 2 * (size_t)groups, *x = op->x[0] + offset;
  float *rows = image_rows(op, n), *dz = op->dx[0] + offset;
  float *sum_dz = rows + SUMS * channels, *sum_dzx = rows + MEANS * channels;
  memset(sum_dz, 0, (size_t)channels * sizeof(float));
  memset(sum_dzx, 0, (size_t)channels * sizeof(float));
  image_affine(op, mean, mean + groups, rows);
  if (op->node->attributes.activation == GD_SILU)
    silu_gradient(x, op->dy + offset, pixels, channels, rows + SCALE * channels, rows + SHIFT * channels, dz, sum_dz,
                  sum_dzx);
  else
    plain_gradient(x, op->dy + offset, pixels, channels, dz, sum_dz, sum_dzx);
  image_coefficients(op, mean, mean + groups, sum_dz, sum_dzx, rows, d_weight, d_bias);
  combine(dz, x, pixels, channels, rows + COEFF_A * channels, rows + COEFF_B * channels, rows + COEFF_D * channels);
}

static void backward(gd_op *op, float *grads) {
  GD_REQUIRE(op->dx[0]);  // its place holds dz meanwhile; a norm straight behind an input does not occur
  int channels = op->in[0].c;
  float *d_weights = image_rows(op, op->batch), *d_biases = d_weights + (size_t)op->batch * (size_t)channels;
#pragma omp parallel for
  for (int n = 0; n < op->batch; n++)
    backward_image(op, n, d_weights + (size_t)n * (size_t)channels, d_biases + (size_t)n * (size_t)channels);
  channel_sums(d_weights, op->batch, channels, gd_op_grad(op, grads, 0));
  channel_sums(d_biases, op->batch, channels, gd_op_grad(op, grads, 1));
}

const gd_op_class gd_op_group_norm = {
    .kind = "group_norm", .backward_reads_inputs = 1, .prepare = prepare, .forward = forward, .backward = backward};
