/* Convolution and linear: the ops with weights that oneDNN wants in layouts of its own.
 *
 * A load reorders the flat array's weights into what the forward and the backward-data primitive want, in the precision
 * of the map they work on; backward reorders the weight gradient, always float32, back. Where oneDNN is content with
 * the plain layout, the flat arrays are used as they are. Linear works on a matrix with a row per pixel; so do
 * convolutions where that is better, on patches gathered into scratch. A second input is a residual: the product
 * is added to it, in its own place where nobody reads it later. Convolutions have a special class in op_winograd.c.
 */
#include "nn/bfloat16.h"
#include "nn/dnnl.h"
#include "nn/patches.h"

// Output pixels of a convolution up to which its map counts as small: 4 x 4.
enum { SMALL_MAP = 16 };

// Weights in the layout of one primitive: packed on load, or the flat array's own.
typedef struct gd_packed {
  gd_reorder reorder;
  void *memory;  // NULL where the layouts are the same
} gd_packed;

typedef struct gd_weighted {
  gd_primitive forward, backward_data, backward_weights;
  int fwd_x, fwd_w, fwd_b, fwd_y;
  int bwd_dy, bwd_w, bwd_dx;
  int grad_x, grad_dy, grad_w, grad_b;
  gd_packed fwd_weights, bwd_weights;  // bwd_weights is unused where the layouts are the same
  bool share_packed;
  gd_reorder unpack_grad;  // of the weight gradient, where its layout is not the flat array's
  bool forward_on_patches, weights_on_patches;
  gd_reorder order_weights;               // for forward on patches, before they are packed
  size_t patches_offset, weights_offset;  // in scratch
} gd_weighted;

// What the primitives are made from: operation descriptors and memory layouts.
typedef struct gd_descs {
  union {
    dnnl_convolution_desc_t conv;
    dnnl_inner_product_desc_t linear;
  } forward, backward_data, backward_weights;
  dnnl_memory_desc_t x, y, dy, plain_weights, bias;
} gd_descs;

static bool is_strided_pointwise(const gd_op *op) {
  const gd_attributes *a = &op->node->attributes;
  return op->node->kind == &gd_op_conv && a->kernel[0] == 1 && a->kernel[1] == 1 && a->stride > 1;
}

// Whether a bfloat16 convolution of at most so many output pixels an image is better taken as a matrix product. Where
// that starts was measured, oneDNN 2.6 with batches of 64: by weights on 4 x 4 pixels, 600 GFLOP/s become 720 on two
// cores with AVX512_BF16; with AMX on 4 x 4 and 8 x 8 pixels 16.6 ms become 1.7 and 5.3 become 2.1, and 5.7 ms forward
// on 4 x 4 a third.
static bool is_better_on_patches(const gd_op *op, int most_pixels) {
  bool pointwise = op->node->attributes.kernel[0] * op->node->attributes.kernel[1] == 1;
  if (op->node->kind != &gd_op_conv || op->x_type[0] != GD_BFLOAT16 || pointwise) return false;
  return op->out.h * op->out.w <= most_pixels;
}

static bool has_residual(const gd_op *op) {
  return op->node->n_inputs == 2;
}

static dnnl_prop_kind_t forward_kind(const gd_op *op) {
  return op->training ? dnnl_forward_training : dnnl_forward_inference;
}

static gd_descs describe_conv(const gd_op *op) {
  const gd_attributes *a = &op->node->attributes;
  gd_descs d = {.x = gd_dnnl_nhwc(op->batch, op->in[0], op->x_type[0]),
                .y = gd_dnnl_nhwc(op->batch, op->out, op->y_type),
                .dy = gd_dnnl_nhwc(op->batch, op->out, op->dy_type)};
  dnnl_dims_t weights = {op->out.c, op->in[0].c, a->kernel[0], a->kernel[1]};
  dnnl_dims_t strides = {a->stride, a->stride}, pad = {a->pad[0], a->pad[1]};
  dnnl_memory_desc_t w, dw;
  GD_DNNL(dnnl_memory_desc_init_by_tag(&w, 4, weights, gd_dnnl_type(op->x_type[0]), dnnl_format_tag_any));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&dw, 4, weights, dnnl_f32, dnnl_format_tag_any));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&d.plain_weights, 4, weights, dnnl_f32, dnnl_oihw));
  if (a->bias) d.bias = gd_dnnl_vector(op->out.c);
  const dnnl_memory_desc_t *bias = a->bias ? &d.bias : NULL;
  GD_DNNL(dnnl_convolution_forward_desc_init(&d.forward.conv, forward_kind(op), dnnl_convolution_direct, &d.x, &w, bias,
                                             &d.y, strides, pad, pad));
  GD_DNNL(dnnl_convolution_backward_data_desc_init(&d.backward_data.conv, dnnl_convolution_direct, &d.x, &w, &d.dy,
                                                   strides, pad, pad));
  GD_DNNL(dnnl_convolution_backward_weights_desc_init(&d.backward_weights.conv, dnnl_convolution_direct, &d.x, &dw,
                                                      bias, &d.dy, strides, pad, pad));
  return d;
}

