/* Primitives and packed weights of convolution and linear: see weighted.h. */
#include "nn/weighted.h"

#include "nn/bfloat16.h"

static bool has_residual(const gd_op *op) {
  return op->node->n_inputs == 2;
}

// ---- Descriptors

gd_weighted_descs gd_weighted_describe_product(const gd_op *op, int columns, dnnl_format_tag_t gradient_layout) {
  gd_shape row = {op->out.h, op->out.w, columns};
  gd_weighted_descs d = {.x = gd_dnnl_rows(op->batch, row, op->x_type[0]),
                         .y = gd_dnnl_rows(op->batch, op->out, op->y_type),
                         .dy = gd_dnnl_rows(op->batch, op->out, op->dy_type)};
  dnnl_dims_t dims = {op->out.c, columns};
  dnnl_memory_desc_t weights, gradient;
  GD_DNNL(dnnl_memory_desc_init_by_tag(&weights, 2, dims, gd_dnnl_type(op->x_type[0]), dnnl_format_tag_any));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&gradient, 2, dims, dnnl_f32, gradient_layout));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&d.flat_weights, 2, dims, dnnl_f32, dnnl_oi));
  if (op->node->attributes.bias) d.bias = gd_dnnl_vector(op->out.c);
  const dnnl_memory_desc_t *bias = op->node->attributes.bias ? &d.bias : NULL;
  GD_DNNL(
      dnnl_inner_product_forward_desc_init(&d.forward.product, gd_dnnl_forward_kind(op), &d.x, &weights, bias, &d.y));
  GD_DNNL(dnnl_inner_product_backward_data_desc_init(&d.backward_data.product, &d.x, &weights, &d.dy));
  GD_DNNL(dnnl_inner_product_backward_weights_desc_init(&d.backward_weights.product, &d.x, &gradient, bias, &d.dy));
  return d;
}

// ---- Packed weights

static void packed_create(gd_packed_weights *packed, const dnnl_memory_desc_t *flat, const dnnl_memory_desc_t *md) {
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
  gd_err err = gd_primitive_create(&w->forward, op, &d->forward, options);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->forward, dnnl_query_weights_md, 0);
  packed_create(&w->forward_weights, &d->flat_weights, md);
  gd_primitive_arg(&w->forward, DNNL_ARG_SRC, &d->x);
  gd_primitive_arg(&w->forward, DNNL_ARG_WEIGHTS, md);
  if (op->node->attributes.bias) gd_primitive_arg(&w->forward, DNNL_ARG_BIAS, &d->bias);
  gd_primitive_arg(&w->forward, DNNL_ARG_DST, &d->y);
  return GD_OK;
}

// oneDNN wants the descriptor of a matching forward primitive, which need not be the one that is used.
static gd_err create_backward(gd_primitive *out, gd_op *op, const gd_weighted_descs *d, const_dnnl_op_desc_t desc) {
  dnnl_primitive_desc_t hint = NULL;
  if (dnnl_primitive_desc_create(&hint, &d->forward, NULL, gd_dnnl_engine(), NULL) != dnnl_success)
    return gd_error(GD_ERR_FAILED, "oneDNN has no forward %s that matches the backward one", op->node->kind->kind);
  gd_err err = gd_primitive_create(out, op, desc, (gd_primitive_options){.hint = hint});
  GD_DNNL(dnnl_primitive_desc_destroy(hint));
  return err;
}

gd_err gd_weighted_prepare_backward_data(gd_op *op, gd_weighted *w, const gd_weighted_descs *d) {
  gd_err err = create_backward(&w->backward_data, op, d, &d->backward_data);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->backward_data, dnnl_query_weights_md, 0);
  w->is_packing_shared = !gd_reorder_needed(gd_primitive_md(&w->forward, dnnl_query_weights_md, 0), md);
  if (!w->is_packing_shared) packed_create(&w->backward_data_weights, &d->flat_weights, md);
  gd_primitive_arg(&w->backward_data, DNNL_ARG_DIFF_DST, &d->dy);
  gd_primitive_arg(&w->backward_data, DNNL_ARG_WEIGHTS, md);
  gd_primitive_arg(&w->backward_data, DNNL_ARG_DIFF_SRC, &d->x);
  return GD_OK;
}

gd_err gd_weighted_prepare_backward_weights(gd_op *op, gd_weighted *w, const gd_weighted_descs *d) {
  gd_err err = create_backward(&w->backward_weights, op, d, &d->backward_weights);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->backward_weights, dnnl_query_diff_weights_md, 0);
  if (gd_reorder_needed(md, &d->flat_weights)) gd_reorder_create(&w->unpack_gradient, md, &d->flat_weights);
  gd_primitive_arg(&w->backward_weights, DNNL_ARG_SRC, &d->x);
  gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_DST, &d->dy);
  gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_WEIGHTS, md);
  if (op->node->attributes.bias) gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_BIAS, &d->bias);
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
