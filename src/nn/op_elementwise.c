/* The small ops without weights: activation, addition, multiplication, concatenation, upsampling, time embedding. */
#include <math.h>
#include <string.h>

#include "nn/net.h"
#include "nn/simd.h"

static gd_err prepare_nothing(gd_op *op) {
  (void)op;
  return GD_OK;
}

static int64_t batch_count(const gd_op *op, gd_shape shape) {
  return op->batch * gd_shape_count(shape);
}

// Work is cut into pieces of this many floats, one call of a GD_SIMD function each.
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
#pragma omp parallel for
  for (int64_t i = 0; i < n; i += PIECE)
    (silu ? silu_piece : relu_piece)(op->x[0] + i, n - i < PIECE ? n - i : PIECE, op->y + i);
}

static void activation_backward(gd_op *op, float *grads) {
  (void)grads;
  int64_t n = batch_count(op, op->out);
  bool silu = op->node->attributes.activation == GD_SILU;
#pragma omp parallel for
  for (int64_t i = 0; i < n; i += PIECE)
    (silu ? silu_gradient_piece : relu_gradient_piece)(op->x[0] + i, op->dy + i, n - i < PIECE ? n - i : PIECE,
                                                       op->dx[0] + i);
}

const gd_op_class gd_op_activation = {.kind = "activation",
                                      .backward_reads_inputs = 1,
                                      .prepare = prepare_nothing,
                                      .forward = activation_forward,
                                      .backward = activation_backward};

/* ---- add: a + b ---- */

