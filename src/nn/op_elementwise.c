/* The small ops without weights: activation, addition, multiplication, concatenation, upsampling, time embedding. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "nn/bfloat16.h"
#include "nn/net.h"
#include "nn/simd.h"

static int64_t batch_count(const gd_op *op, gd_shape shape) {
  return op->batch * gd_shape_count(shape);
}

// Floats per call of a GD_SIMD function.
enum { PIECE = 4096 };

/* ---- activation: silu(x) = x sigmoid(x), relu(x) = max(x, 0) ---- */

GD_SIMD static void silu_piece(const float *restrict x, int64_t n, float *restrict y) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] * gd_sigmoid(x[i]);
}

GD_SIMD static void silu_gradient_piece(const float *restrict x, const float *restrict dy, int64_t n,
                                        float *restrict dx) {
  for (int64_t i = 0; i < n; i++) {
    float s = gd_sigmoid(x[i]);
    dx[i] = dy[i] * s * (1.0f + x[i] * (1.0f - s));
  }
}

GD_SIMD static void relu_piece(const float *restrict x, int64_t n, float *restrict y) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0;
}

GD_SIMD static void relu_gradient_piece(const float *restrict x, const float *restrict dy, int64_t n,
                                        float *restrict dx) {
  for (int64_t i = 0; i < n; i++) dx[i] = x[i] > 0 ? dy[i] : 0;
}

static void activation_forward(gd_op *op) {
  int64_t n = batch_count(op, op->out);
  bool silu = op->node->attributes.activation == GD_SILU;
  const float *x = op->x[0];
  float *y = op->y;
#pragma omp parallel for
  for (int64_t i = 0; i < n; i += PIECE) (silu ? silu_piece : relu_piece)(x + i, n - i < PIECE ? n - i : PIECE, y + i);
}

static void activation_backward(gd_op *op, float *grads) {
  (void)grads;
  int64_t n = batch_count(op, op->out);
  bool silu = op->node->attributes.activation == GD_SILU;
  const float *x = op->x[0], *dy = op->dy;
  float *dx = op->dx[0];
#pragma omp parallel for
  for (int64_t i = 0; i < n; i += PIECE)
    (silu ? silu_gradient_piece : relu_gradient_piece)(x + i, dy + i, n - i < PIECE ? n - i : PIECE, dx + i);
}

const gd_op_class gd_op_activation = {
    .kind = "activation", .backward_reads_inputs = 1, .forward = activation_forward, .backward = activation_backward};

/* ---- add: a + b ---- */

