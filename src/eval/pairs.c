/* Blocks of rows stay where they are; panels of the other set go to all ranks, one after another, so that a rank holds
 * its own rows and a panel. Tiles begin at multiples of the block and panel sizes: the matrix product of a tile has the
 * same shape and operands for any number of ranks. */
#include "eval/pairs.h"

#include <string.h>

enum { BLOCK = 128, PANEL = 1024 };

/* The BLAS, column-major: c <- alpha op(a) op(b) + beta c. */
void dgemm_(const char *trans_a, const char *trans_b, const int *m, const int *n, const int *k, const double *alpha,
            const double *a, const int *lda, const double *b, const int *ldb, const double *beta, double *c,
            const int *ldc);

/* ---- Points ---- */

static double *selected_rows(const gd_features *f, const bool *selected, int64_t *n) {
  int64_t n_local = f->local.end - f->local.begin;
  double *rows = GD_NEW_ARRAY(double, n_local * f->width);
  *n = 0;
  for (int64_t i = 0; i < n_local; i++)
    if (!selected || selected[i])
      memcpy(rows + (*n)++ * f->width, f->values + i * f->width, (size_t)f->width * sizeof *rows);
  return rows;
}

static gd_range overlap_of(gd_range a, gd_range b) {
  gd_range out = {a.begin > b.begin ? a.begin : b.begin, a.end < b.end ? a.end : b.end};
  if (out.end < out.begin) out.end = out.begin;
  return out;
}

static gd_range range_of_rank(const gd_points *p, int rank) {
  return gd_range_chunks(p->n, BLOCK, p->comm->size, rank);
}

// Moves the rows `held` of this rank, of which `rows` are the values, to the ranks that have them in `p`.
static void distribute_rows(gd_points *p, gd_range held, const double *rows) {
  int size = p->comm->size;
  gd_range *all = GD_NEW_ARRAY(gd_range, size);
  int *counts = GD_NEW_ARRAY(int, 4 * size), *to = counts + size, *from = to + size, *at = from + size;
  MPI_Allgather(&held, 2, MPI_INT64_T, all, 2, MPI_INT64_T, p->comm->mpi);
  for (int r = 0; r < size; r++) {
    gd_range out = overlap_of(held, range_of_rank(p, r)), in = overlap_of(all[r], p->local);
    counts[r] = (int)(out.end - out.begin);
    to[r] = out.end > out.begin ? (int)(out.begin - held.begin) : 0;
    from[r] = (int)(in.end - in.begin);
    at[r] = in.end > in.begin ? (int)(in.begin - p->local.begin) : 0;
  }
  MPI_Datatype row;
  MPI_Type_contiguous(p->width, MPI_DOUBLE, &row);
  MPI_Type_commit(&row);
  MPI_Alltoallv(rows, counts, to, row, p->values, from, at, row, p->comm->mpi);
  MPI_Type_free(&row);
  gd_free(counts);
  gd_free(all);
}

void gd_points_share(const gd_points *p, double *values) {
  for (int64_t i = 0; i < p->n; i++)
    if (i < p->local.begin || i >= p->local.end) values[i] = 0;
  gd_comm_allreduce(p->comm, values, p->n, MPI_DOUBLE, MPI_SUM);  // each element is on one rank
}

static void measure_rows(gd_points *p) {
  p->norms = GD_NEW_ARRAY(double, p->n + 1);
  for (int64_t i = p->local.begin; i < p->local.end; i++) {
    const double *row = p->values + (i - p->local.begin) * p->width;
    for (int k = 0; k < p->width; k++) p->norms[i] += row[k] * row[k];
  }
  gd_points_share(p, p->norms);
}

gd_points gd_points_create(const gd_comm *comm, const gd_features *features, const bool *selected) {
  gd_points p = {.comm = comm, .width = features->width};
  int64_t n_held, first = 0;
  double *rows = selected_rows(features, selected, &n_held);
  MPI_Exscan(&n_held, &first, 1, MPI_INT64_T, MPI_SUM, comm->mpi);
  if (comm->rank == 0) first = 0;
  MPI_Allreduce(&n_held, &p.n, 1, MPI_INT64_T, MPI_SUM, comm->mpi);
  p.local = range_of_rank(&p, comm->rank);
  p.values = GD_NEW_ARRAY(double, (p.local.end - p.local.begin) * p.width + 1);
  distribute_rows(&p, (gd_range){first, first + n_held}, rows);
  gd_free(rows);
  measure_rows(&p);
  return p;
}

void gd_points_clear(gd_points *points) {
  gd_free(points->values);
  gd_free(points->norms);
  *points = (gd_points){0};
}

/* ---- Pairs ---- */

// The rows `wanted` of a set, from the ranks that have them. Collective.
static void gather_panel(const gd_points *p, gd_range wanted, double *panel) {
  int size = p->comm->size;
  int *counts = GD_NEW_ARRAY(int, 2 * size), *at = counts + size;
  for (int r = 0; r < size; r++) {
    gd_range part = overlap_of(wanted, range_of_rank(p, r));
    counts[r] = (int)(part.end - part.begin) * p->width;
    at[r] = counts[r] ? (int)(part.begin - wanted.begin) * p->width : 0;
  }
  gd_range mine = overlap_of(wanted, p->local);
  const double *rows = p->values + (mine.end > mine.begin ? mine.begin - p->local.begin : 0) * p->width;
  MPI_Allgatherv(rows, counts[p->comm->rank], MPI_DOUBLE, panel, counts, at, MPI_DOUBLE, p->comm->mpi);
  gd_free(counts);
}

// products (n_rows, n_columns) = rows (n_rows, width) times panel (n_columns, width) transposed
static void multiply_rows(const double *rows, int n_rows, const double *panel, int n_columns, int width,
                          double *products) {
  const double one = 1, zero = 0;
  dgemm_("T", "N", &n_columns, &n_rows, &width, &one, panel, &width, rows, &width, &zero, products, &n_columns);
}

void gd_pairs_visit(const gd_points *a, const gd_points *b, int n, const gd_pair_visitor *visitors) {
  GD_REQUIRE(a->width == b->width);
  double *panel = GD_NEW_ARRAY(double, (int64_t)PANEL * b->width);
  double *products = GD_NEW_ARRAY(double, (int64_t)BLOCK *PANEL);
  for (gd_range columns = {0, 0}; columns.begin < b->n; columns.begin += PANEL) {
    columns.end = columns.begin + PANEL < b->n ? columns.begin + PANEL : b->n;
    gd_progress(NULL);
    gather_panel(b, columns, panel);
    for (int64_t row = a->local.begin; row < a->local.end; row += BLOCK) {
      gd_pair_tile tile = {.a = a, .b = b, .row = row, .column = columns.begin, .products = products};
      tile.n_rows = (int)(a->local.end - row < BLOCK ? a->local.end - row : BLOCK);
      tile.n_columns = (int)(columns.end - columns.begin);
      multiply_rows(a->values + (row - a->local.begin) * a->width, tile.n_rows, panel, tile.n_columns, a->width,
                    products);
      for (int i = 0; i < n; i++) visitors[i].visit(visitors[i].context, &tile);
    }
  }
  gd_free(products);
  gd_free(panel);
}
