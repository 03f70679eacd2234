/* Convolution. Each of its three passes is either oneDNN's direct convolution or a matrix product on patches
 * (patches.h), whichever is faster:
 *
 *                                            forward           backward data    backward weights
 *   1 x 1 filters with a stride              patches           patches          patches
 *   1 x 1 filters, oneDNN 3.x                product           product          product
 *   larger filters, bfloat16, few pixels     patches if AMX    direct           patches
 *   all others                               direct            direct           direct
 *
 * 1 x 1 filters without a stride need no patches for a product: the input's pixels are its rows.
 *
 * A second input is a residual, which is added to y. See weighted.h. op_winograd.c has the special class for 3 x 3
 * filters. */
#include "nn/bfloat16.h"
#include "nn/patches.h"
#include "nn/weighted.h"

enum {
  // Output pixels up to which a bfloat16 convolution is faster on patches. Measured with oneDNN 2.6, batches of 64:
  FORWARD_PIXELS_AMX = 4 * 4,  // 4 x 4: 5.7 ms to a third of it
  WEIGHTS_PIXELS_AMX = 8 * 8,  // 4 x 4: 16.6 to 1.7 ms, 8 x 8: 5.3 to 2.1 ms
  WEIGHTS_PIXELS = 4 * 4,      // AVX512_BF16 on two cores, 4 x 4: 600 to 720 GFLOP/s
  SMALL_MAP = 4 * 4,           // output pixels: see is_slow_on_small_maps in dnnl.c
};

typedef struct gd_conv {
  gd_weighted weighted;
  bool forward_is_product, data_is_product, weights_are_product;  // on patches, or else on the input itself
  gd_reorder order_weights;  // of forward on patches, before the weights are packed
  size_t patches_offset;     // in scratch
  size_t weights_offset;     // in scratch: reordered weights, or dW before it is unpacked
} gd_conv;

// ---- Prepare

static bool is_pointwise(const gd_op *op) {
  return op->node->attributes.kernel[0] * op->node->attributes.kernel[1] == 1;
}

static bool is_small_bfloat16(const gd_op *op, int max_pixels) {
  return op->x_type[0] == GD_BFLOAT16 && !is_pointwise(op) && op->out.h * op->out.w <= max_pixels;
}

static bool has_patches(const gd_op *op) {
  return !is_pointwise(op) || op->node->attributes.stride > 1;
}

static void choose_passes(const gd_op *op, gd_conv *conv) {
  bool pointwise = is_pointwise(op) && (has_patches(op) || gd_pointwise_is_product()), amx = gd_dnnl_has_amx();
  conv->forward_is_product = pointwise || (amx && is_small_bfloat16(op, FORWARD_PIXELS_AMX));
  conv->data_is_product = pointwise;
  conv->weights_are_product = pointwise || is_small_bfloat16(op, amx ? WEIGHTS_PIXELS_AMX : WEIGHTS_PIXELS);
}

static gd_weighted_descs describe_direct(const gd_op *op) {
  const gd_attributes *a = &op->node->attributes;
  dnnl_dims_t dims = {op->out.c, op->in[0].c, a->kernel[0], a->kernel[1]};
  return (gd_weighted_descs){
      .operation = {.kind = dnnl_convolution,
                    .algorithm = dnnl_convolution_direct,
                    .training = op->training,
                    .x = gd_dnnl_nhwc(op->batch, op->in[0], op->x_type[0]),
                    .weights = gd_md_get(4, dims, gd_dnnl_type(op->x_type[0]), dnnl_format_tag_any),
                    .bias = a->bias ? gd_dnnl_vector(op->out.c) : NULL,
                    .y = gd_dnnl_nhwc(op->batch, op->out, op->y_type),
                    .dy = gd_dnnl_nhwc(op->batch, op->out, op->dy_type),
                    .dweights = gd_md_get(4, dims, dnnl_f32, dnnl_format_tag_any),
                    .strides = {a->stride, a->stride},
                    .pad = {a->pad[0], a->pad[1]}},
      .flat_weights = gd_md_get(4, dims, dnnl_f32, dnnl_oihw),
      .small_map = a->kernel[0] > 1 && op->out.h * op->out.w <= SMALL_MAP};
}

// Reorders weights between the flat layout (O, I, kh, kw) and that of patches (O, kh, kw, I); nothing for 1 x 1
// filters, where both are the same.
static void create_weight_order(gd_reorder *out, const gd_op *op, bool to_patches) {
  const gd_attributes *a = &op->node->attributes;
  dnnl_dims_t dims = {op->out.c, op->in[0].c, a->kernel[0], a->kernel[1]};
  gd_md flat = gd_md_get(4, dims, dnnl_f32, dnnl_oihw), patches = gd_md_get(4, dims, dnnl_f32, dnnl_ohwi);
  if (!is_pointwise(op)) gd_reorder_create(out, to_patches ? flat : patches, to_patches ? patches : flat);
}

