/* All pairs of rows of two feature sets, in tiles whose place does not depend on the number of ranks. */
#ifndef GD_EVAL_PAIRS_H
#define GD_EVAL_PAIRS_H

#include "gendistill/comm.h"
#include "gendistill/store.h"

/* The selected rows of a feature set, distributed anew over the ranks in whole blocks. */
typedef struct gd_points {
  const gd_comm *comm;
  int64_t n;
  int width;
  gd_range local; /* gd_range_chunks */
  double *values; /* (local, width) */
  double *norms;  /* (n) squared lengths of all rows, on every rank */
} gd_points;

/* The rows i with selected[i] (local rows of `features`; NULL: all), in their order. Collective on comm (kept). */
gd_points gd_points_create(const gd_comm *comm, const gd_features *features, const bool *selected);
void gd_points_clear(gd_points *points);

/* Scalar products of some rows of one set with some rows of another. */
typedef struct gd_pair_tile {
  const gd_points *a, *b;
  int64_t row, column; /* the first row of a, and of b, counted over all ranks */
  int n_rows, n_columns;
  const double *products; /* (n_rows, n_columns) */
} gd_pair_tile;

/* What is done with each tile. */
typedef struct gd_pair_visitor {
  void (*visit)(void *context, const gd_pair_tile *tile);
  void *context;
} gd_pair_visitor;

/* Shows to each of n visitors the tiles that hold this rank's rows of a, row blocks in ascending order and for each its
 * columns in ascending order of b's rows. Every rank sees the same bits of a product, whatever their number. Collective
 * on the points' comm. */
void gd_pairs_visit(const gd_points *a, const gd_points *b, int n, const gd_pair_visitor *visitors);

/* Squared distance of row i and column j of a tile. Local. */
static inline double gd_pair_distance(const gd_pair_tile *tile, int i, int j) {
  double sum = tile->a->norms[tile->row + i] + tile->b->norms[tile->column + j];
  double distance = sum - 2 * tile->products[(int64_t)i * tile->n_columns + j];
  return distance > 0 ? distance : 0;
}

/* Sums of one number per row of a set, of which each rank knows those of its own rows: makes the array (n) whole on
 * every rank. Collective on the points' comm. */
void gd_points_share(const gd_points *points, double *values);

#endif
