/* Linear: y = x W^T + bias on the channels of each pixel, one oneDNN inner product over a matrix with one row per
 * pixel. A second input is a residual, which is added to y. See weighted.h. */
#include "nn/weighted.h"

typedef struct gd_linear {
  gd_weighted weighted;
  size_t gradient_offset;  // in scratch: dW before it is unpacked
} gd_linear;

static gd_err linear_prepare(gd_op *op) {
  gd_err err = GD_OK;
  gd_linear *linear = op->state = GD_NEW(gd_linear);
  gd_weighted *w = &linear->weighted;
  gd_weighted_descs product = gd_weighted_describe_product(op, op->in[0].c, dnnl_format_tag_any);
  GD_TRY(gd_weighted_prepare_forward(op, w, &product));
  if (op->wants_dx[0]) GD_TRY(gd_weighted_prepare_backward_data(op, w, &product));
  if (op->training) GD_TRY(gd_weighted_prepare_backward_weights(op, w, &product));
  linear->gradient_offset = gd_scratch_append(op, gd_weighted_gradient_nbytes(w));
done:
  return err;
}

static void linear_load(gd_op *op, const float *params) {
  (void)params;
  gd_linear *linear = op->state;
  gd_weighted_load(op, &linear->weighted, gd_op_param(op, 0));
}

static void linear_forward(gd_op *op) {
  gd_linear *linear = op->state;
  gd_weighted_run_forward(op, &linear->weighted, op->x[0]);
}

static void linear_backward(gd_op *op, float *grads) {
  gd_linear *linear = op->state;
  float *packed_gradient = (float *)((char *)op->scratch + linear->gradient_offset);
  double start = gd_seconds();
  gd_weighted_run_backward_weights(op, &linear->weighted, op->x[0], packed_gradient, grads);
  op->seconds_weights += gd_seconds() - start;
  if (op->dx[0]) gd_weighted_run_backward_data(op, &linear->weighted, op->dx[0]);
}

static void linear_release(gd_op *op) {
  gd_linear *linear = op->state;
  if (!linear) return;
  gd_weighted_release(&linear->weighted);
  gd_free(linear);
}

const gd_op_class gd_op_linear = {.kind = "linear",
                                  .backward_reads_inputs = 1,
                                  .overwrites_inputs = 2,
                                  .passes_gradient = 2,
                                  .bfloat16 = true,
                                  .may_write_float32 = true,
                                  .prepare = linear_prepare,
                                  .load = linear_load,
                                  .forward = linear_forward,
                                  .backward = linear_backward,
                                  .release = linear_release};
