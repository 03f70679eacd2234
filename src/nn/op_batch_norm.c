/* Batch normalisation by oneDNN: the plan's batch in training, running statistics in inference.
 *
 * The batch's mean and unbiased variance leave through the "gradients" of running_mean and running_var, so that the
 * reduction over slots and ranks makes them independent of the rank count. */
#include <string.h>

#include "nn/dnnl.h"

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };

typedef struct gd_batch_norm {
  gd_primitive forward, backward;
  int fwd_x, fwd_y, fwd_mean, fwd_var, fwd_scale, fwd_shift;
  int bwd_x, bwd_dy, bwd_dx, bwd_mean, bwd_var, bwd_scale, bwd_shift, bwd_dscale, bwd_dshift;
  float *unwanted_dx;  // oneDNN always writes the input's gradient
} gd_batch_norm;

static gd_err prepare_backward(gd_op *op, gd_batch_norm *bn, dnnl_memory_desc_t x, dnnl_memory_desc_t vector) {
  dnnl_batch_normalization_desc_t desc;
  GD_DNNL(dnnl_batch_normalization_backward_desc_init(&desc, dnnl_backward, &x, &x, op->node->attributes.eps,
                                                      dnnl_use_scale | dnnl_use_shift));
  gd_err err = gd_primitive_create(&bn->backward, op, &desc, bn->forward.desc);
  if (err != GD_OK) return err;
  bn->bwd_x = gd_primitive_arg(&bn->backward, DNNL_ARG_SRC, &x);
  bn->bwd_dy = gd_primitive_arg(&bn->backward, DNNL_ARG_DIFF_DST, &x);
  bn->bwd_dx = gd_primitive_arg(&bn->backward, DNNL_ARG_DIFF_SRC, &x);
  bn->bwd_mean = gd_primitive_arg(&bn->backward, DNNL_ARG_MEAN, &vector);
  bn->bwd_var = gd_primitive_arg(&bn->backward, DNNL_ARG_VARIANCE, &vector);
  bn->bwd_scale = gd_primitive_arg(&bn->backward, DNNL_ARG_SCALE, &vector);
  bn->bwd_shift = gd_primitive_arg(&bn->backward, DNNL_ARG_SHIFT, &vector);  // oneDNN wants it, though it has no use
  bn->bwd_dscale = gd_primitive_arg(&bn->backward, DNNL_ARG_DIFF_SCALE, &vector);
  bn->bwd_dshift = gd_primitive_arg(&bn->backward, DNNL_ARG_DIFF_SHIFT, &vector);
  if (!op->wants_dx[0])
    bn->unwanted_dx = gd_alloc((size_t)op->batch * (size_t)gd_shape_count(op->in[0]) * sizeof(float));
  return GD_OK;
}

static gd_err prepare(gd_op *op) {
  gd_err err = GD_OK;
  gd_batch_norm *bn = op->state = GD_NEW(gd_batch_norm);
  dnnl_memory_desc_t x = gd_dnnl_nhwc(op->batch, op->in[0]), vector = gd_dnnl_vector(op->in[0].c);
  unsigned flags = dnnl_use_scale | dnnl_use_shift | (op->training ? 0 : dnnl_use_global_stats);
  dnnl_batch_normalization_desc_t desc;
  GD_DNNL(dnnl_batch_normalization_forward_desc_init(
      &desc, op->training ? dnnl_forward_training : dnnl_forward_inference, &x, op->node->attributes.eps, flags));
  GD_TRY(gd_primitive_create(&bn->forward, op, &desc, NULL));
  bn->fwd_x = gd_primitive_arg(&bn->forward, DNNL_ARG_SRC, &x);
  bn->fwd_y = gd_primitive_arg(&bn->forward, DNNL_ARG_DST, &x);
  bn->fwd_mean = gd_primitive_arg(&bn->forward, DNNL_ARG_MEAN, &vector);
  bn->fwd_var = gd_primitive_arg(&bn->forward, DNNL_ARG_VARIANCE, &vector);
  bn->fwd_scale = gd_primitive_arg(&bn->forward, DNNL_ARG_SCALE, &vector);
  bn->fwd_shift = gd_primitive_arg(&bn->forward, DNNL_ARG_SHIFT, &vector);
  op->saved_nbytes = 2 * (size_t)op->in[0].c * sizeof(float);  // mean, variance
  if (op->training) GD_TRY(prepare_backward(op, bn, x, vector));
done:
  return err;
}

static void forward(gd_op *op) {
  gd_batch_norm *bn = op->state;
  const float *mean = op->saved, *var = mean + op->in[0].c;
  gd_primitive_set(&bn->forward, bn->fwd_x, op->x[0]);
  gd_primitive_set(&bn->forward, bn->fwd_y, op->y);
  gd_primitive_set(&bn->forward, bn->fwd_mean, op->training ? mean : gd_op_param(op, RUNNING_MEAN));
  gd_primitive_set(&bn->forward, bn->fwd_var, op->training ? var : gd_op_param(op, RUNNING_VAR));
  gd_primitive_set(&bn->forward, bn->fwd_scale, gd_op_param(op, WEIGHT));
  gd_primitive_set(&bn->forward, bn->fwd_shift, gd_op_param(op, BIAS));
  gd_primitive_run(&bn->forward, op);
}

static void backward(gd_op *op, float *grads) {
  gd_batch_norm *bn = op->state;
  int channels = op->in[0].c;
  const float *mean = op->saved, *var = mean + channels;
  gd_primitive_set(&bn->backward, bn->bwd_x, op->x[0]);
  gd_primitive_set(&bn->backward, bn->bwd_dy, op->dy);
  gd_primitive_set(&bn->backward, bn->bwd_dx, op->dx[0] ? op->dx[0] : bn->unwanted_dx);
  gd_primitive_set(&bn->backward, bn->bwd_mean, mean);
  gd_primitive_set(&bn->backward, bn->bwd_var, var);
  gd_primitive_set(&bn->backward, bn->bwd_scale, gd_op_param(op, WEIGHT));
  gd_primitive_set(&bn->backward, bn->bwd_shift, gd_op_param(op, BIAS));
  gd_primitive_set(&bn->backward, bn->bwd_dscale, gd_op_grad(op, grads, WEIGHT));
  gd_primitive_set(&bn->backward, bn->bwd_dshift, gd_op_grad(op, grads, BIAS));
  gd_primitive_run(&bn->backward, op);
  float m = (float)op->batch * (float)(op->in[0].h * op->in[0].w), *out = gd_op_grad(op, grads, RUNNING_VAR);
  memcpy(gd_op_grad(op, grads, RUNNING_MEAN), mean, (size_t)channels * sizeof(float));
  for (int c = 0; c < channels; c++) out[c] = m > 1 ? var[c] * m / (m - 1) : var[c];
}

static void release(gd_op *op) {
  gd_batch_norm *bn = op->state;
  if (!bn) return;
  gd_primitive_release(&bn->forward);
  gd_primitive_release(&bn->backward);
  gd_free(bn->unwanted_dx);
  gd_free(bn);
}

const gd_op_class gd_op_batch_norm = {.kind = "batch_norm",
                                      .backward_reads_inputs = 1,
                                      .prepare = prepare,
                                      .forward = forward,
                                      .backward = backward,
                                      .release = release};
