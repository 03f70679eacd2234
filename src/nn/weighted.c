/* Primitives and packed weights of convolution and linear: see weighted.h. */
#include "nn/weighted.h"

#include "nn/bfloat16.h"

static bool has_residual(const gd_op *op) {
  return op->node->n_inputs == 2;
}

// ---- Descriptors

gd_weighted_descs gd_weighted_describe_product(const gd_op *op, int columns, dnnl_format_tag_t gradient_layout) {
  gd_shape row = {op->out.h, op->out.w, columns};
  dnnl_dims_t dims = {op->out.c, columns};
  return (gd_weighted_descs){
      .operation = {.kind = dnnl_inner_product,
                    .training = op->training,
                    .x = gd_dnnl_rows(op->batch, row, op->x_type[0]),
                    .weights = gd_md_get(2, dims, gd_dnnl_type(op->x_type[0]), dnnl_format_tag_any),
                    .bias = op->node->attributes.bias ? gd_dnnl_vector(op->out.c) : NULL,
                    .y = gd_dnnl_rows(op->batch, op->out, op->y_type),
                    .dy = gd_dnnl_rows(op->batch, op->out, op->dy_type),
                    .dweights = gd_md_get(2, dims, dnnl_f32, gradient_layout)},
      .flat_weights = gd_md_get(2, dims, dnnl_f32, dnnl_oi)};
}

// ---- Packed weights

static void packed_create(gd_packed_weights *packed, gd_md flat, gd_md md) {
  if (!gd_reorder_needed(flat, md)) return;
  gd_reorder_create(&packed->pack, flat, md);
  packed->memory = gd_alloc_zero(dnnl_memory_desc_get_size(md));
}

static void packed_release(gd_packed_weights *packed) {
  gd_reorder_release(&packed->pack);
  gd_free(packed->memory);
}

// The weights as the primitive reads them.
static const void *packed_load(gd_packed_weights *packed, const float *flat) {
  if (!packed->memory) return flat;
  gd_reorder_run(&packed->pack, flat, packed->memory);
  return packed->memory;
}

// ---- Create and release

gd_err gd_weighted_prepare_forward(gd_op *op, gd_weighted *w, const gd_weighted_descs *d) {
  gd_primitive_options options = {.accumulates = has_residual(op), .small_map = d->small_map};
  gd_err err = gd_primitive_create(&w->forward, op, &d->operation, GD_PASS_FORWARD, options);
  if (err != GD_OK) return err;
  gd_md md = gd_primitive_md(&w->forward, dnnl_query_weights_md, 0);
  packed_create(&w->forward_weights, d->flat_weights, md);
  gd_primitive_arg(&w->forward, DNNL_ARG_SRC, d->operation.x);
  gd_primitive_arg(&w->forward, DNNL_ARG_WEIGHTS, md);
  if (op->node->attributes.bias) gd_primitive_arg(&w->forward, DNNL_ARG_BIAS, d->operation.bias);
  gd_primitive_arg(&w->forward, DNNL_ARG_DST, d->operation.y);
  return GD_OK;
}

gd_err gd_weighted_prepare_backward_data(gd_op *op, gd_weighted *w, const gd_weighted_descs *d) {
  gd_err err =
      gd_primitive_create(&w->backward_data, op, &d->operation, GD_PASS_BACKWARD_DATA, (gd_primitive_options){0});
  if (err != GD_OK) return err;
  gd_md md = gd_primitive_md(&w->backward_data, dnnl_query_weights_md, 0);
  w->is_packing_shared = !gd_reorder_needed(gd_primitive_md(&w->forward, dnnl_query_weights_md, 0), md);
  if (!w->is_packing_shared) packed_create(&w->backward_data_weights, d->flat_weights, md);
  gd_primitive_arg(&w->backward_data, DNNL_ARG_DIFF_DST, d->operation.dy);
  gd_primitive_arg(&w->backward_data, DNNL_ARG_WEIGHTS, md);
  gd_primitive_arg(&w->backward_data, DNNL_ARG_DIFF_SRC, d->operation.x);
  return GD_OK;
}

