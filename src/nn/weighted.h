/* What convolution and linear share: three oneDNN primitives around one array of weights.
 *
 * forward:          y = W x + bias, or y += W x + bias where y holds a residual
 * backward data:    dx from dy and W
 * backward weights: dW and dbias from x and dy
 *
 * The flat parameter array has the weights in PyTorch's layout and float32. A primitive may prefer another layout and
 * works in the precision of its maps: a load packs the weights for forward and backward data, and backward copies dW,
 * which is always float32, back to the flat layout. Where the layouts agree, the flat arrays are used as they are. */
#ifndef GD_NN_WEIGHTED_H
#define GD_NN_WEIGHTED_H

#include "nn/dnnl.h"

/* One way to compute the op: oneDNN's operation with the layouts of its arguments. */
typedef struct gd_weighted_descs {
  gd_operation operation;
  gd_md flat_weights;
  bool small_map;  // of gd_primitive_options, for forward
} gd_weighted_descs;

/* The op as a matrix product (rows, columns) by (C', columns)^T, with one row per output pixel. gradient_layout: of dW;
 * dnnl_format_tag_any leaves it to oneDNN. */
gd_weighted_descs gd_weighted_describe_product(const gd_op *op, int columns, dnnl_format_tag_t gradient_layout);

/* Weights in the layout and precision of one primitive. */
typedef struct gd_packed_weights {
  gd_reorder pack;  // from the flat layout
  void *memory;     // NULL: the primitive reads the flat array
} gd_packed_weights;

typedef struct gd_weighted {
  gd_primitive forward, backward_data, backward_weights;
  gd_packed_weights forward_weights, backward_data_weights;
  bool is_packing_shared;      // backward data reads forward_weights
  gd_reorder unpack_gradient;  // from the layout of backward weights to the flat one
} gd_weighted;

/* Each creates one primitive. The three may be described differently; forward comes first. GD_ERR_FAILED if oneDNN has
 * no implementation. */
gd_err gd_weighted_prepare_forward(gd_op *op, gd_weighted *w, const gd_weighted_descs *d);
gd_err gd_weighted_prepare_backward_data(gd_op *op, gd_weighted *w, const gd_weighted_descs *d);
gd_err gd_weighted_prepare_backward_weights(gd_op *op, gd_weighted *w, const gd_weighted_descs *d);
void gd_weighted_release(gd_weighted *w);

/* Size of dW before it is unpacked; 0 where it is written to the flat array. */
size_t gd_weighted_gradient_nbytes(const gd_weighted *w);

/* Appends `nbytes` bytes to the op's scratch, behind what its primitives share, and returns their offset. To be called
 * after all primitives of the op were created. */
size_t gd_scratch_append(gd_op *op, size_t nbytes);

/* Packs the op's parameters. forward_weights: its weights in the flat layout of forward's descriptors. */
void gd_weighted_load(const gd_op *op, gd_weighted *w, const float *forward_weights);

/* Each runs one primitive. x and dx: input 0 and its gradient in the layout of the primitive's descriptors.
 * packed_gradient: scratch of gd_weighted_gradient_nbytes. grads: flat. */
void gd_weighted_run_forward(const gd_op *op, gd_weighted *w, const void *x);
void gd_weighted_run_backward_weights(const gd_op *op, gd_weighted *w, const void *x, float *packed_gradient,
                                      float *grads);
void gd_weighted_run_backward_data(const gd_op *op, gd_weighted *w, void *dx);

#endif
