/* See dnnl_generation.h. The only file that differs between oneDNN 2.x and 3.x. */
#include "nn/dnnl_generation.h"

#include <string.h>

#include "nn/dnnl.h"

/* ---- Layouts ---- */

// Networks have a few hundred of them, so they are kept for the life of the process.
typedef struct kept_layout {
  int n_dims;
  dnnl_dims_t dims;
  dnnl_data_type_t type;
  dnnl_format_tag_t tag;
  dnnl_memory_desc_t md;
  struct kept_layout *next;
} kept_layout;

static kept_layout *layouts;

static gd_md as_md(const kept_layout *layout) {
#if DNNL_VERSION_MAJOR >= 3
  return layout->md;
#else
  return &layout->md;
#endif
}

static dnnl_status_t create_md(kept_layout *layout) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl_memory_desc_create_with_tag(&layout->md, layout->n_dims, layout->dims, layout->type, layout->tag);
#else
  return dnnl_memory_desc_init_by_tag(&layout->md, layout->n_dims, layout->dims, layout->type, layout->tag);
#endif
}

gd_md gd_md_get(int n_dims, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
  size_t nbytes = (size_t)n_dims * sizeof *dims;
  for (const kept_layout *l = layouts; l; l = l->next)
    if (l->n_dims == n_dims && l->type == type && l->tag == tag && memcmp(l->dims, dims, nbytes) == 0) return as_md(l);
  kept_layout *layout = GD_NEW(kept_layout);
  *layout = (kept_layout){.n_dims = n_dims, .type = type, .tag = tag, .next = layouts};
  memcpy(layout->dims, dims, nbytes);
  GD_DNNL(create_md(layout));
  layouts = layout;
  return as_md(layout);
}

/* ---- Passes ---- */

static dnnl_prop_kind_t forward_kind(const gd_operation *o) {
  return o->training ? dnnl_forward_training : dnnl_forward_inference;
}

#if DNNL_VERSION_MAJOR >= 3

static const dnnl_dims_t no_dilation;

static dnnl_status_t describe_convolution(dnnl_primitive_desc_t *out, const gd_operation *o, gd_pass pass,
                                          const_dnnl_primitive_attr_t attr, const_dnnl_primitive_desc_t hint) {
  dnnl_engine_t engine = gd_dnnl_engine();
  if (pass == GD_PASS_BACKWARD_DATA)
    return dnnl_convolution_backward_data_primitive_desc_create(out, engine, o->algorithm, o->x, o->weights, o->dy,
                                                                o->strides, no_dilation, o->pad, o->pad, hint, attr);
  if (pass == GD_PASS_BACKWARD_WEIGHTS)
    return dnnl_convolution_backward_weights_primitive_desc_create(out, engine, o->algorithm, o->x, o->dweights,
                                                                   o->bias, o->dy, o->strides, no_dilation, o->pad,
                                                                   o->pad, hint, attr);
  return dnnl_convolution_forward_primitive_desc_create(out, engine, forward_kind(o), o->algorithm, o->x, o->weights,
                                                        o->bias, o->y, o->strides, no_dilation, o->pad, o->pad, attr);
}

static dnnl_status_t describe_product(dnnl_primitive_desc_t *out, const gd_operation *o, gd_pass pass,
                                      const_dnnl_primitive_attr_t attr, const_dnnl_primitive_desc_t hint) {
  dnnl_engine_t engine = gd_dnnl_engine();
  if (pass == GD_PASS_BACKWARD_DATA)
    return dnnl_inner_product_backward_data_primitive_desc_create(out, engine, o->x, o->weights, o->dy, hint, attr);
  if (pass == GD_PASS_BACKWARD_WEIGHTS)
    return dnnl_inner_product_backward_weights_primitive_desc_create(out, engine, o->x, o->dweights, o->bias, o->dy,
                                                                     hint, attr);
  return dnnl_inner_product_forward_primitive_desc_create(out, engine, forward_kind(o), o->x, o->weights, o->bias, o->y,
                                                          attr);
}

static dnnl_status_t describe_pooling(dnnl_primitive_desc_t *out, const gd_operation *o, gd_pass pass,
                                      const_dnnl_primitive_attr_t attr, const_dnnl_primitive_desc_t hint) {
  if (pass == GD_PASS_FORWARD)
    return dnnl_pooling_forward_primitive_desc_create(out, gd_dnnl_engine(), forward_kind(o), o->algorithm, o->x, o->y,
                                                      o->strides, o->kernel, no_dilation, o->pad, o->pad, attr);
  return dnnl_pooling_backward_primitive_desc_create(out, gd_dnnl_engine(), o->algorithm, o->x, o->dy, o->strides,
                                                     o->kernel, no_dilation, o->pad, o->pad, hint, attr);
}

static dnnl_status_t describe_first(dnnl_primitive_desc_t *out, const gd_operation *o, gd_pass pass,
                                    const_dnnl_primitive_attr_t attr, const_dnnl_primitive_desc_t hint) {
  if (o->kind == dnnl_convolution) return describe_convolution(out, o, pass, attr, hint);
  if (o->kind == dnnl_inner_product) return describe_product(out, o, pass, attr, hint);
  if (o->kind == dnnl_pooling) return describe_pooling(out, o, pass, attr, hint);
  return dnnl_matmul_primitive_desc_create(out, gd_dnnl_engine(), o->x, o->weights, o->bias, o->y, attr);
}

