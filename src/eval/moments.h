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

int64_t gd_moments_n(const gd_moments *moments); /* rows */
int gd_moments_width(const gd_moments *moments);

/* Statistics of real data are cached: /mean (width), /covariance (width, width), attribute n. Collective. The reader
 * gives GD_ERR_INPUT naming file and object: damaged, or another width than `width`. */
gd_err gd_moments_write(const gd_moments *moments, const char *path);
gd_err gd_moments_read(gd_moments **out, const gd_grid *grid, const char *path, int width);

#endif
