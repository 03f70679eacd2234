/* Convolutions with windows of 3 x 3 pixels by Winograd's F(2 x 2, 3 x 3) (Lavin and Gray 2016): 16 products in place
 * of 36 for each 2 x 2 output pixels, forward and for both gradients. float32; rounding stays that of a direct sum,
 * near 1e-6 of the largest element. */
#ifndef GD_NN_WINOGRAD_H
#define GD_NN_WINOGRAD_H

#include "nn/net.h"

/* Whether the op is such a convolution, and the faster for it on this CPU. */
bool gd_winograd_suits(const gd_op *op);

/* Floats of the transformed weights. */
size_t gd_winograd_weights_count(const gd_op *op);
size_t gd_winograd_scratch_nbytes(const gd_op *op);

/* The windows (C', C, 3, 3) of the op's first parameter to `transformed`, which the passes below read. */
void gd_winograd_load(const gd_op *op, float *transformed);

/* y = convolution of x, plus bias and residual where the op has them. */
void gd_winograd_forward(const gd_op *op, const float *transformed);
void gd_winograd_backward_data(const gd_op *op, const float *transformed);
/* The gradients by weights and bias, into the flat array `grads`. */
void gd_winograd_backward_weights(const gd_op *op, float *grads);

#endif