#else

typedef union any_desc {
  dnnl_convolution_desc_t convolution;
  dnnl_inner_product_desc_t product;
  dnnl_pooling_desc_t pooling;
  dnnl_matmul_desc_t matmul;
} any_desc;

static dnnl_status_t fill_convolution(any_desc *desc, const gd_operation *o, gd_pass pass) {
  dnnl_convolution_desc_t *d = &desc->convolution;
  if (pass == GD_PASS_BACKWARD_DATA)
    return dnnl_convolution_backward_data_desc_init(d, o->algorithm, o->x, o->weights, o->dy, o->strides, o->pad,
                                                    o->pad);
  if (pass == GD_PASS_BACKWARD_WEIGHTS)
    return dnnl_convolution_backward_weights_desc_init(d, o->algorithm, o->x, o->dweights, o->bias, o->dy, o->strides,
                                                       o->pad, o->pad);
  return dnnl_convolution_forward_desc_init(d, forward_kind(o), o->algorithm, o->x, o->weights, o->bias, o->y,
                                            o->strides, o->pad, o->pad);
}

static dnnl_status_t fill_product(any_desc *desc, const gd_operation *o, gd_pass pass) {
  dnnl_inner_product_desc_t *d = &desc->product;
  if (pass == GD_PASS_BACKWARD_DATA) return dnnl_inner_product_backward_data_desc_init(d, o->x, o->weights, o->dy);
  if (pass == GD_PASS_BACKWARD_WEIGHTS)
    return dnnl_inner_product_backward_weights_desc_init(d, o->x, o->dweights, o->bias, o->dy);
  return dnnl_inner_product_forward_desc_init(d, forward_kind(o), o->x, o->weights, o->bias, o->y);
}

static dnnl_status_t fill_pooling(any_desc *desc, const gd_operation *o, gd_pass pass) {
  dnnl_pooling_desc_t *d = &desc->pooling;
  if (pass == GD_PASS_FORWARD)
    return dnnl_pooling_forward_desc_init(d, forward_kind(o), o->algorithm, o->x, o->y, o->strides, o->kernel, o->pad,
                                          o->pad);
  return dnnl_pooling_backward_desc_init(d, o->algorithm, o->x, o->dy, o->strides, o->kernel, o->pad, o->pad);
}

static dnnl_status_t fill_desc(any_desc *desc, const gd_operation *o, gd_pass pass) {
  if (o->kind == dnnl_convolution) return fill_convolution(desc, o, pass);
  if (o->kind == dnnl_inner_product) return fill_product(desc, o, pass);
  if (o->kind == dnnl_pooling) return fill_pooling(desc, o, pass);
  return dnnl_matmul_desc_init(&desc->matmul, o->x, o->weights, o->bias, o->y);
}

#endif

static const char *implementation_name(const_dnnl_primitive_desc_t desc) {
  const char *name = "";
  GD_DNNL(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name));
  return name;
}

// oneDNN lists its implementations in an order of preference.
dnnl_status_t gd_describe_pass(dnnl_primitive_desc_t *out, const gd_operation *operation, gd_pass pass,
                               const_dnnl_primitive_attr_t attr, const_dnnl_primitive_desc_t hint,
                               bool (*skips)(const char *name)) {
#if DNNL_VERSION_MAJOR >= 3
  dnnl_status_t status = describe_first(out, operation, pass, attr, hint);
  if (status != dnnl_success) return status;
  if (skips && skips(implementation_name(*out))) dnnl_primitive_desc_next_impl(*out);  // unchanged behind the last
  return dnnl_success;
#else
  any_desc desc;
  dnnl_primitive_desc_iterator_t iterator;
  dnnl_status_t status = fill_desc(&desc, operation, pass);
  if (status == dnnl_success)
    status = dnnl_primitive_desc_iterator_create(&iterator, &desc, attr, gd_dnnl_engine(), hint);
  if (status != dnnl_success) return status;
  *out = dnnl_primitive_desc_iterator_fetch(iterator);
  if (!*out) return dnnl_out_of_memory;
  if (skips && skips(implementation_name(*out)) && dnnl_primitive_desc_iterator_next(iterator) == dnnl_success) {
    GD_DNNL(dnnl_primitive_desc_destroy(*out));
    *out = dnnl_primitive_desc_iterator_fetch(iterator);
  }
  GD_DNNL(dnnl_primitive_desc_iterator_destroy(iterator));
  return dnnl_success;
#endif
}

dnnl_status_t gd_append_sum(dnnl_post_ops_t post_ops) {
#if DNNL_VERSION_MAJOR >= 3
  return dnnl_post_ops_append_sum(post_ops, 1.0f, 0, dnnl_data_type_undef);
#else
  return dnnl_post_ops_append_sum(post_ops, 1.0f);
#endif
}

bool gd_pointwise_is_product(void) {
  return DNNL_VERSION_MAJOR >= 3;
}