// Linear, or a convolution on its patches: a patch's columns, and so the weights', are in the order (kh, kw, C).
static gd_descs describe_linear(const gd_op *op) {
  bool patches = op->node->kind == &gd_op_conv;
  gd_shape row = {op->out.h, op->out.w, patches ? gd_patch_columns(op) : op->in[0].c};
  gd_descs d = {.x = gd_dnnl_rows(op->batch, row, op->x_type[0]),
                .y = gd_dnnl_rows(op->batch, op->out, op->y_type),
                .dy = gd_dnnl_rows(op->batch, op->out, op->dy_type)};
  dnnl_dims_t weights = {op->out.c, row.c};
  dnnl_memory_desc_t w, dw;
  GD_DNNL(dnnl_memory_desc_init_by_tag(&w, 2, weights, gd_dnnl_type(op->x_type[0]), dnnl_format_tag_any));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&dw, 2, weights, dnnl_f32, patches ? dnnl_oi : dnnl_format_tag_any));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&d.plain_weights, 2, weights, dnnl_f32, dnnl_oi));
  if (op->node->attributes.bias) d.bias = gd_dnnl_vector(op->out.c);
  const dnnl_memory_desc_t *bias = op->node->attributes.bias ? &d.bias : NULL;
  GD_DNNL(dnnl_inner_product_forward_desc_init(&d.forward.linear, forward_kind(op), &d.x, &w, bias, &d.y));
  GD_DNNL(dnnl_inner_product_backward_data_desc_init(&d.backward_data.linear, &d.x, &w, &d.dy));
  GD_DNNL(dnnl_inner_product_backward_weights_desc_init(&d.backward_weights.linear, &d.x, &dw, bias, &d.dy));
  return d;
}

// Between the flat array's order of a convolution's weights and that of patches; nothing for windows of one pixel.
static void create_patch_order(gd_reorder *out, const gd_op *op, bool to_patches) {
  const gd_attributes *a = &op->node->attributes;
  dnnl_dims_t dims = {op->out.c, op->in[0].c, a->kernel[0], a->kernel[1]};
  dnnl_memory_desc_t flat, patches;
  GD_DNNL(dnnl_memory_desc_init_by_tag(&flat, 4, dims, dnnl_f32, dnnl_oihw));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&patches, 4, dims, dnnl_f32, dnnl_ohwi));
  if (gd_patch_columns(op) > op->in[0].c)
    gd_reorder_create(out, to_patches ? &flat : &patches, to_patches ? &patches : &flat);
}

static void packed_create(gd_packed *packed, const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *md) {
  if (!gd_reorder_needed(plain, md)) return;
  gd_reorder_create(&packed->reorder, plain, md);
  packed->memory = gd_alloc_zero(dnnl_memory_desc_get_size(md));
}

static void packed_release(gd_packed *packed) {
  gd_reorder_release(&packed->reorder);
  gd_free(packed->memory);
}

// The weights as a primitive wants them.
static const void *packed_load(gd_packed *packed, const float *plain) {
  if (!packed->memory) return plain;
  gd_reorder_run(&packed->reorder, plain, packed->memory);
  return packed->memory;
}

static gd_err prepare_forward(gd_op *op, gd_weighted *w, const gd_descs *d) {
  gd_primitive_options options = {.accumulates = has_residual(op)};
  options.small_map = op->node->attributes.kernel[0] > 1 && op->out.h * op->out.w <= SMALL_MAP;
  gd_err err = gd_primitive_create(&w->forward, op, &d->forward, options);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->forward, dnnl_query_weights_md, 0);
  packed_create(&w->fwd_weights, &d->plain_weights, md);
  if (w->forward_on_patches) create_patch_order(&w->order_weights, op, true);
  w->fwd_x = gd_primitive_arg(&w->forward, DNNL_ARG_SRC, &d->x);
  w->fwd_w = gd_primitive_arg(&w->forward, DNNL_ARG_WEIGHTS, md);
  if (op->node->attributes.bias) w->fwd_b = gd_primitive_arg(&w->forward, DNNL_ARG_BIAS, &d->bias);
  w->fwd_y = gd_primitive_arg(&w->forward, DNNL_ARG_DST, &d->y);
  return GD_OK;
}

