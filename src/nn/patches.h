/* Convolution as a matrix product: the input pixels under the filter at each output pixel become one row, a patch. */
#ifndef GD_NN_PATCHES_H
#define GD_NN_PATCHES_H

#include "nn/net.h"

/* Columns of a patch: the filter's pixels times the input channels, kh kw C. */
int gd_patch_columns(const gd_op *op);
size_t gd_patches_nbytes(const gd_op *op);

/* Copies input 0, (N, H, W, C), to patches (N H' W', kh kw C), with zeros for the padding. */
void gd_patches_gather(const gd_op *op, void *patches);

/* Copies the gradient by the patches to dx of input 0, for 1 x 1 filters. Pixels that no filter reads become zero. */
void gd_patches_spread(const gd_op *op, const void *patches);

#endif
