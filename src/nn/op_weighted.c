/* Convolution and linear: the ops with weights that oneDNN wants in layouts of its own.
 *
 * A load reorders the flat array's weights into what the forward and the backward-data primitive want; backward
 * reorders the weight gradient back. Where oneDNN is content with the plain layout, the flat arrays are used as they
 * are. Linear works on a matrix with a row per pixel. */
#include <string.h>

#include "nn/dnnl.h"

// Weights in the layout of one primitive: packed on load, or the flat array's own.
typedef struct gd_packed {
  gd_reorder reorder;
  void *memory;
} gd_packed;

typedef struct gd_weighted {
  gd_primitive forward, backward_data, backward_weights;
  int fwd_x, fwd_w, fwd_b, fwd_y;
  int bwd_dy, bwd_w, bwd_dx;
  int grad_x, grad_dy, grad_w, grad_b;
  gd_packed fwd_weights, bwd_weights;  // bwd_weights is unused where the layouts are the same
  bool share_packed;
  gd_packed weight_grad;
} gd_weighted;

// The three operation descriptors that differ between convolution and linear.
typedef struct gd_descs {
  dnnl_convolution_desc_t conv[3];
  dnnl_inner_product_desc_t linear[3];
  const_dnnl_op_desc_t forward, backward_data, backward_weights;
  dnnl_memory_desc_t x, y, plain_weights, bias;
} gd_descs;

// A strided 1x1 convolution reads one pixel of each stride x stride: those are copied together, and the convolution
// runs on the copy without a stride. oneDNN's own strided weight gradient overruns its scratch on channels-last data of
// fewer channels than one vector block, 8 or 16 (oneDNN issue 6035).
static bool reads_samples(const gd_op *op) {
  const gd_attributes *a = &op->node->attributes;
  return op->node->kind == &gd_op_conv && a->kernel[0] == 1 && a->kernel[1] == 1 && a->stride > 1;
}

static gd_shape samples_shape(const gd_op *op) {
  return (gd_shape){op->out.h, op->out.w, op->in[0].c};
}

// x: (N, H, W, C), samples: (N, H', W', C) with the output's H' and W'.
static void take_samples(const gd_op *op, const float *x, float *samples) {
  int stride = op->node->attributes.stride, c = op->in[0].c;
  int64_t rows = (int64_t)op->batch * op->out.h;
#pragma omp parallel for
  for (int64_t r = 0; r < rows; r++) {
    int64_t image = r / op->out.h, h = r % op->out.h * stride;
    const float *row = x + (image * op->in[0].h + h) * op->in[0].w * c;
    for (int w = 0; w < op->out.w; w++)
      memcpy(samples + (r * op->out.w + w) * c, row + (int64_t)w * stride * c, (size_t)c * sizeof(float));
  }
}

// The way back: every other pixel of x becomes zero.
static void spread_samples(const gd_op *op, const float *samples, float *x) {
  int stride = op->node->attributes.stride, c = op->in[0].c;
  int64_t rows = (int64_t)op->batch * op->in[0].h;
#pragma omp parallel for
  for (int64_t r = 0; r < rows; r++) {
    int64_t image = r / op->in[0].h, h = r % op->in[0].h;
    float *row = x + r * op->in[0].w * c;
    memset(row, 0, (size_t)op->in[0].w * (size_t)c * sizeof(float));
    if (h % stride > 0) continue;
    const float *from = samples + (image * op->out.h + h / stride) * op->out.w * c;
    for (int w = 0; w < op->out.w; w++)
      memcpy(row + (int64_t)w * stride * c, from + (int64_t)w * c, (size_t)c * sizeof(float));
  }
}