gd_err gd_weighted_prepare_backward_weights(gd_op *op, gd_weighted *w, const gd_weighted_descs *d) {
  gd_err err =
      gd_primitive_create(&w->backward_weights, op, &d->operation, GD_PASS_BACKWARD_WEIGHTS, (gd_primitive_options){0});
  if (err != GD_OK) return err;
  gd_md md = gd_primitive_md(&w->backward_weights, dnnl_query_diff_weights_md, 0);
  if (gd_reorder_needed(md, d->flat_weights)) gd_reorder_create(&w->unpack_gradient, md, d->flat_weights);
  gd_primitive_arg(&w->backward_weights, DNNL_ARG_SRC, d->operation.x);
  gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_DST, d->operation.dy);
  gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_WEIGHTS, md);
  if (op->node->attributes.bias) gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_BIAS, d->operation.bias);
  return GD_OK;
}

void gd_weighted_release(gd_weighted *w) {
  gd_primitive_release(&w->forward);
  gd_primitive_release(&w->backward_data);
  gd_primitive_release(&w->backward_weights);
  packed_release(&w->forward_weights);
  packed_release(&w->backward_data_weights);
  gd_reorder_release(&w->unpack_gradient);
}

size_t gd_weighted_gradient_nbytes(const gd_weighted *w) {
  if (!w->unpack_gradient.primitive) return 0;
  return dnnl_memory_desc_get_size(gd_primitive_md(&w->backward_weights, dnnl_query_diff_weights_md, 0));
}

size_t gd_scratch_append(gd_op *op, size_t nbytes) {
  size_t offset = (op->scratch_nbytes + 63) / 64 * 64;
  op->scratch_nbytes = offset + nbytes;
  return offset;
}

// ---- Load and run

void gd_weighted_load(const gd_op *op, gd_weighted *w, const float *forward_weights) {
  const void *packed = packed_load(&w->forward_weights, forward_weights);
  gd_primitive_set(&w->forward, DNNL_ARG_WEIGHTS, packed);
  if (op->node->attributes.bias) gd_primitive_set(&w->forward, DNNL_ARG_BIAS, gd_op_param(op, 1));
  if (!op->wants_dx[0]) return;
  if (!w->is_packing_shared) packed = packed_load(&w->backward_data_weights, gd_op_param(op, 0));
  gd_primitive_set(&w->backward_data, DNNL_ARG_WEIGHTS, packed);
}

void gd_weighted_run_forward(const gd_op *op, gd_weighted *w, const void *x) {
  if (has_residual(op) && op->y != op->x[1])
    gd_tensor_convert(op->x_type[1], op->x[1], op->y_type, op->y, op->batch * gd_shape_count(op->out));
  gd_primitive_set(&w->forward, DNNL_ARG_SRC, x);
  gd_primitive_set(&w->forward, DNNL_ARG_DST, op->y);
  gd_primitive_run(&w->forward, op);
}

void gd_weighted_run_backward_weights(const gd_op *op, gd_weighted *w, const void *x, float *packed_gradient,
                                      float *grads) {
  bool is_packed = w->unpack_gradient.primitive != NULL;
  float *flat_gradient = gd_op_grad(op, grads, 0);
  gd_primitive_set(&w->backward_weights, DNNL_ARG_SRC, x);
  gd_primitive_set(&w->backward_weights, DNNL_ARG_DIFF_DST, op->dy);
  gd_primitive_set(&w->backward_weights, DNNL_ARG_DIFF_WEIGHTS, is_packed ? packed_gradient : flat_gradient);
  if (op->node->attributes.bias) gd_primitive_set(&w->backward_weights, DNNL_ARG_DIFF_BIAS, gd_op_grad(op, grads, 1));
  gd_primitive_run(&w->backward_weights, op);
  if (is_packed) gd_reorder_run(&w->unpack_gradient, packed_gradient, flat_gradient);
}

void gd_weighted_run_backward_data(const gd_op *op, gd_weighted *w, void *dx) {
  gd_primitive_set(&w->backward_data, DNNL_ARG_DIFF_DST, op->dy);
  gd_primitive_set(&w->backward_data, DNNL_ARG_DIFF_SRC, dx);
  gd_primitive_run(&w->backward_data, op);
}
