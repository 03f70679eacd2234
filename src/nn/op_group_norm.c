/* GroupNorm (Wu and He 2018) and an optional SiLU, channels-last, one image per thread. Also GroupNorm of x + v with
 * one vector v per image, without an extra pass over x: v only enters the sums and the coefficients.
 *
 * Saved for backward: mean and 1/sqrt(var + eps) of each image and group, and with a shift each channel's sum of x.
 * Sums over pixels are per channel, so that they vectorise and do not depend on the thread count; parameter gradients
 * are summed over the images in order. bfloat16 images are widened once; all arithmetic is float32. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "nn/bfloat16.h"
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
GD_SIMD static void combine_gradient(float *restrict dz, const float *restrict x, int pixels, int channels,
                                     const float *restrict a, const float *restrict b, const float *restrict d) {
  for (int p = 0; p < pixels; p++) {
    for (int c = 0; c < channels; c++) {
      int64_t i = (int64_t)p * channels + c;
      dz[i] = a[c] * dz[i] + b[c] * x[i] + d[c];
    }
  }
}

// Scratch: per image N_ROWS rows of C floats; then per image two rows for weight and bias gradients; then, for
// bfloat16, per thread two widened images and a tile of pixels.
enum { SUMS, SUMS_X, MEANS, SCALE, SHIFT, COEFF_A, COEFF_B, COEFF_D, N_ROWS };
enum { TILE = 2048 };  // floats: a tile and its input stay in the first-level cache

static int n_pixels(const gd_op *op) {
  return op->in[0].h * op->in[0].w;
}

static bool is_shifted(const gd_op *op) {
  return op->node->n_inputs == 2;
}

// Pixels per tile: all of them where nothing has to be widened.
static int tile_pixels(const gd_op *op) {
  if (op->y_type == GD_FLOAT32) return n_pixels(op);
  return op->in[0].c < TILE ? TILE / op->in[0].c : 1;
}

// Floats per thread: two images and a tile.
static size_t widened_floats(const gd_op *op) {
  if (op->y_type == GD_FLOAT32) return 0;
  return (2 * (size_t)n_pixels(op) + (size_t)tile_pixels(op)) * (size_t)op->in[0].c;
}

static size_t saved_floats(const gd_op *op) {
  return 2 * (size_t)op->node->attributes.groups + (is_shifted(op) ? (size_t)op->in[0].c : 0);
}

static gd_err group_norm_prepare(gd_op *op) {
  size_t channels = (size_t)op->in[0].c, batch = (size_t)op->batch, threads = (size_t)omp_get_max_threads();
  op->saved_nbytes = batch * saved_floats(op) * sizeof(float);
  op->scratch_nbytes = ((N_ROWS + 2) * batch * channels + threads * widened_floats(op)) * sizeof(float);
  return GD_OK;
}

static float *image_rows(const gd_op *op, int n) {
  return (float *)op->scratch + (size_t)n * N_ROWS * (size_t)op->in[0].c;
}

// One image's part of tensors, scratch and saved memory.
typedef struct gd_image {
  int64_t first, n;             // its elements of the tensors
  float *rows;                  // (N_ROWS, C)
  float *mean, *rstd, *sums_x;  // saved: (groups), (groups), and (C) with a shift
  const float *shift;           // (C), NULL without one
  float *x, *dz, *tile;         // widened: (pixels, C), (pixels, C), (tile_pixels, C)
} gd_image;

static gd_image image_of(const gd_op *op, int n) {
  int channels = op->in[0].c, groups = op->node->attributes.groups;
  int64_t count = (int64_t)n_pixels(op) * channels;
  gd_image image = {.first = n * count, .n = count, .rows = image_rows(op, n)};
  GD_REQUIRE(op->saved && op->scratch);
  image.mean = (float *)op->saved + (size_t)n * saved_floats(op);
  image.rstd = image.mean + groups;
  if (is_shifted(op)) {
    image.sums_x = image.rstd + groups;
    image.shift = (const float *)op->x[1] + (int64_t)n * op->in[1].c + op->node->attributes.part_begin;
  }
  float *widened = (float *)op->scratch + (N_ROWS + 2) * (int64_t)op->batch * channels;
  image.x = widened + (size_t)omp_get_thread_num() * widened_floats(op);
  image.dz = image.x + count;
  image.tile = image.dz + count;
  return image;
}

static float channel_shift(const gd_image *image, int c) {
  return image->shift ? image->shift[c] : 0;
}

// Mean and 1/sqrt(var + eps) of each group of one image.
static void image_statistics(const gd_op *op, const gd_image *image, const float *x) {
  int channels = op->in[0].c, groups = op->node->attributes.groups, width = channels / groups, pixels = n_pixels(op);
  float *sums = image->sums_x ? image->sums_x : image->rows + SUMS * channels, *means = image->rows + MEANS * channels;
  double count = (double)pixels * width;
  channel_sums(x, pixels, channels, sums);
  for (int g = 0; g < groups; g++) {
    double total = 0;
    for (int c = g * width; c < (g + 1) * width; c++) total += sums[c] + (double)pixels * channel_shift(image, c);
    image->mean[g] = (float)(total / count);
    for (int c = g * width; c < (g + 1) * width; c++) means[c] = image->mean[g] - channel_shift(image, c);
  }
  sums = image->rows + SUMS * channels;
  channel_squares(x, pixels, channels, means, sums);
  for (int g = 0; g < groups; g++) {
    double total = 0;
    for (int c = g * width; c < (g + 1) * width; c++) total += sums[c];
    image->rstd[g] = (float)(1.0 / sqrt(total / count + op->node->attributes.eps));
  }
}

// y = x scale + shift, before the activation.
static void image_affine(const gd_op *op, const gd_image *image) {
  int channels = op->in[0].c, width = channels / op->node->attributes.groups;
  const float *weight = gd_op_param(op, 0), *bias = gd_op_param(op, 1);
  float *scale = image->rows + SCALE * channels, *shift = image->rows + SHIFT * channels;
  for (int c = 0; c < channels; c++) {
    scale[c] = weight[c] * image->rstd[c / width];
    shift[c] = bias[c] - (image->mean[c / width] - channel_shift(image, c)) * scale[c];
  }
}

static void group_norm_forward_image(const gd_op *op, int n) {
  int channels = op->in[0].c, pixels = n_pixels(op), step = tile_pixels(op);
  gd_image image = image_of(op, n);
  const float *x = gd_floats_read(op->x_type[0], op->x[0], image.first, image.n, image.x);
  const float *scale = image.rows + SCALE * channels, *shift = image.rows + SHIFT * channels;
  image_statistics(op, &image, x);
  image_affine(op, &image);
  for (int p = 0; p < pixels; p += step) {
    int length = pixels - p < step ? pixels - p : step;
    int64_t o = (int64_t)p * channels;
    float *y = gd_floats_begin(op->y_type, op->y, image.first + o, image.tile);
    if (op->node->attributes.activation == GD_SILU)
      scale_shift_silu(x + o, length, channels, scale, shift, y);
    else
      scale_shift(x + o, length, channels, scale, shift, y);
    gd_floats_end(op->y_type, op->y, image.first + o, (int64_t)length * channels, y);
  }
}

static void group_norm_forward(gd_op *op) {
#pragma omp parallel for
  for (int n = 0; n < op->batch; n++) group_norm_forward_image(op, n);
}

// From the channel sums of dz and dz x: this image's parameter gradients, and dx = a dz + b x + d.
static void image_coefficients(const gd_op *op, const gd_image *image, float *d_weight, float *d_bias) {
  int channels = op->in[0].c, groups = op->node->attributes.groups, width = channels / groups;
  double count = (double)n_pixels(op) * width;
  const float *weight = gd_op_param(op, 0), *sum_dz = image->rows + SUMS * channels;
  const float *sum_dzx = image->rows + SUMS_X * channels;
  float *a = image->rows + COEFF_A * channels, *b = image->rows + COEFF_B * channels;
  float *d = image->rows + COEFF_D * channels;
  for (int g = 0; g < groups; g++) {
    float mean = image->mean[g], rstd = image->rstd[g];
    double sum_a = 0, sum_b = 0;  // of weight dz, and of weight dz xhat
    for (int c = g * width; c < (g + 1) * width; c++) {
      d_bias[c] = sum_dz[c];
      d_weight[c] = (sum_dzx[c] - (mean - channel_shift(image, c)) * sum_dz[c]) * rstd;
      sum_a += (double)weight[c] * d_bias[c];
      sum_b += (double)weight[c] * d_weight[c];
    }
    float mean_a = (float)(sum_a / count), mean_b = (float)(sum_b / count);
    for (int c = g * width; c < (g + 1) * width; c++) {  // dx = rstd (weight dz - mean_a - xhat mean_b)
      a[c] = rstd * weight[c];
      b[c] = -rstd * rstd * mean_b;
      d[c] = -rstd * mean_a + rstd * rstd * mean_b * (mean - channel_shift(image, c));
    }
  }
}

// The shift's gradient is dx summed over the pixels.
static void shift_gradient(const gd_op *op, int n, const gd_image *image) {
  int channels = op->in[0].c;
  float *dv = (float *)op->dx[1] + (int64_t)n * op->in[1].c + op->node->attributes.part_begin;
  const float *sum_dz = image->rows + SUMS * channels, *a = image->rows + COEFF_A * channels;
  const float *b = image->rows + COEFF_B * channels, *d = image->rows + COEFF_D * channels;
  for (int c = 0; c < channels; c++) dv[c] = a[c] * sum_dz[c] + b[c] * image->sums_x[c] + d[c] * (float)n_pixels(op);
}

static void group_norm_backward_image(const gd_op *op, int n, float *d_weight, float *d_bias) {
  int channels = op->in[0].c, pixels = n_pixels(op), step = tile_pixels(op);
  gd_image image = image_of(op, n);
  const float *x = gd_floats_read(op->x_type[0], op->x[0], image.first, image.n, image.x);
  float *dz = gd_floats_begin(op->x_type[0], op->dx[0], image.first, image.dz);
  const float *scale = image.rows + SCALE * channels, *shift = image.rows + SHIFT * channels;
  float *sum_dz = image.rows + SUMS * channels, *sum_dzx = image.rows + SUMS_X * channels;
  memset(sum_dz, 0, (size_t)channels * sizeof(float));
  memset(sum_dzx, 0, (size_t)channels * sizeof(float));
  image_affine(op, &image);
  for (int p = 0; p < pixels; p += step) {
    int length = pixels - p < step ? pixels - p : step;
    int64_t o = (int64_t)p * channels;
    const float *dy = gd_floats_read(op->dy_type, op->dy, image.first + o, (int64_t)length * channels, image.tile);
    if (op->node->attributes.activation == GD_SILU)
      silu_gradient(x + o, dy, length, channels, scale, shift, dz + o, sum_dz, sum_dzx);
    else
      plain_gradient(x + o, dy, length, channels, dz + o, sum_dz, sum_dzx);
  }
  image_coefficients(op, &image, d_weight, d_bias);
  combine_gradient(dz, x, pixels, channels, image.rows + COEFF_A * channels, image.rows + COEFF_B * channels,
                   image.rows + COEFF_D * channels);
  gd_floats_end(op->x_type[0], op->dx[0], image.first, image.n, dz);
  if (is_shifted(op) && op->dx[1]) shift_gradient(op, n, &image);
}

static void group_norm_backward(gd_op *op, float *grads) {
  GD_REQUIRE(op->dx[0]);  // holds dz meanwhile; no network normalises an input directly
  int channels = op->in[0].c;
  float *d_weights = image_rows(op, op->batch), *d_biases = d_weights + (size_t)op->batch * (size_t)channels;
#pragma omp parallel for
  for (int n = 0; n < op->batch; n++)
    group_norm_backward_image(op, n, d_weights + (size_t)n * (size_t)channels, d_biases + (size_t)n * (size_t)channels);
  channel_sums(d_weights, op->batch, channels, gd_op_grad(op, grads, 0));
  channel_sums(d_biases, op->batch, channels, gd_op_grad(op, grads, 1));
}

const gd_op_class gd_op_group_norm = {.kind = "group_norm",
                                      .backward_reads_inputs = 3,
                                      .reads_part = 2,
                                      .bfloat16 = true,
                                      .prepare = group_norm_prepare,
                                      .forward = group_norm_forward,
                                      .backward = group_norm_backward};
