/* Convolution as a matrix product: the input pixels below each output pixel's window stand together in one row. */
#ifndef GD_NN_PATCHES_H
#define GD_NN_PATCHES_H

#include "nn/net.h"

/* Columns of a patch: input channels times the window's pixels. */
int gd_patch_columns(const gd_op *op);
size_t gd_patches_nbytes(const gd_op *op);

/* Input 0, (N, H, W, C), to one row per output pixel: (N H' W', kh kw C); zero where the window lies in the padding. */
void gd_patches_gather(const gd_op *op, void *patches);

/* For windows of one pixel: dx of input 0 from dx of the patches. Pixels that no window reads become zero. */
void gd_patches_spread(const gd_op *op, const void *patches);

#endif