// Backward primitives want the descriptor of the forward one of their kind, which need not be the one that is used.
static gd_err create_backward(gd_primitive *out, gd_op *op, const gd_descs *d, const_dnnl_op_desc_t desc) {
  dnnl_primitive_desc_t hint = NULL;
  if (dnnl_primitive_desc_create(&hint, &d->forward, NULL, gd_dnnl_engine(), NULL) != dnnl_success)
    return gd_error(GD_ERR_FAILED, "oneDNN has no forward %s to go with the backward one", op->node->kind->kind);
  gd_err err = gd_primitive_create(out, op, desc, (gd_primitive_options){.hint = hint});
  GD_DNNL(dnnl_primitive_desc_destroy(hint));
  return err;
}

static gd_err prepare_backward_data(gd_op *op, gd_weighted *w, const gd_descs *d) {
  gd_err err = create_backward(&w->backward_data, op, d, &d->backward_data);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->backward_data, dnnl_query_weights_md, 0);
  w->share_packed = !gd_reorder_needed(gd_primitive_md(&w->forward, dnnl_query_weights_md, 0), md);
  if (!w->share_packed) packed_create(&w->bwd_weights, &d->plain_weights, md);
  w->bwd_dy = gd_primitive_arg(&w->backward_data, DNNL_ARG_DIFF_DST, &d->dy);
  w->bwd_w = gd_primitive_arg(&w->backward_data, DNNL_ARG_WEIGHTS, md);
  w->bwd_dx = gd_primitive_arg(&w->backward_data, DNNL_ARG_DIFF_SRC, &d->x);
  return GD_OK;
}

static gd_err prepare_backward_weights(gd_op *op, gd_weighted *w, const gd_descs *d) {
  gd_err err = create_backward(&w->backward_weights, op, d, &d->backward_weights);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->backward_weights, dnnl_query_diff_weights_md, 0);
  if (w->weights_on_patches)
    create_patch_order(&w->unpack_grad, op, false);
  else if (gd_reorder_needed(md, &d->plain_weights))
    gd_reorder_create(&w->unpack_grad, md, &d->plain_weights);
  w->grad_x = gd_primitive_arg(&w->backward_weights, DNNL_ARG_SRC, &d->x);
  w->grad_dy = gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_DST, &d->dy);
  w->grad_w = gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_WEIGHTS, md);
  if (op->node->attributes.bias) w->grad_b = gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_BIAS, &d->bias);
  return GD_OK;
}

static size_t aligned(size_t nbytes) {
  return (nbytes + 63) / 64 * 64;
}

// Behind what the primitives want: patches, and weights in the order of patches or their gradient on its way to the
// flat array.
static void lay_out_scratch(gd_op *op, gd_weighted *w) {
  bool patches = w->forward_on_patches || (op->training && w->weights_on_patches);
  size_t ordered = w->order_weights.primitive ? (size_t)op->out.c * (size_t)gd_patch_columns(op) * sizeof(float) : 0;
  size_t grad = 0;
  if (w->unpack_grad.primitive)
    grad = dnnl_memory_desc_get_size(gd_primitive_md(&w->backward_weights, dnnl_query_diff_weights_md, 0));
  w->patches_offset = aligned(op->scratch_nbytes);
  w->weights_offset = w->patches_offset + (patches ? aligned(gd_patches_nbytes(op)) : 0);
  op->scratch_nbytes = w->weights_offset + (grad > ordered ? grad : ordered);
}

static gd_err prepare(gd_op *op) {
  gd_err err = GD_OK;
  gd_weighted *w = op->state = GD_NEW(gd_weighted);
  bool strided = is_strided_pointwise(op);
  w->forward_on_patches = strided || is_better_on_patches(op, gd_dnnl_has_amx() ? SMALL_MAP : 0);
  w->weights_on_patches = strided || is_better_on_patches(op, gd_dnnl_has_amx() ? 4 * SMALL_MAP : SMALL_MAP);
  gd_descs matrix = describe_linear(op), own = op->node->kind == &gd_op_conv ? describe_conv(op) : matrix;
  GD_TRY(prepare_forward(op, w, w->forward_on_patches ? &matrix : &own));
  if (op->wants_dx[0]) GD_TRY(prepare_backward_data(op, w, strided ? &matrix : &own));
  if (op->training) GD_TRY(prepare_backward_weights(op, w, w->weights_on_patches ? &matrix : &own));
  lay_out_scratch(op, w);
done:
  return err;
}

static void *patches_of(const gd_op *op) {
  return (char *)op->scratch + ((const gd_weighted *)op->state)->patches_offset;
}

