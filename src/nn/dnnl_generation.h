/* The boundary to oneDNN's two generations of C interfaces, 2.6 and later and 3.x: layouts and descriptions of
 * primitives. The rest of src/nn is the same for both. */
#ifndef GD_NN_DNNL_GENERATION_H
#define GD_NN_DNNL_GENERATION_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>

/* A layout of numbers in memory. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t gd_md;
#else
typedef const dnnl_memory_desc_t *gd_md;
#endif

/* The layout of an array; the same one for the same arguments, valid for ever. */
gd_md gd_md_get(int n_dims, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag);

typedef enum gd_pass { GD_PASS_FORWARD, GD_PASS_BACKWARD_DATA, GD_PASS_BACKWARD_WEIGHTS } gd_pass;

/* What a primitive computes. Layouts may be NULL where there is no such argument. */
typedef struct gd_operation {
  dnnl_primitive_kind_t kind; /* convolution, inner_product, pooling, matmul */
  dnnl_alg_kind_t algorithm;  /* of convolution and pooling */
  bool training;              /* forward keeps what backward needs */
  gd_md x, weights, bias, y;  /* of forward; x and weights also of backward data */
  gd_md dy, dweights;         /* of backward */
  dnnl_dims_t kernel, strides, pad;
} gd_operation;

/* Describes a pass. skips: whether an implementation of this name is left out, if there is another; may be NULL. hint:
 * of backward, the description of a forward pass. */
dnnl_status_t gd_describe_pass(dnnl_primitive_desc_t *out, const gd_operation *operation, gd_pass pass,
                               const_dnnl_primitive_attr_t attr, const_dnnl_primitive_desc_t hint,
                               bool (*skips)(const char *name));

/* Makes a primitive add to its output. */
dnnl_status_t gd_append_sum(dnnl_post_ops_t post_ops);

/* Whether convolutions by 1 x 1 filters are to be inner products: oneDNN 3.7 divides by zero when it describes such a
 * convolution on virtual machines that hide their caches. */
bool gd_pointwise_is_product(void);

#endif
