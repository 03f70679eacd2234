/* Gradients of single images, for the Fisher information. */
#ifndef GD_STRATEGY_IMAGE_GRADIENTS_H
#define GD_STRATEGY_IMAGE_GRADIENTS_H

#include "gendistill/strategy.h"

/* What is added up. */
typedef struct gd_gradient_sum {
  int rows;  /* images at a time, at least 1 */
  int64_t n; /* numbers */
  /* Adds to sum (n) what follows from the gradient (total) of the sum of the losses of `rows` images or, at the end of
   * a slot, fewer. */
  void (*add)(void *context, const float *gradient, float *sum);
  void *context;
} gd_gradient_sum;

/* Sum over all images, in out (n): the images are cut into slots, whose sums are added up as gradients
 * are, so the bits do not depend on the ranks. Collective on comm. GD_ERR_FAILED where the network cannot be compiled,
 * or where a sum is not finite. */
gd_err gd_image_gradients_sum(const gd_image_gradients *gradients, const gd_gradient_sum *what, float *out);

#endif
