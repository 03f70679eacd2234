/* Multi-head attention over the pixels of an image: softmax(q k^T / sqrt(d)) v, one image per thread.
 *
 * Queries are processed in blocks, so that memory grows with the number of pixels, not with its square; backward
 * computes the probabilities again. Each head's queries are copied channels-first, so that the query is the innermost
 * index of all sums: maximum, sum and products are plain vector loops over queries. bfloat16 images are widened once;
 * all arithmetic is float32. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "nn/bfloat16.h"
#include "nn/net.h"
#include "nn/simd.h"

enum { MAX_BLOCK_QUERIES = 64 };

// One head's sizes and its work memory, which is the thread's part of the op's scratch.
typedef struct gd_head {
  int length, dim, stride;  // pixels, channels per head, channels per pixel
  int n_queries;            // R, per block: the row length of the arrays below
  float scale;
  float *qt, *yt, *dyt, *dqt;  // (dim, R)
  float *p, *dp;               // (length, R)
  float *flipped;              // (R, length)
  float *dkt, *dvt;            // (dim, length), summed over the blocks
  float *row;                  // (R)
} gd_head;

static int block_queries(const gd_op *op) {
  int length = op->in[0].h * op->in[0].w;
  return length < MAX_BLOCK_QUERIES ? length : MAX_BLOCK_QUERIES;
}

static int64_t head_floats(const gd_op *op) {
  int64_t length = (int64_t)op->in[0].h * op->in[0].w, dim = op->node->attributes.head_dim;
  int64_t n_queries = block_queries(op);
  return 4 * dim * n_queries + 3 * length * n_queries + 2 * dim * length + n_queries;
}

// One image of each tensor as floats: part of the tensor itself, or widened.
typedef struct gd_image {
  int64_t first, n;  // its elements of the tensors
  const float *q, *k, *v, *dy;
  float *y, *dq, *dk, *dv;
} gd_image;

enum { N_WIDENED = 7 };  // q, k, v, dy, dq, dk, dv; forward uses dy's place for y

// Floats of scratch per thread.
static int64_t thread_floats(const gd_op *op) {
  return head_floats(op) + (op->y_type == GD_BFLOAT16 ? N_WIDENED * gd_shape_count(op->in[0]) : 0);
}

static gd_err attention_prepare(gd_op *op) {
  op->scratch_nbytes = (size_t)omp_get_max_threads() * (size_t)thread_floats(op) * sizeof(float);
  return GD_OK;
}

static float *thread_scratch(const gd_op *op) {
  return (float *)op->scratch + omp_get_thread_num() * thread_floats(op);
}

static float *take_floats(float **memory, int64_t n) {
  float *taken = *memory;
  *memory += n;
  return taken;
}

static gd_head head_of_thread(const gd_op *op) {
  gd_head h = {.length = op->in[0].h * op->in[0].w,
               .dim = op->node->attributes.head_dim,
               .stride = op->in[0].c,
               .n_queries = block_queries(op)};
  h.scale = 1.0f / sqrtf((float)h.dim);
  float *memory = thread_scratch(op);
  int64_t queries = (int64_t)h.dim * h.n_queries, keys = (int64_t)h.dim * h.length;
  h.qt = take_floats(&memory, queries);
  h.yt = take_floats(&memory, queries);
  h.dyt = take_floats(&memory, queries);
  h.dqt = take_floats(&memory, queries);
  h.p = take_floats(&memory, (int64_t)h.length * h.n_queries);
  h.dp = take_floats(&memory, (int64_t)h.length * h.n_queries);
  h.flipped = take_floats(&memory, (int64_t)h.length * h.n_queries);
  h.dkt = take_floats(&memory, keys);
  h.dvt = take_floats(&memory, keys);
  h.row = take_floats(&memory, h.n_queries);
  return h;
}

static gd_image image_read(const gd_op *op, int n) {
  gd_image image = {.n = gd_shape_count(op->in[0])};
  image.first = n * image.n;
  float *widened = thread_scratch(op) + head_floats(op);
  image.q = gd_floats_read(op->x_type[0], op->x[0], image.first, image.n, widened);
  image.k = gd_floats_read(op->x_type[1], op->x[1], image.first, image.n, widened + image.n);
  image.v = gd_floats_read(op->x_type[2], op->x[2], image.first, image.n, widened + 2 * image.n);
  return image;
}

// xt (cols, rows) = factor x^T, where the rows of x (rows, cols) are x_stride floats apart; and the inverse.
static void transpose_in(const float *x, int64_t x_stride, int rows, int cols, float factor, float *xt) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++) xt[(int64_t)c * rows + r] = factor * x[r * x_stride + c];
}

static void transpose_out(const float *xt, int rows, int cols, float *x, int64_t x_stride) {
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++) x[r * x_stride + c] = xt[(int64_t)c * rows + r];
}

// s (length, R) = x t: row j of x has dim elements, t is (dim, R).
GD_SIMD static void rows_times(const gd_head *h, const float *restrict x, const float *restrict t, int n,
                               float *restrict s) {
  for (int j = 0; j < h->length; j++) {
    float *restrict row = s + (int64_t)j * n;
    for (int r = 0; r < n; r++) row[r] = 0;
    for (int d = 0; d < h->dim; d++) {
      float factor = x[(int64_t)j * h->stride + d];
      for (int r = 0; r < n; r++) row[r] += factor * t[d * n + r];
    }
  }
}

// t (dim, R) = x^T s: the sum over j of x's row j times s's row j.
GD_SIMD static void columns_times(const gd_head *h, const float *restrict x, const float *restrict s, int n,
                                  float *restrict t) {
  for (int i = 0; i < h->dim * n; i++) t[i] = 0;
  for (int j = 0; j < h->length; j++) {
    const float *restrict row = s + (int64_t)j * n;
    for (int d = 0; d < h->dim; d++) {
      float factor = x[(int64_t)j * h->stride + d];
      for (int r = 0; r < n; r++) t[d * n + r] += factor * row[r];
    }
  }
}

// Softmax of each column of p (length, R).
GD_SIMD static void softmax_columns(const gd_head *h, int n, float *restrict p, float *restrict row) {
  for (int r = 0; r < n; r++) row[r] = p[r];
  for (int j = 1; j < h->length; j++)
    for (int r = 0; r < n; r++) row[r] = p[(int64_t)j * n + r] > row[r] ? p[(int64_t)j * n + r] : row[r];
  for (int j = 0; j < h->length; j++)
    for (int r = 0; r < n; r++) p[(int64_t)j * n + r] = gd_exp(p[(int64_t)j * n + r] - row[r]);
  for (int r = 0; r < n; r++) row[r] = 0;
  for (int j = 0; j < h->length; j++)
    for (int r = 0; r < n; r++) row[r] += p[(int64_t)j * n + r];
  for (int r = 0; r < n; r++) row[r] = 1.0f / row[r];
  for (int j = 0; j < h->length; j++)
    for (int r = 0; r < n; r++) p[(int64_t)j * n + r] *= row[r];
}

// dp <- scale p (dp - sum_j p dp): the gradient by q k^T.
GD_SIMD static void softmax_gradient(const gd_head *h, int n, const float *restrict p, float *restrict dp,
                                     float *restrict row) {
  for (int r = 0; r < n; r++) row[r] = 0;
  for (int64_t j = 0; j < h->length; j++)
    for (int r = 0; r < n; r++) row[r] += p[j * n + r] * dp[j * n + r];
  for (int64_t j = 0; j < h->length; j++)
    for (int r = 0; r < n; r++) dp[j * n + r] = p[j * n + r] * (dp[j * n + r] - row[r]) * h->scale;
}

// sums (dim, length) += x^T s: x's row r has dim elements, s is (R, length).
GD_SIMD static void add_outer(const gd_head *h, const float *restrict x, const float *restrict s, int n,
                              float *restrict sums) {
  for (int r = 0; r < n; r++) {
    for (int d = 0; d < h->dim; d++) {
      float factor = x[(int64_t)r * h->stride + d];
      for (int j = 0; j < h->length; j++) sums[(int64_t)d * h->length + j] += factor * s[(int64_t)r * h->length + j];
    }
  }
}

// The attention weights p of n queries from pixel `first` on, for the head with the channels from c on.
static void attention_weights(const gd_head *h, const gd_image *image, int first, int n, int c) {
  transpose_in(image->q + (int64_t)first * h->stride + c, h->stride, n, h->dim, h->scale, h->qt);
  rows_times(h, image->k + c, h->qt, n, h->p);
  softmax_columns(h, n, h->p, h->row);
}

static void attention_forward_image(const gd_op *op, int i) {
  gd_head h = head_of_thread(op);
  gd_image image = image_read(op, i);
  image.y = gd_floats_begin(op->y_type, op->y, image.first, thread_scratch(op) + head_floats(op) + 3 * image.n);
  for (int c = 0; c < h.stride; c += h.dim) {
    for (int first = 0; first < h.length; first += h.n_queries) {
      int n = h.length - first < h.n_queries ? h.length - first : h.n_queries;
      attention_weights(&h, &image, first, n, c);
      columns_times(&h, image.v + c, h.p, n, h.yt);
      transpose_out(h.yt, n, h.dim, image.y + (int64_t)first * h.stride + c, h.stride);
    }
  }
  gd_floats_end(op->y_type, op->y, image.first, image.n, image.y);
}

static void attention_forward(gd_op *op) {
#pragma omp parallel for
  for (int n = 0; n < op->batch; n++) attention_forward_image(op, n);
}

// One block of queries: dq, and its terms of dk and dv.
static void attention_backward_block(const gd_head *h, const gd_image *image, int first, int n, int c) {
  int64_t offset = (int64_t)first * h->stride + c;
  attention_weights(h, image, first, n, c);
  transpose_in(image->dy + offset, h->stride, n, h->dim, 1.0f, h->dyt);
  rows_times(h, image->v + c, h->dyt, n, h->dp);
  softmax_gradient(h, n, h->p, h->dp, h->row);
  columns_times(h, image->k + c, h->dp, n, h->dqt);
  transpose_out(h->dqt, n, h->dim, image->dq + offset, h->stride);
  transpose_in(h->p, n, h->length, n, 1.0f, h->flipped);
  add_outer(h, image->dy + offset, h->flipped, n, h->dvt);
  transpose_in(h->dp, n, h->length, n, 1.0f, h->flipped);
  add_outer(h, image->q + offset, h->flipped, n, h->dkt);
}

static void attention_backward_head(const gd_head *h, const gd_image *image, int c) {
  memset(h->dkt, 0, (size_t)h->dim * (size_t)h->length * sizeof(float));
  memset(h->dvt, 0, (size_t)h->dim * (size_t)h->length * sizeof(float));
  for (int first = 0; first < h->length; first += h->n_queries) {
    int n = h->length - first < h->n_queries ? h->length - first : h->n_queries;
    attention_backward_block(h, image, first, n, c);
  }
  transpose_out(h->dkt, h->length, h->dim, image->dk + c, h->stride);
  transpose_out(h->dvt, h->length, h->dim, image->dv + c, h->stride);
}

static void attention_backward_image(const gd_op *op, int n) {
  gd_head h = head_of_thread(op);
  gd_image image = image_read(op, n);
  float *widened = thread_scratch(op) + head_floats(op) + 3 * image.n;
  float **gradients[] = {&image.dq, &image.dk, &image.dv};
  image.dy = gd_floats_read(op->dy_type, op->dy, image.first, image.n, widened);
  for (int i = 0; i < 3; i++)
    *gradients[i] = gd_floats_begin(op->x_type[i], op->dx[i], image.first, widened + (i + 1) * image.n);
  for (int c = 0; c < h.stride; c += h.dim) attention_backward_head(&h, &image, c);
  for (int i = 0; i < 3; i++) gd_floats_end(op->x_type[i], op->dx[i], image.first, image.n, *gradients[i]);
}

static void attention_backward(gd_op *op, float *grads) {
  (void)grads;
  GD_REQUIRE(op->dx[0] && op->dx[1] && op->dx[2]);
#pragma omp parallel for
  for (int n = 0; n < op->batch; n++) attention_backward_image(op, n);
}

const gd_op_class gd_op_attention = {.kind = "attention",
                                     .backward_reads_inputs = 7,
                                     .bfloat16 = true,
                                     .prepare = attention_prepare,
                                     .forward = attention_forward,
                                     .backward = attention_backward};