static void describe_conv(const gd_op *op, gd_descs *d) {
  const gd_attributes *a = &op->node->attributes;
  bool sampled = reads_samples(op);
  int stride = sampled ? 1 : a->stride;
  dnnl_dims_t weights = {op->out.c, op->in[0].c, a->kernel[0], a->kernel[1]};
  dnnl_dims_t strides = {stride, stride}, pad = {a->pad[0], a->pad[1]};
  dnnl_memory_desc_t w, b = {0};
  d->x = gd_dnnl_nhwc(op->batch, sampled ? samples_shape(op) : op->in[0]);
  d->y = gd_dnnl_nhwc(op->batch, op->out);
  GD_DNNL(dnnl_memory_desc_init_by_tag(&w, 4, weights, dnnl_f32, dnnl_format_tag_any));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&d->plain_weights, 4, weights, dnnl_f32, dnnl_oihw));
  if (a->bias) b = gd_dnnl_vector(op->out.c);
  d->bias = b;
  const dnnl_memory_desc_t *bias = a->bias ? &b : NULL;
  GD_DNNL(dnnl_convolution_forward_desc_init(&d->conv[0], op->training ? dnnl_forward_training : dnnl_forward_inference,
                                             dnnl_convolution_direct, &d->x, &w, bias, &d->y, strides, pad, pad));
  GD_DNNL(dnnl_convolution_backward_data_desc_init(&d->conv[1], dnnl_convolution_direct, &d->x, &w, &d->y, strides, pad,
                                                   pad));
  GD_DNNL(dnnl_convolution_backward_weights_desc_init(&d->conv[2], dnnl_convolution_direct, &d->x, &w, bias, &d->y,
                                                      strides, pad, pad));
  d->forward = &d->conv[0];
  d->backward_data = &d->conv[1];
  d->backward_weights = &d->conv[2];
}

static void describe_linear(const gd_op *op, gd_descs *d) {
  dnnl_dims_t weights = {op->out.c, op->in[0].c};
  dnnl_memory_desc_t w;
  d->x = gd_dnnl_rows(op->batch, op->in[0]);
  d->y = gd_dnnl_rows(op->batch, op->out);
  GD_DNNL(dnnl_memory_desc_init_by_tag(&w, 2, weights, dnnl_f32, dnnl_format_tag_any));
  GD_DNNL(dnnl_memory_desc_init_by_tag(&d->plain_weights, 2, weights, dnnl_f32, dnnl_oi));
  d->bias = gd_dnnl_vector(op->out.c);
  GD_DNNL(dnnl_inner_product_forward_desc_init(
      &d->linear[0], op->training ? dnnl_forward_training : dnnl_forward_inference, &d->x, &w, &d->bias, &d->y));
  GD_DNNL(dnnl_inner_product_backward_data_desc_init(&d->linear[1], &d->x, &w, &d->y));
  GD_DNNL(dnnl_inner_product_backward_weights_desc_init(&d->linear[2], &d->x, &w, &d->bias, &d->y));
  d->forward = &d->linear[0];
  d->backward_data = &d->linear[1];
  d->backward_weights = &d->linear[2];
}

static void packed_create(gd_packed *packed, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                          const dnnl_memory_desc_t *packed_md) {
  if (!gd_reorder_needed(from, to)) return;
  gd_reorder_create(&packed->reorder, from, to);
  packed->memory = gd_alloc_zero(dnnl_memory_desc_get_size(packed_md));
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
  gd_err err = gd_primitive_create(&w->forward, op, d->forward, NULL);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->forward, dnnl_query_weights_md, 0);
  packed_create(&w->fwd_weights, &d->plain_weights, md, md);
  w->fwd_x = gd_primitive_arg(&w->forward, DNNL_ARG_SRC, &d->x);
  w->fwd_w = gd_primitive_arg(&w->forward, DNNL_ARG_WEIGHTS, md);
  if (op->node->attributes.bias) w->fwd_b = gd_primitive_arg(&w->forward, DNNL_ARG_BIAS, &d->bias);
  w->fwd_y = gd_primitive_arg(&w->forward, DNNL_ARG_DST, &d->y);
  return GD_OK;
}

static gd_err prepare_backward_data(gd_op *op, gd_weighted *w, const gd_descs *d) {
  gd_err err = gd_primitive_create(&w->backward_data, op, d->backward_data, w->forward.desc);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->backward_data, dnnl_query_weights_md, 0);
  w->share_packed = !gd_reorder_needed(gd_primitive_md(&w->forward, dnnl_query_weights_md, 0), md);
  if (!w->share_packed) packed_create(&w->bwd_weights, &d->plain_weights, md, md);
  w->bwd_dy = gd_primitive_arg(&w->backward_data, DNNL_ARG_DIFF_DST, &d->y);
  w->bwd_w = gd_primitive_arg(&w->backward_data, DNNL_ARG_WEIGHTS, md);
  w->bwd_dx = gd_primitive_arg(&w->backward_data, DNNL_ARG_DIFF_SRC, &d->x);
  return GD_OK;
}