static void add_forward(gd_op *op) {
  int64_t n = batch_count(op, op->out);
  const float *a = op->x[0], *b = op->x[1];
  float *y = op->y;
#pragma omp parallel for simd
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void copy_floats(const float *from, int64_t n, float *to) {
#pragma omp parallel for simd
  for (int64_t i = 0; i < n; i++) to[i] = from[i];
}

static void add_backward(gd_op *op, float *grads) {
  (void)grads;
  for (int k = 0; k < 2; k++)
    if (op->dx[k]) copy_floats(op->dy, batch_count(op, op->out), op->dx[k]);
}

const gd_op_class gd_op_add = {
    .kind = "add", .prepare = prepare_nothing, .forward = add_forward, .backward = add_backward};

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

const gd_op_class gd_op_multiply = {.kind = "multiply",
                                    .backward_reads_inputs = 3,
                                    .prepare = prepare_nothing,
                                    .forward = multiply_forward,
                                    .backward = multiply_backward};

/* ---- add_vector: (H,W,C) + (1,1,C), per image ---- */

static void add_vector_forward(gd_op *op) {
  int channels = op->out.c, pixels = op->out.h * op->out.w;
#pragma omp parallel for
  for (int n = 0; n < op->batch; n++) {
    const float *x = op->x[0] + (int64_t)n * pixels * channels, *v = op->x[1] + (int64_t)n * channels;
    float *y = op->y + (int64_t)n * pixels * channels;
    for (int p = 0; p < pixels; p++)
      for (int c = 0; c < channels; c++) y[(int64_t)p * channels + c] = x[(int64_t)p * channels + c] + v[c];
  }
}

static void add_vector_backward(gd_op *op, float *grads) {
  (void)grads;
  int channels = op->out.c, pixels = op->out.h * op->out.w;
  if (op->dx[0]) copy_floats(op->dy, batch_count(op, op->out), op->dx[0]);
  if (!op->dx[1]) return;
#pragma omp parallel for
  for (int n = 0; n < op->batch; n++) {
    const float *dy = op->dy + (int64_t)n * pixels * channels;
    float *dv = op->dx[1] + (int64_t)n * channels;
    memset(dv, 0, (size_t)channels * sizeof(float));
    for (int p = 0; p < pixels; p++)
      for (int c = 0; c < channels; c++) dv[c] += dy[(int64_t)p * channels + c];
  }
}

const gd_op_class gd_op_add_vector = {
    .kind = "add_vector", .prepare = prepare_nothing, .forward = add_vector_forward, .backward = add_vector_backward};

/* ---- concat along channels ---- */

static void concat_forward(gd_op *op) {
  int ca = op->in[0].c, cb = op->in[1].c;
  int64_t pixels = (int64_t)op->batch * op->out.h * op->out.w;
#pragma omp parallel for
  for (int64_t p = 0; p < pixels; p++) {
    memcpy(op->y + p * (ca + cb), op->x[0] + p * ca, (size_t)ca * sizeof(float));
    memcpy(op->y + p * (ca + cb) + ca, op->x[1] + p * cb, (size_t)cb * sizeof(float));
  }
}

static void concat_backward(gd_op *op, float *grads) {
  (void)grads;
  int ca = op->in[0].c, cb = op->in[1].c;
  int64_t pixels = (int64_t)op->batch * op->out.h * op->out.w;
#pragma omp parallel for
  for (int64_t p = 0; p < pixels; p++) {
    if (op->dx[0]) memcpy(op->dx[0] + p * ca, op->dy + p * (ca + cb), (size_t)ca * sizeof(float));
    if (op->dx[1]) memcpy(op->dx[1] + p * cb, op->dy + p * (ca + cb) + ca, (size_t)cb * sizeof(float));
  }
}

const gd_op_class gd_op_concat = {
    .kind = "concat", .prepare = prepare_nothing, .forward = concat_forward, .backward = concat_backward};

/* ---- upsample: nearest, x2 ---- */

static void upsample_forward(gd_op *op) {
  int width = op->in[0].w, channels = op->in[0].c;
  int64_t rows = (int64_t)op->batch * op->in[0].h;
#pragma omp parallel for
  for (int64_t r = 0; r < rows; r++) {
    float *first = op->y + 2 * r * 2 * width * channels;
    for (int w = 0; w < width; w++) {
      const float *from = op->x[0] + (r * width + w) * channels;
      memcpy(first + (int64_t)2 * w * channels, from, (size_t)channels * sizeof(float));
      memcpy(first + (int64_t)(2 * w + 1) * channels, from, (size_t)channels * sizeof(float));
    }
    memcpy(first + (int64_t)2 * width * channels, first, (size_t)2 * (size_t)width * (size_t)channels * sizeof(float));
  }
}

static void upsample_backward(gd_op *op, float *grads) {
  (void)grads;
  int width = op->in[0].w, channels = op->in[0].c;
  int64_t rows = (int64_t)op->batch * op->in[0].h;
#pragma omp parallel for
  for (int64_t r = 0; r < rows; r++) {
    const float *first = op->dy + 2 * r * 2 * width * channels, *second = first + (int64_t)2 * width * channels;
    for (int w = 0; w < width; w++) {
      float *dx = op->dx[0] + (r * width + w) * channels;
      const float *a = first + (int64_t)2 * w * channels, *b = second + (int64_t)2 * w * channels;
      for (int c = 0; c < channels; c++) dx[c] = (a[c] + a[channels + c]) + (b[c] + b[channels + c]);
    }
  }
}

const gd_op_class gd_op_upsample = {
    .kind = "upsample", .prepare = prepare_nothing, .forward = upsample_forward, .backward = upsample_backward};

/* ---- time embedding: cos and sin of t / 10000^(i / half) ---- */

static void time_embedding_forward(gd_op *op) {
  int half = op->out.c / 2;
  for (int n = 0; n < op->batch; n++) {
    for (int i = 0; i < half; i++) {
      float angle = op->x[0][n] * expf(-9.210340371976184f * (float)i / (float)half);  // ln 10000
      op->y[(int64_t)n * 2 * half + i] = cosf(angle);
      op->y[(int64_t)n * 2 * half + half + i] = sinf(angle);
    }
  }
}

static void time_embedding_backward(gd_op *op, float *grads) {
  (void)op, (void)grads;  // timesteps have no gradient
}

const gd_op_class gd_op_time_embedding = {.kind = "time_embedding",
                                          .prepare = prepare_nothing,
                                          .forward = time_embedding_forward,
                                          .backward = time_embedding_backward};
