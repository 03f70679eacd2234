/* Embedding: the row of a table of vectors that an index picks. */
#include <string.h>

#include "nn/net.h"

static int64_t picked_row(const gd_op *op, int image) {
  int64_t row = (int64_t)((const float *)op->x[0])[image];
  GD_REQUIRE(row >= 0 && row < op->table->params[op->node->params[0]].dims[0]);
  return row;
}

static void embedding_forward(gd_op *op) {
  int width = op->out.c;
  const float *weight = gd_op_param(op, 0);
  float *y = op->y;
  for (int i = 0; i < op->batch; i++)
    memcpy(y + (int64_t)i * width, weight + picked_row(op, i) * width, (size_t)width * sizeof *y);
}

// Image after image: the sum has one order, whatever the number of threads.
static void embedding_backward(gd_op *op, float *grads) {
  int width = op->out.c;
  const float *dy = op->dy;
  float *gradient = gd_op_grad(op, grads, 0);
  memset(gradient, 0, (size_t)op->table->params[op->node->params[0]].count * sizeof *gradient);
  for (int i = 0; i < op->batch; i++) {
    float *row = gradient + picked_row(op, i) * width;
    for (int c = 0; c < width; c++) row[c] += dy[(int64_t)i * width + c];
  }
}

const gd_op_class gd_op_embedding = {
    .kind = "embedding", .backward_reads_inputs = 1, .forward = embedding_forward, .backward = embedding_backward};
