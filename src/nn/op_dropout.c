/* Dropout (Srivastava et al. 2014), in training: zero with probability `rate`, otherwise x / (1 - rate). In inference
 * it leaves x as it is. What is dropped of an image follows from the plan's key, the image's row and the op's number,
 * so that backward draws it again and it does not depend on who works the image. */
#include <string.h>

#include "nn/bfloat16.h"
#include "nn/net.h"

enum { PIECE = 4096 };

// Elements first .. first + n - 1 of image `image`, from `x` to `y` of one type.
static void drop_piece(const gd_op *op, gd_precision type, int image, int64_t first, int64_t n, const void *x,
                       void *y) {
  float uniform[PIECE], in[PIECE], out[PIECE], rate = op->node->attributes.rate, scale = 1.0f / (1.0f - rate);
  uint64_t index = op->draws->rows[image] | (uint64_t)op->node->attributes.ordinal << 32;
  int64_t at = image * gd_shape_count(op->out) + first;
  gd_random_uniform_part(op->draws->key, index, (uint64_t)first, (size_t)n, uniform);
  const float *from = gd_floats_read(type, x, at, n, in);
  float *to = gd_floats_begin(type, y, at, out);
  for (int64_t i = 0; i < n; i++) to[i] = uniform[i] < rate ? 0 : scale * from[i];
  gd_floats_end(type, y, at, n, to);
}

static void drop_all(const gd_op *op, gd_precision type, const void *x, void *y) {
  int64_t count = gd_shape_count(op->out), n_pieces = (count + PIECE - 1) / PIECE;
#pragma omp parallel for collapse(2)
  for (int image = 0; image < op->batch; image++)
    for (int64_t p = 0; p < n_pieces; p++)
      drop_piece(op, type, image, p * PIECE, count - p * PIECE < PIECE ? count - p * PIECE : PIECE, x, y);
}

static void dropout_forward(gd_op *op) {
  if (op->training)
    drop_all(op, op->y_type, op->x[0], op->y);
  else if (op->y != op->x[0])
    memcpy(op->y, op->x[0], (size_t)(op->batch * gd_shape_count(op->out)) * gd_element_nbytes(op->y_type));
}

static void dropout_backward(gd_op *op, float *grads) {
  (void)grads;
  drop_all(op, op->dy_type, op->dy, op->dx[0]);
}

const gd_op_class gd_op_dropout = {.kind = "dropout",
                                   .overwrites_inputs = 1,
                                   .bfloat16 = true,
                                   .forward = dropout_forward,
                                   .backward = dropout_backward};
