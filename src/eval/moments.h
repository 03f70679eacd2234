/* Inside of moments. */
#ifndef GD_EVAL_MOMENTS_H
#define GD_EVAL_MOMENTS_H

#include "eval/matrix.h"

struct gd_moments {
  const gd_grid *grid;
  int64_t n;  // rows
  int width;
  double *mean;          // (width), on all ranks
  gd_matrix covariance;  // (width, width), the upper triangle
};

#endif