static void add_forward(gd_op *op) {
  int64_t n = batch_count(op, op->out);
  const float *a = op->x[0], *b = op->x[1];
  float *y = op->y;
#pragma omp parallel for simd
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void add_backward(gd_op *op, float *grads) {
  (void)op, (void)grads;  // both gradients are dy
}

const gd_op_class gd_op_add = {
    .kind = "add", .passes_gradient = 3, .overwrites_inputs = 3, .forward = add_forward, .backward = add_backward};

/* ---- multiply: a * b ---- */

static void multiply_floats(const float *a, const float *b, int64_t n, float *y) {
#pragma omp parallel for simd
  for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void multiply_forward(gd_op *op) {
  multiply_floats(op->x[0], op->x[1], batch_count(op, op->out), op->y);
}

static void multiply_backward(gd_op *op, float *grads) {
  (void)grads;
  for (int k = 0; k < 2; k++)
    if (op->dx[k]) multiply_floats(op->dy, op->x[1 - k], batch_count(op, op->out), op->dx[k]);
}

const gd_op_class gd_op_multiply = {
    .kind = "multiply", .backward_reads_inputs = 3, .forward = multiply_forward, .backward = multiply_backward};

/* ---- concat along channels ---- */

static void concat_forward(gd_op *op) {
  int ca = op->in[0].c, cb = op->in[1].c;
  int64_t pixels = (int64_t)op->batch * op->out.h * op->out.w;
  gd_precision type = op->y_type;
  size_t nbytes_a = (size_t)ca * gd_element_nbytes(type), nbytes_b = (size_t)cb * gd_element_nbytes(type);
#pragma omp parallel for
  for (int64_t p = 0; p < pixels; p++) {
    memcpy(gd_element(type, op->y, p * (ca + cb)), gd_element(type, op->x[0], p * ca), nbytes_a);
    memcpy(gd_element(type, op->y, p * (ca + cb) + ca), gd_element(type, op->x[1], p * cb), nbytes_b);
  }
}

static void concat_backward(gd_op *op, float *grads) {
  (void)grads;
  int ca = op->in[0].c, cb = op->in[1].c;
  int64_t pixels = (int64_t)op->batch * op->out.h * op->out.w;
  gd_precision type = op->y_type;
  size_t nbytes_a = (size_t)ca * gd_element_nbytes(type), nbytes_b = (size_t)cb * gd_element_nbytes(type);
#pragma omp parallel for
  for (int64_t p = 0; p < pixels; p++) {
    if (op->dx[0]) memcpy(gd_element(type, op->dx[0], p * ca), gd_element(type, op->dy, p * (ca + cb)), nbytes_a);
    if (op->dx[1]) memcpy(gd_element(type, op->dx[1], p * cb), gd_element(type, op->dy, p * (ca + cb) + ca), nbytes_b);
  }
}

const gd_op_class gd_op_concat = {
    .kind = "concat", .bfloat16 = true, .forward = concat_forward, .backward = concat_backward};

/* ---- upsample: nearest, x2 ---- */

static gd_err upsample_prepare(gd_op *op) {
  op->scratch_nbytes = (size_t)omp_get_max_threads() * 5 * (size_t)op->in[0].w * (size_t)op->in[0].c * sizeof(float);
  return GD_OK;
}

static void upsample_forward(gd_op *op) {
  int width = op->in[0].w, channels = op->in[0].c;
  int64_t rows = (int64_t)op->batch * op->in[0].h;
  gd_precision type = op->y_type;
  size_t pixel_nbytes = (size_t)channels * gd_element_nbytes(type);
#pragma omp parallel for
  for (int64_t r = 0; r < rows; r++) {
    char *first = gd_element(type, op->y, 2 * r * 2 * width * channels);
    for (int w = 0; w < width; w++) {
      const void *from = gd_element(type, op->x[0], (r * width + w) * channels);
      memcpy(first + (size_t)2 * (size_t)w * pixel_nbytes, from, pixel_nbytes);
      memcpy(first + (size_t)(2 * w + 1) * pixel_nbytes, from, pixel_nbytes);
    }
    memcpy(first + (size_t)2 * (size_t)width * pixel_nbytes, first, (size_t)2 * (size_t)width * pixel_nbytes);
  }
}

// One row of dx from its two rows of dy: the sums of 2 x 2 pixels.
static void sum_2x2(const float *restrict first, const float *restrict second, int width, int channels,
                    float *restrict dx) {
  for (int w = 0; w < width; w++) {
    const float *a = first + (int64_t)2 * w * channels, *b = second + (int64_t)2 * w * channels;
    for (int c = 0; c < channels; c++)
      dx[(int64_t)w * channels + c] = (a[c] + a[channels + c]) + (b[c] + b[channels + c]);
  }
}

static void upsample_backward(gd_op *op, float *grads) {
  (void)grads;
  int width = op->in[0].w, channels = op->in[0].c;
  int64_t rows = (int64_t)op->batch * op->in[0].h, n = (int64_t)width * channels;
  gd_precision type = op->dy_type;
#pragma omp parallel for
  for (int64_t r = 0; r < rows; r++) {
    float *buffer = (float *)op->scratch + omp_get_thread_num() * 5 * n;  // two rows of dy, one of dx
    const float *dy = gd_floats_read(type, op->dy, r * 4 * n, 4 * n, buffer);
    float *dx = gd_floats_begin(type, op->dx[0], r * n, buffer + 4 * n);
    sum_2x2(dy, dy + 2 * n, width, channels, dx);
    gd_floats_end(type, op->dx[0], r * n, n, dx);
  }
}

const gd_op_class gd_op_upsample = {.kind = "upsample",
                                    .bfloat16 = true,
                                    .prepare = upsample_prepare,
                                    .forward = upsample_forward,
                                    .backward = upsample_backward};

/* ---- time embedding: cos and sin of t / 10000^(i / half) ---- */

static void time_embedding_forward(gd_op *op) {
  int half = op->out.c / 2;
  const float *t = op->x[0];
  float *y = op->y;
  for (int n = 0; n < op->batch; n++) {
    for (int i = 0; i < half; i++) {
      float angle = t[n] * expf(-9.210340371976184f * (float)i / (float)half);  // ln 10000
      y[(int64_t)n * 2 * half + i] = cosf(angle);
      y[(int64_t)n * 2 * half + half + i] = sinf(angle);
    }
  }
}

static void time_embedding_backward(gd_op *op, float *grads) {
  (void)op, (void)grads;  // timesteps have no gradient
}

const gd_op_class gd_op_time_embedding = {
    .kind = "time_embedding", .forward = time_embedding_forward, .backward = time_embedding_backward};