// The input as a primitive wants it.
static const void *gathered(const gd_op *op, bool on_patches) {
  if (!on_patches) return op->x[0];
  gd_patches_gather(op, patches_of(op));
  return patches_of(op);
}

static float *weights_scratch(const gd_op *op) {
  return (float *)((char *)op->scratch + ((const gd_weighted *)op->state)->weights_offset);
}

static const void *load_forward(const gd_op *op, gd_weighted *w) {
  const float *weights = gd_op_param(op, 0);
  if (!w->order_weights.primitive) return packed_load(&w->fwd_weights, weights);
  GD_REQUIRE(w->fwd_weights.memory);  // bfloat16: what is ordered in scratch is packed at once
  gd_reorder_run(&w->order_weights, weights, weights_scratch(op));
  return packed_load(&w->fwd_weights, weights_scratch(op));
}

static void load(gd_op *op, const float *params) {
  (void)params;
  gd_weighted *w = op->state;
  const void *packed = load_forward(op, w);
  gd_primitive_set(&w->forward, w->fwd_w, packed);
  if (op->node->attributes.bias) gd_primitive_set(&w->forward, w->fwd_b, gd_op_param(op, 1));
  if (!op->wants_dx[0]) return;
  if (!w->share_packed) packed = packed_load(&w->bwd_weights, gd_op_param(op, 0));
  gd_primitive_set(&w->backward_data, w->bwd_w, packed);
}

static void forward(gd_op *op) {
  gd_weighted *w = op->state;
  if (has_residual(op) && op->y != op->x[1])
    gd_tensor_convert(op->x_type[1], op->x[1], op->y_type, op->y, op->batch * gd_shape_count(op->out));
  gd_primitive_set(&w->forward, w->fwd_x, gathered(op, w->forward_on_patches));
  gd_primitive_set(&w->forward, w->fwd_y, op->y);
  gd_primitive_run(&w->forward, op);
}

static void run_backward_weights(gd_op *op, float *grads) {
  gd_weighted *w = op->state;
  float *plain = gd_op_grad(op, grads, 0);
  float *packed = w->unpack_grad.primitive ? weights_scratch(op) : NULL;
  gd_primitive_set(&w->backward_weights, w->grad_x, gathered(op, w->weights_on_patches));
  gd_primitive_set(&w->backward_weights, w->grad_dy, op->dy);
  gd_primitive_set(&w->backward_weights, w->grad_w, packed ? packed : plain);
  if (op->node->attributes.bias) gd_primitive_set(&w->backward_weights, w->grad_b, gd_op_grad(op, grads, 1));
  gd_primitive_run(&w->backward_weights, op);
  if (packed) gd_reorder_run(&w->unpack_grad, packed, plain);
}

static void run_backward_data(gd_op *op) {
  gd_weighted *w = op->state;
  bool strided = is_strided_pointwise(op);
  gd_primitive_set(&w->backward_data, w->bwd_dy, op->dy);
  gd_primitive_set(&w->backward_data, w->bwd_dx, strided ? patches_of(op) : op->dx[0]);
  gd_primitive_run(&w->backward_data, op);
  if (strided) gd_patches_spread(op, patches_of(op));
}

static void backward(gd_op *op, float *grads) {
  double start = gd_seconds();
  run_backward_weights(op, grads);
  op->seconds_weights += gd_seconds() - start;
  if (op->dx[0]) run_backward_data(op);
}

static void release(gd_op *op) {
  gd_weighted *w = op->state;
  if (!w) return;
  gd_primitive_release(&w->forward);
  gd_primitive_release(&w->backward_data);
  gd_primitive_release(&w->backward_weights);
  packed_release(&w->fwd_weights);
  packed_release(&w->bwd_weights);
  gd_reorder_release(&w->unpack_grad);
  gd_reorder_release(&w->order_weights);
  gd_free(w);
}

const gd_op_class gd_op_conv = {.kind = "convolution",
                                .special = &gd_op_winograd,
                                .backward_reads_inputs = 1,
                                .overwrites_inputs = 2,
                                .passes_gradient = 2,
                                .bfloat16 = true,
                                .may_write_float32 = true,
                                .prepare = prepare,
                                .load = load,
                                .forward = forward,
                                .backward = backward,
                                .release = release};

const gd_op_class gd_op_linear = {.kind = "linear",
                                  .backward_reads_inputs = 1,
                                  .overwrites_inputs = 2,
                                  .passes_gradient = 2,
                                  .bfloat16 = true,
                                  .may_write_float32 = true,
                                  .prepare = prepare,
                                  .load = load,
                                  .forward = forward,
                                  .backward = backward,
                                  .release = release};
