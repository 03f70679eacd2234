/* What the ops share of oneDNN: engine, memory layouts, primitives with their arguments. No file outside src/nn calls
 * oneDNN. */
#ifndef GD_NN_DNNL_H
#define GD_NN_DNNL_H

#include "nn/dnnl_generation.h"
#include "nn/net.h"

/* A failed call is out of memory, or else a broken invariant, because shapes were checked before. */
#define GD_DNNL(call)                                                                     \
  do {                                                                                    \
    dnnl_status_t status_ = (call);                                                       \
    if (status_ == dnnl_out_of_memory) gd_out_of_memory("for oneDNN, in %s", #call);      \
    if (status_ != dnnl_success) gd_abort("oneDNN status %d in %s", (int)status_, #call); \
  } while (0)

enum { GD_MAX_ARGS = 5 }; /* gradient by weights: x, dy, weights, bias and the scratchpad */

/* A primitive and its arguments, whose memory objects it owns. */
typedef struct gd_primitive {
  dnnl_primitive_t primitive;
  dnnl_primitive_desc_t desc;
  dnnl_exec_arg_t args[GD_MAX_ARGS];
  int n_args;
} gd_primitive;

dnnl_engine_t gd_dnnl_engine(void);

/* Whether oneDNN uses these instructions of x86 on this CPU. On other CPUs false: there oneDNN answers with the numbers
 * of their own instructions. */
bool gd_dnnl_has_isa(dnnl_cpu_isa_t isa);
/* AVX-512 and AMX. */
bool gd_dnnl_has_avx512(void);
bool gd_dnnl_has_amx(void);

dnnl_data_type_t gd_dnnl_type(gd_precision type);

/* Layout of the channels-last activations of `batch` images. */
gd_md gd_dnnl_nhwc(int batch, gd_shape shape, gd_precision type);
/* The same as a matrix with one row per pixel. */
gd_md gd_dnnl_rows(int batch, gd_shape shape, gd_precision type);
gd_md gd_dnnl_vector(int64_t n);

typedef struct gd_primitive_options {
  bool accumulates; /* adds to the content of the output */
  bool small_map;   /* the output has few pixels per image */
} gd_primitive_options;

/* Creates the primitive of a pass and raises the op's scratch_nbytes to what it needs. GD_ERR_FAILED if oneDNN has no
 * implementation. */
gd_err gd_primitive_create(gd_primitive *out, gd_op *op, const gd_operation *operation, gd_pass pass,
                           gd_primitive_options options);
void gd_primitive_release(gd_primitive *primitive);

gd_md gd_primitive_md(const gd_primitive *primitive, dnnl_query_t what, int index);

/* Adds an argument with oneDNN's name for it (DNNL_ARG_SRC ...) and its layout. */
void gd_primitive_arg(gd_primitive *primitive, int name, gd_md md);
/* Sets the data of an argument that was added. */
void gd_primitive_set(gd_primitive *primitive, int name, const void *data);

/* Runs the primitive with the op's scratch, until it is done. */
void gd_primitive_run(gd_primitive *primitive, const gd_op *op);

/* A copy from one layout to another. All zero: none is needed. */
typedef struct gd_reorder {
  dnnl_primitive_t primitive;
  dnnl_memory_t from, to;
} gd_reorder;

bool gd_reorder_needed(gd_md from, gd_md to);
void gd_reorder_create(gd_reorder *out, gd_md from, gd_md to);
void gd_reorder_run(gd_reorder *reorder, const void *from, void *to);
void gd_reorder_release(gd_reorder *reorder);

#endif
