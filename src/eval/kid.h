/* Kernel Inception distance: the squared maximum mean discrepancy with a cubic kernel. */
#ifndef GD_EVAL_KID_H
#define GD_EVAL_KID_H

#include "eval/pairs.h"
#include "gendistill/eval.h"

/* Sums of the kernel over the pairs of two sets, or of one with itself (a == b: without the pairs of a row and itself),
 * as a visitor of these pairs gathers them. */
typedef struct gd_kernel_sums {
  const gd_points *a, *b;
  int *subset_a, *subset_b; /* (n) subset of each row, -1: none */
  double *whole;            /* (n of a) row sums over all columns ... */
  double *within;           /* ... and over the columns of the row's subset */
} gd_kernel_sums;

/* subset_size: rows per subset, 0: no subsets. Local. */
gd_kernel_sums gd_kernel_sums_create(const gd_points *a, const gd_points *b, int64_t subset_size);
void gd_kernel_sums_clear(gd_kernel_sums *sums);
gd_pair_visitor gd_kernel_sums_visitor(gd_kernel_sums *sums);

/* Rows per subset of two sets of n_1 and n_2 rows; 0: too few for subsets. Local. */
int64_t gd_kid_subset_size(int64_t n_1, int64_t n_2);

/* KID (Binkowski et al. 2018, equation 4): unbiased estimate with the kernel (x.y / width + 1)^3 from the sums over the
 * pairs of set 1, of set 2, and between them. Both sets have at least 2 rows. The same bits on any number of ranks.
 * Collective on the points' comm. */
gd_kid gd_kid_finish(gd_kernel_sums *first, gd_kernel_sums *second, gd_kernel_sums *between);

/* All of it for two sets. Collective on the points' comm. */
gd_kid gd_kid_measure(const gd_points *a, const gd_points *b);

#endif