static gd_err prepare_backward_weights(gd_op *op, gd_weighted *w, const gd_descs *d) {
  gd_err err = gd_primitive_create(&w->backward_weights, op, d->backward_weights, w->forward.desc);
  if (err != GD_OK) return err;
  const dnnl_memory_desc_t *md = gd_primitive_md(&w->backward_weights, dnnl_query_diff_weights_md, 0);
  packed_create(&w->weight_grad, md, &d->plain_weights, md);
  w->grad_x = gd_primitive_arg(&w->backward_weights, DNNL_ARG_SRC, &d->x);
  w->grad_dy = gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_DST, &d->y);
  w->grad_w = gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_WEIGHTS, md);
  if (op->node->attributes.bias) w->grad_b = gd_primitive_arg(&w->backward_weights, DNNL_ARG_DIFF_BIAS, &d->bias);
  return GD_OK;
}

static gd_err prepare(gd_op *op) {
  gd_err err = GD_OK;
  gd_descs d;
  if (op->node->kind == &gd_op_conv)
    describe_conv(op, &d);
  else
    describe_linear(op, &d);
  gd_weighted *w = op->state = GD_NEW(gd_weighted);
  GD_TRY(prepare_forward(op, w, &d));
  if (op->wants_dx[0]) GD_TRY(prepare_backward_data(op, w, &d));
  if (op->training) GD_TRY(prepare_backward_weights(op, w, &d));
  if (reads_samples(op))
    op->saved_nbytes = (size_t)op->batch * (size_t)gd_shape_count(samples_shape(op)) * sizeof(float);
done:
  return err;
}

static void load(gd_op *op, const float *params) {
  (void)params;
  gd_weighted *w = op->state;
  const void *packed = packed_load(&w->fwd_weights, gd_op_param(op, 0));
  gd_primitive_set(&w->forward, w->fwd_w, packed);
  if (op->node->attributes.bias) gd_primitive_set(&w->forward, w->fwd_b, gd_op_param(op, 1));
  if (!op->wants_dx[0]) return;
  if (!w->share_packed) packed = packed_load(&w->bwd_weights, gd_op_param(op, 0));
  gd_primitive_set(&w->backward_data, w->bwd_w, packed);
}

static void forward(gd_op *op) {
  gd_weighted *w = op->state;
  if (reads_samples(op)) take_samples(op, op->x[0], op->saved);
  gd_primitive_set(&w->forward, w->fwd_x, reads_samples(op) ? op->saved : op->x[0]);
  gd_primitive_set(&w->forward, w->fwd_y, op->y);
  gd_primitive_run(&w->forward, op);
}

static void run_backward_weights(gd_op *op, float *grads) {
  gd_weighted *w = op->state;
  float *plain = gd_op_grad(op, grads, 0);
  gd_primitive_set(&w->backward_weights, w->grad_x, reads_samples(op) ? op->saved : op->x[0]);
  gd_primitive_set(&w->backward_weights, w->grad_dy, op->dy);
  gd_primitive_set(&w->backward_weights, w->grad_w, w->weight_grad.memory ? w->weight_grad.memory : plain);
  if (op->node->attributes.bias) gd_primitive_set(&w->backward_weights, w->grad_b, gd_op_grad(op, grads, 1));
  gd_primitive_run(&w->backward_weights, op);
  if (w->weight_grad.memory) gd_reorder_run(&w->weight_grad.reorder, w->weight_grad.memory, plain);
}

static void run_backward_data(gd_op *op) {
  gd_weighted *w = op->state;
  bool sampled = reads_samples(op);  // the samples have served: their memory takes their gradient
  gd_primitive_set(&w->backward_data, w->bwd_dy, op->dy);
  gd_primitive_set(&w->backward_data, w->bwd_dx, sampled ? op->saved : op->dx[0]);
  gd_primitive_run(&w->backward_data, op);
  if (sampled) spread_samples(op, op->saved, op->dx[0]);
}

static void backward(gd_op *op, float *grads) {
  run_backward_weights(op, grads);
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
  packed_release(&w->weight_grad);
  gd_free(w);
}

const gd_op_class gd_op_conv = {.kind = "convolution",
                                .backward_reads_inputs = 1,
                                .prepare = prepare,
                                .load = load,
                                .forward = forward,
                                .backward = backward,
                                .release = release};

const gd_op_class gd_op_linear = {.kind = "linear",
                                  .backward_reads_inputs = 1,
                                  .prepare = prepare,
                                  .load = load,
                                  .forward = forward,
                                  .backward = backward,
                                  .release = release};