static void append_scratch(gd_op *op, gd_conv *conv) {
  bool patches = has_patches(op) && (conv->forward_is_product || (op->training && conv->weights_are_product));
  size_t ordered = (size_t)op->out.c * (size_t)gd_patch_columns(op) * sizeof(float);
  if (!conv->order_weights.primitive) ordered = 0;
  size_t gradient = gd_weighted_gradient_nbytes(&conv->weighted);
  conv->patches_offset = gd_scratch_append(op, patches ? gd_patches_nbytes(op) : 0);
  conv->weights_offset = gd_scratch_append(op, gradient > ordered ? gradient : ordered);
}

static gd_err conv_prepare(gd_op *op) {
  gd_err err = GD_OK;
  gd_conv *conv = op->state = GD_NEW(gd_conv);
  gd_weighted *w = &conv->weighted;
  choose_passes(op, conv);
  gd_weighted_descs direct = describe_direct(op);
  gd_weighted_descs product = gd_weighted_describe_product(op, gd_patch_columns(op), dnnl_oi);
  GD_TRY(gd_weighted_prepare_forward(op, w, conv->forward_is_product ? &product : &direct));
  if (conv->forward_is_product) create_weight_order(&conv->order_weights, op, true);
  if (op->wants_dx[0]) GD_TRY(gd_weighted_prepare_backward_data(op, w, conv->data_is_product ? &product : &direct));
  if (op->training) {
    GD_TRY(gd_weighted_prepare_backward_weights(op, w, conv->weights_are_product ? &product : &direct));
    if (conv->weights_are_product) create_weight_order(&w->unpack_gradient, op, false);
  }
  append_scratch(op, conv);
done:
  return err;
}

// ---- Load and run

static void *patches_of(const gd_op *op) {
  return (char *)op->scratch + ((const gd_conv *)op->state)->patches_offset;
}

static float *weights_scratch(const gd_op *op) {
  return (float *)((char *)op->scratch + ((const gd_conv *)op->state)->weights_offset);
}

static const float *order_weights(const gd_op *op, gd_conv *conv) {
  if (!conv->order_weights.primitive) return gd_op_param(op, 0);
  GD_REQUIRE(conv->weighted.forward_weights.memory);  // bfloat16: packed before scratch is used again
  gd_reorder_run(&conv->order_weights, gd_op_param(op, 0), weights_scratch(op));
  return weights_scratch(op);
}

static void conv_load(gd_op *op, const float *params) {
  (void)params;
  gd_conv *conv = op->state;
  gd_weighted_load(op, &conv->weighted, order_weights(op, conv));
}

static const void *conv_input(const gd_op *op, bool is_product) {
  if (!is_product || !has_patches(op)) return op->x[0];
  gd_patches_gather(op, patches_of(op));
  return patches_of(op);
}

static void conv_forward(gd_op *op) {
  gd_conv *conv = op->state;
  gd_weighted_run_forward(op, &conv->weighted, conv_input(op, conv->forward_is_product));
}

static void conv_backward_data(gd_op *op, gd_conv *conv) {
  bool spreads = conv->data_is_product && has_patches(op);
  gd_weighted_run_backward_data(op, &conv->weighted, spreads ? patches_of(op) : op->dx[0]);
  if (spreads) gd_patches_spread(op, patches_of(op));
}

static void conv_backward(gd_op *op, float *grads) {
  gd_conv *conv = op->state;
  double start = gd_seconds();
  const void *x = conv_input(op, conv->weights_are_product);
  gd_weighted_run_backward_weights(op, &conv->weighted, x, weights_scratch(op), grads);
  op->seconds_weights += gd_seconds() - start;
  if (op->dx[0]) conv_backward_data(op, conv);
}

static void conv_release(gd_op *op) {
  gd_conv *conv = op->state;
  if (!conv) return;
  gd_weighted_release(&conv->weighted);
  gd_reorder_release(&conv->order_weights);
  gd_free(conv);
}

const gd_op_class gd_op_conv = {.kind = "convolution",
                                .special = &gd_op_winograd,
                                .backward_reads_inputs = 1,
                                .overwrites_inputs = 2,
                                .passes_gradient = 2,
                                .bfloat16 = true,
                                .may_write_float32 = true,
                                .prepare = conv_prepare,
                                .load = conv_load,
                                .forward = conv_forward,
                                .backward = conv_backward,
                                .release = conv_release};
