/* Engine, stream, primitives and reorders: see dnnl.h. */
#include "nn/dnnl.h"

#include <string.h>

static dnnl_engine_t engine;
static dnnl_stream_t stream;

dnnl_engine_t gd_dnnl_engine(void) {
  if (!engine) {
    GD_DNNL(dnnl_engine_create(&engine, dnnl_cpu, 0));
    GD_DNNL(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
  }
  return engine;
}

bool gd_dnnl_has_isa(dnnl_cpu_isa_t isa) {
#ifdef __x86_64__
  return (dnnl_get_effective_cpu_isa() & isa) == isa;
#else
  (void)isa;
  return false;
#endif
}

bool gd_dnnl_has_avx512(void) {
  return gd_dnnl_has_isa(dnnl_cpu_isa_avx512_core);
}

bool gd_dnnl_has_amx(void) {
  return gd_dnnl_has_isa(dnnl_cpu_isa_avx512_core_amx);
}

dnnl_data_type_t gd_dnnl_type(gd_precision type) {
  return type == GD_BFLOAT16 ? dnnl_bf16 : dnnl_f32;
}

gd_md gd_dnnl_nhwc(int batch, gd_shape shape, gd_precision type) {
  return gd_md_get(4, (dnnl_dims_t){batch, shape.c, shape.h, shape.w}, gd_dnnl_type(type), dnnl_nhwc);
}

gd_md gd_dnnl_rows(int batch, gd_shape shape, gd_precision type) {
  return gd_md_get(2, (dnnl_dims_t){(int64_t)batch * shape.h * shape.w, shape.c}, gd_dnnl_type(type), dnnl_nc);
}

gd_md gd_dnnl_vector(int64_t n) {
  return gd_md_get(1, (dnnl_dims_t){n}, dnnl_f32, dnnl_a);
}

// oneDNN crashes when it gets no memory for the code that it generates: fail here instead.
static dnnl_status_t create_primitive(dnnl_primitive_t *out, const_dnnl_primitive_desc_t desc) {
  enum { ROOM = 4 << 20 };
  gd_free(gd_alloc(ROOM));
  return dnnl_primitive_create(out, desc);
}

static dnnl_primitive_attr_t attributes_create(bool accumulates) {
  dnnl_primitive_attr_t attr;
  GD_DNNL(dnnl_primitive_attr_create(&attr));
  GD_DNNL(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
  if (!accumulates) return attr;
  dnnl_post_ops_t post_ops;
  GD_DNNL(dnnl_post_ops_create(&post_ops));
  GD_DNNL(gd_append_sum(post_ops));
  GD_DNNL(dnnl_primitive_attr_set_post_ops(attr, post_ops));
  GD_DNNL(dnnl_post_ops_destroy(post_ops));
  return attr;
}

// On maps of 4 x 4 pixels the AVX-512 convolutions made of small matrix products, which oneDNN prefers, take 1.5 to 2
// times as long as the plain ones that follow them in its list.
static bool is_slow_on_small_maps(const char *implementation) {
  return strncmp(implementation, "brgconv:", 8) == 0 && !strstr(implementation, "amx");
}

// oneDNN wants the description of a matching forward pass, which need not be the one that is used.
static dnnl_status_t describe_backward(dnnl_primitive_desc_t *out, const gd_operation *operation, gd_pass pass,
                                       const_dnnl_primitive_attr_t attr) {
  dnnl_primitive_desc_t hint = NULL;
  dnnl_status_t status = gd_describe_pass(&hint, operation, GD_PASS_FORWARD, NULL, NULL, NULL);
  if (status != dnnl_success) return status;
  status = gd_describe_pass(out, operation, pass, attr, hint, NULL);
  GD_DNNL(dnnl_primitive_desc_destroy(hint));
  return status;
}

gd_err gd_primitive_create(gd_primitive *out, gd_op *op, const gd_operation *operation, gd_pass pass,
                           gd_primitive_options options) {
  dnnl_primitive_attr_t attr = attributes_create(options.accumulates);
  dnnl_status_t status = pass == GD_PASS_FORWARD ? gd_describe_pass(&out->desc, operation, pass, attr, NULL,
                                                                    options.small_map ? is_slow_on_small_maps : NULL)
                                                 : describe_backward(&out->desc, operation, pass, attr);
  GD_DNNL(dnnl_primitive_attr_destroy(attr));
  if (status == dnnl_success) status = create_primitive(&out->primitive, out->desc);
  if (status == dnnl_out_of_memory) gd_out_of_memory("for oneDNN's %s", op->node->kind->kind);
  if (status != dnnl_success)
    return gd_error(GD_ERR_FAILED, "oneDNN has no %s for batch %d, %dx%dx%d -> %dx%dx%d (status %d)",
                    op->node->kind->kind, op->batch, op->in[0].h, op->in[0].w, op->in[0].c, op->out.h, op->out.w,
                    op->out.c, (int)status);
  gd_md md = gd_primitive_md(out, dnnl_query_scratchpad_md, 0);
  size_t nbytes = dnnl_memory_desc_get_size(md);
  if (nbytes > op->scratch_nbytes) op->scratch_nbytes = nbytes;
  gd_primitive_arg(out, DNNL_ARG_SCRATCHPAD, md);
  return GD_OK;
}

void gd_primitive_release(gd_primitive *primitive) {
  for (int i = 0; i < primitive->n_args; i++) dnnl_memory_destroy(primitive->args[i].memory);
  if (primitive->primitive) dnnl_primitive_destroy(primitive->primitive);
  if (primitive->desc) dnnl_primitive_desc_destroy(primitive->desc);
  *primitive = (gd_primitive){0};
}

gd_md gd_primitive_md(const gd_primitive *primitive, dnnl_query_t what, int index) {
  return dnnl_primitive_desc_query_md(primitive->desc, what, index);
}

void gd_primitive_arg(gd_primitive *primitive, int name, gd_md md) {
  GD_REQUIRE(primitive->n_args < GD_MAX_ARGS && md);
  dnnl_exec_arg_t *arg = &primitive->args[primitive->n_args++];
  arg->arg = name;
  GD_DNNL(dnnl_memory_create(&arg->memory, md, gd_dnnl_engine(), DNNL_MEMORY_NONE));
}

void gd_primitive_set(gd_primitive *primitive, int name, const void *data) {
  int i = 0;
  while (i < primitive->n_args && primitive->args[i].arg != name) i++;
  GD_REQUIRE(i < primitive->n_args);
  GD_DNNL(dnnl_memory_set_data_handle(primitive->args[i].memory, (void *)data));
}

void gd_primitive_run(gd_primitive *primitive, const gd_op *op) {
  gd_primitive_set(primitive, DNNL_ARG_SCRATCHPAD, op->scratch);
  GD_DNNL(dnnl_primitive_execute(primitive->primitive, stream, primitive->n_args, primitive->args));
  GD_DNNL(dnnl_stream_wait(stream));
}

bool gd_reorder_needed(gd_md from, gd_md to) {
  return !dnnl_memory_desc_equal(from, to);
}

void gd_reorder_create(gd_reorder *out, gd_md from, gd_md to) {
  dnnl_primitive_desc_t desc;
  GD_DNNL(dnnl_reorder_primitive_desc_create(&desc, from, gd_dnnl_engine(), to, gd_dnnl_engine(), NULL));
  GD_DNNL(create_primitive(&out->primitive, desc));
  GD_DNNL(dnnl_primitive_desc_destroy(desc));
  GD_DNNL(dnnl_memory_create(&out->from, from, gd_dnnl_engine(), DNNL_MEMORY_NONE));
  GD_DNNL(dnnl_memory_create(&out->to, to, gd_dnnl_engine(), DNNL_MEMORY_NONE));
}

void gd_reorder_run(gd_reorder *reorder, const void *from, void *to) {
  GD_DNNL(dnnl_memory_set_data_handle(reorder->from, (void *)from));
  GD_DNNL(dnnl_memory_set_data_handle(reorder->to, to));
  dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, reorder->from}, {DNNL_ARG_TO, reorder->to}};
  GD_DNNL(dnnl_primitive_execute(reorder->primitive, stream, 2, args));
  GD_DNNL(dnnl_stream_wait(stream));
}

void gd_reorder_release(gd_reorder *reorder) {
  if (!reorder->primitive) return;
  dnnl_primitive_destroy(reorder->primitive);
  dnnl_memory_destroy(reorder->from);
  dnnl_memory_destroy(reorder->to);
  *reorder = (gd_reorder){0};
}
