/* Multi-head attention over the pixels of an image: softmax(q k^T / sqrt(d)) v, one (image, head) a thread.
 *
 * Row by row, so that no L x L matrix is kept; backward computes the probabilities again. Keys and values are copied
 * channels-first per head, so that the inner loops run over pixels. Maps are at most 16 x 16 in practice. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "nn/net.h"
#include "nn/simd.h"

// One head's sizes and its work memory, a part of the op's scratch for each thread.
typedef struct gd_head {
  int length, dim, stride;  // pixels, channels of the head, channels of a pixel
  float scale;
  float *kt, *vt;    // (dim, length)
  float *dkt, *dvt;  // (dim, length)
  float *p, *dp;     // (length)
} gd_head;

static int64_t head_floats(const gd_op *op) {
  int64_t length = (int64_t)op->in[0].h * op->in[0].w;
  return (4 * op->node->attributes.head_dim + 2) * length;
}

static gd_err prepare(gd_op *op) {
  op->scratch_nbytes = (size_t)omp_get_max_threads() * (size_t)head_floats(op) * sizeof(float);
  return GD_OK;
}

static gd_head head_of_thread(const gd_op *op) {
  int dim = op->node->attributes.head_dim, length = op->in[0].h * op->in[0].w;
  float *memory = (float *)op->scratch + omp_get_thread_num() * head_floats(op);
  int64_t block = (int64_t)dim * length;
  return (gd_head){.length = length,
                   .dim = dim,
                   .stride = op->in[0].c,
                   .scale = 1.0f / sqrtf((float)dim),
                   .kt = memory,
                   .vt = memory + block,
                   .dkt = memory + 2 * block,
                   .dvt = memory + 3 * block,
                   .p = memory + 4 * block,
                   .dp = memory + 4 * block + length};
}

static void transpose_in(const gd_head *h, const float *x, float *xt) {
  for (int j = 0; j < h->length; j++)
    for (int d = 0; d < h->dim; d++) xt[d * h->length + j] = x[(int64_t)j * h->stride + d];
}

static void transpose_out(const gd_head *h, const float *xt, float *x) {
  for (int j = 0; j < h->length; j++)
    for (int d = 0; d < h->dim; d++) x[(int64_t)j * h->stride + d] = xt[d * h->length + j];
}

// p = softmax of this query's scaled products with all keys.
GD_SIMD static void probabilities(const gd_head *h, const float *restrict q, float *restrict p) {
  int length = h->length;
  for (int j = 0; j < length; j++) p[j] = 0;
  for (int d = 0; d < h->dim; d++) {
    const float *restrict k = h->kt + (int64_t)d * length;
    float factor = q[d] * h->scale;
    for (int j = 0; j < length; j++) p[j] += factor * k[j];
  }
  float largest = p[0], sum = 0;
  for (int j = 1; j < length; j++) largest = p[j] > largest ? p[j] : largest;
  for (int j = 0; j < length; j++) p[j] = gd_exp(p[j] - largest);
  for (int j = 0; j < length; j++) sum += p[j];
  float inverse = 1.0f / sum;
  for (int j = 0; j < length; j++) p[j] *= inverse;
}

// y = sum_j p_j v_j, reading v by pixel.
GD_SIMD static void weighted_sum(const gd_head *h, const float *restrict p, const float *restrict v,
                                 float *restrict y) {
  for (int d = 0; d < h->dim; d++) y[d] = 0;
  for (int j = 0; j < h->length; j++)
    for (int d = 0; d < h->dim; d++) y[d] += p[j] * v[(int64_t)j * h->stride + d];
}

static void forward(gd_op *op) {
  int heads = op->in[0].c / op->node->attributes.head_dim;
#pragma omp parallel for collapse(2)
  for (int n = 0; n < op->batch; n++) {
    for (int i = 0; i < heads; i++) {
      gd_head h = head_of_thread(op);
      int64_t offset = (int64_t)n * h.length * h.stride + i * h.dim;
      transpose_in(&h, op->x[1] + offset, h.kt);
      for (int r = 0; r < h.length; r++) {
        int64_t row = offset + (int64_t)r * h.stride;
        probabilities(&h, op->x[0] + row, h.p);
        weighted_sum(&h, h.p, op->x[2] + offset, op->y + row);
      }
    }
  }
}

// One query's share: dv += p dy; dp = dy v; ds = p (dp - p.dp); dk += ds q, with the scale in ds. Leaves ds in dp.
GD_SIMD static void row_gradient(const gd_head *h, const float *restrict q, const float *restrict dy) {
  int length = h->length;
  float *restrict p = h->p, *restrict dp = h->dp;
  for (int j = 0; j < length; j++) dp[j] = 0;
  for (int d = 0; d < h->dim; d++) {
    const float *restrict v = h->vt + (int64_t)d * length;
    float *restrict dv = h->dvt + (int64_t)d * length;
    for (int j = 0; j < length; j++) {
      dp[j] += dy[d] * v[j];
      dv[j] += dy[d] * p[j];
    }
  }
  float dot = 0;
  for (int j = 0; j < length; j++) dot += p[j] * dp[j];
  for (int j = 0; j < length; j++) dp[j] = p[j] * (dp[j] - dot) * h->scale;
  for (int d = 0; d < h->dim; d++) {
    float *restrict dk = h->dkt + (int64_t)d * length;
    for (int j = 0; j < length; j++) dk[j] += dp[j] * q[d];
  }
}

static void backward(gd_op *op, float *grads) {
  (void)grads;
  int heads = op->in[0].c / op->node->attributes.head_dim;
  GD_REQUIRE(op->dx[0] && op->dx[1] && op->dx[2]);
#pragma omp parallel for collapse(2)
  for (int n = 0; n < op->batch; n++) {
    for (int i = 0; i < heads; i++) {
      gd_head h = head_of_thread(op);
      int64_t offset = (int64_t)n * h.length * h.stride + i * h.dim;
      transpose_in(&h, op->x[1] + offset, h.kt);
      transpose_in(&h, op->x[2] + offset, h.vt);
      memset(h.dkt, 0, 2 * (size_t)h.dim * (size_t)h.length * sizeof(float));
      for (int r = 0; r < h.length; r++) {
        int64_t row = offset + (int64_t)r * h.stride;
        probabilities(&h, op->x[0] + row, h.p);
        row_gradient(&h, op->x[0] + row, op->dy + row);
        weighted_sum(&h, h.dp, op->x[1] + offset, op->dx[0] + row);
      }
      transpose_out(&h, h.dkt, op->dx[1] + offset);
      transpose_out(&h, h.dvt, op->dx[2] + offset);
    }
  }
}

const gd_op_class gd_op_attention = {
    .kind = "attention", .backward_reads_inputs = 7, .prepare = prepare, .forward = forward, .backward = backward};
