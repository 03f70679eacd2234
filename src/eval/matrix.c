/* Thin wrappers that turn gd_matrix into ScaLAPACK's arguments and ask it for its work space. */
#include "eval/matrix.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "eval/scalapack.h"

enum { BLOCK = 64, ROWS_WORTH_SPREADING = 1024 };

static const int one = 1, zero = 0;

/* ---- Grid ---- */

// Near-square: the largest number of rows that does not exceed the columns.
static void shape_grid(gd_grid *grid, int n_ranks) {
  grid->rows = (int)sqrt((double)n_ranks);
  grid->columns = n_ranks / grid->rows;
}

void gd_grid_create(gd_grid **out, const gd_comm *comm, int n_ranks) {
  gd_grid *grid = GD_NEW(gd_grid);
  grid->comm = comm;
  shape_grid(grid, n_ranks > 0 && n_ranks < comm->size ? n_ranks : comm->size);
  grid->handle = Csys2blacs_handle(comm->mpi);
  grid->context = grid->handle;
  Cblacs_gridinit(&grid->context, "Row", grid->rows, grid->columns);
  bool inside = comm->rank < grid->rows * grid->columns;
  if (inside) {
    Cblacs_set(grid->context, GD_BLACS_REPEATABLE, &one);
    Cblacs_set(grid->context, GD_BLACS_COHERENT, &one);
  } else {
    grid->context = -1;
  }
  grid->row = inside ? comm->rank / grid->columns : -1;
  grid->column = inside ? comm->rank % grid->columns : -1;
  *out = grid;
}

void gd_grid_destroy(gd_grid **grid) {
  if (!*grid) return;
  if ((*grid)->context >= 0) Cblacs_gridexit((*grid)->context);
  Cfree_blacs_system_handle((*grid)->handle);
  gd_free(*grid);
  *grid = NULL;
}

int gd_grid_ranks_for(int width) {
  return width <= ROWS_WORTH_SPREADING ? 1 : 0;
}

// ScaLAPACK counts in int, and its eigenvectors take work space of more than two matrices.
static const int64_t max_local = INT_MAX / 4;

// Values of a matrix on the rank that has the maximum of them.
static int64_t local_values(const gd_grid *grid, int m, int n) {
  const int block = BLOCK;
  return (int64_t)numroc_(&m, &block, &zero, &zero, &grid->rows) * numroc_(&n, &block, &zero, &zero, &grid->columns);
}

gd_err gd_grid_check_width(const gd_grid *grid, int width) {
  int64_t n = local_values(grid, width, width);
  if (n <= max_local) return GD_OK;
  return gd_error(GD_ERR_INPUT,
                  "features of width %d are too wide for %d ranks: their covariance has %lld values per rank, "
                  "ScaLAPACK takes at most %lld; more ranks help",
                  width, grid->rows * grid->columns, (long long)n, (long long)max_local);
}

/* ---- Matrix ---- */

gd_matrix gd_matrix_create(const gd_grid *grid, int m, int n) {
  gd_matrix a = {.grid = grid, .m = m, .n = n};
  const int block = BLOCK;
  a.descriptor[GD_DESCRIPTOR_CONTEXT] = -1;
  if (grid->context < 0) return a;
  a.local_m = numroc_(&m, &block, &grid->row, &zero, &grid->rows);
  a.local_n = numroc_(&n, &block, &grid->column, &zero, &grid->columns);
  GD_REQUIRE(local_values(grid, m, n) <= max_local);
  int info, leading = a.local_m > 0 ? a.local_m : 1;
  descinit_(a.descriptor, &m, &n, &block, &block, &zero, &zero, &grid->context, &leading, &info);
  GD_REQUIRE(info == 0);
  a.values = GD_NEW_ARRAY(double, (int64_t)leading *(a.local_n > 0 ? a.local_n : 1));
  return a;
}

void gd_matrix_clear(gd_matrix *matrix) {
  gd_free(matrix->values);
  *matrix = (gd_matrix){0};
}

static int global_index(int local, int coordinate, int n_processes) {
  return (local / BLOCK * n_processes + coordinate) * BLOCK + local % BLOCK;
}

int gd_matrix_column(const gd_matrix *a, int local) {
  return global_index(local, a->grid->column, a->grid->columns);
}

int gd_matrix_row(const gd_matrix *a, int local) {
  return global_index(local, a->grid->row, a->grid->rows);
}

// Columns of a range that belong to one column of the grid.
static int count_columns(const gd_grid *grid, gd_range part, int column) {
  int n = 0;
  for (int64_t j = part.begin; j < part.end; j++) n += j / BLOCK % grid->columns == column;
  return n;
}

// What one rank of the grid gets of this rank's columns, in the order of its own matrix. Returns the end of it.
static double *pack_block(const gd_matrix *a, gd_range mine, const double *columns, int rank, double *out) {
  int row = rank / a->grid->columns, column = rank % a->grid->columns;
  for (int64_t j = mine.begin; j < mine.end; j++) {
    if (j / BLOCK % a->grid->columns != column) continue;
    for (int64_t i = (int64_t)row * BLOCK; i < a->m; i += (int64_t)a->grid->rows * BLOCK) {
      int64_t n = a->m - i < BLOCK ? a->m - i : BLOCK;
      memcpy(out, columns + (j - mine.begin) * a->m + i, (size_t)n * sizeof *out);
      out += n;
    }
  }
  return out;
}

// Not by ScaLAPACK's redistribution, whose counts of bytes are ints.
void gd_matrix_set_columns(gd_matrix *a, const gd_range *parts, const double *columns) {
  const gd_grid *grid = a->grid;
  int size = grid->comm->size;
  gd_range mine = parts[grid->comm->rank];
  int *n_out = GD_NEW_ARRAY(int, 4 * size), *out_at = n_out + size, *n_in = out_at + size, *in_at = n_in + size;
  double *packed = gd_alloc((size_t)(mine.end - mine.begin) * (size_t)a->m * sizeof *packed), *end = packed;
  for (int rank = 0; rank < grid->rows * grid->columns; rank++) {
    out_at[rank] = (int)(end - packed);
    end = pack_block(a, mine, columns, rank, end);
    n_out[rank] = (int)(end - packed) - out_at[rank];
  }
  for (int rank = 0, at = 0; rank < size; at += n_in[rank++]) {
    in_at[rank] = at;
    n_in[rank] = count_columns(grid, parts[rank], grid->column) * a->local_m;
  }
  MPI_Alltoallv(packed, n_out, out_at, MPI_DOUBLE, a->values, n_in, in_at, MPI_DOUBLE, grid->comm->mpi);
  gd_free(n_out);
  gd_free(packed);
}

double gd_matrix_trace(const gd_matrix *a) {
  double trace = 0;
  for (int j = 0; j < a->local_n; j++)
    for (int i = 0; i < a->local_m; i++)
      if (gd_matrix_row(a, i) == gd_matrix_column(a, j)) trace += a->values[(int64_t)j * a->local_m + i];
  MPI_Allreduce(MPI_IN_PLACE, &trace, 1, MPI_DOUBLE, MPI_SUM, a->grid->comm->mpi);
  return trace;
}

/* ---- Products ---- */

void gd_matrix_add_square(gd_matrix *c, const gd_matrix *a, int k) {
  if (c->grid->context < 0) return;
  const double alpha = 1, beta = 1;
  pdsyrk_("U", "N", &c->n, &k, &alpha, a->values, &one, &one, a->descriptor, &beta, c->values, &one, &one,
          c->descriptor);
}

void gd_matrix_multiply_symmetric(const gd_matrix *s, const gd_matrix *b, gd_matrix *c) {
  if (c->grid->context < 0) return;
  const double alpha = 1, beta = 0;
  pdsymm_("L", "U", &c->m, &c->n, &alpha, s->values, &one, &one, s->descriptor, b->values, &one, &one, b->descriptor,
          &beta, c->values, &one, &one, c->descriptor);
}

void gd_matrix_multiply(const gd_matrix *a, const gd_matrix *b, bool transpose_b, gd_matrix *c) {
  if (c->grid->context < 0) return;
  const double alpha = 1, beta = 0;
  pdgemm_("N", transpose_b ? "T" : "N", &c->m, &c->n, &a->n, &alpha, a->values, &one, &one, a->descriptor, b->values,
          &one, &one, b->descriptor, &beta, c->values, &one, &one, c->descriptor);
}

/* ---- Eigenvalues ---- */

static int eigenvectors(gd_matrix *a, double *w, gd_matrix *z) {
  int info, query = -1, n_iwork = 0;
  double n_work = 0;
  pdsyevd_("V", "U", &a->n, a->values, &one, &one, a->descriptor, w, z->values, &one, &one, z->descriptor, &n_work,
           &query, &n_iwork, &query, &info);
  // the documented minimum; the query of ScaLAPACK 2.2 leaves out what its back transformation takes for small matrices
  int length = (int)n_work + 2 * BLOCK * (a->local_m + a->local_n + BLOCK);
  double *work = GD_NEW_ARRAY(double, length);
  int *iwork = GD_NEW_ARRAY(int, n_iwork);
  pdsyevd_("V", "U", &a->n, a->values, &one, &one, a->descriptor, w, z->values, &one, &one, z->descriptor, work,
           &length, iwork, &n_iwork, &info);
  gd_free(work);
  gd_free(iwork);
  return info;
}

static int eigenvalues_only(gd_matrix *a, double *w) {
  int info, query = -1;
  double n_work = 0;
  pdsyev_("N", "U", &a->n, a->values, &one, &one, a->descriptor, w, NULL, &one, &one, a->descriptor, &n_work, &query,
          &info);
  int length = (int)n_work;
  double *work = GD_NEW_ARRAY(double, length);
  pdsyev_("N", "U", &a->n, a->values, &one, &one, a->descriptor, w, NULL, &one, &one, a->descriptor, work, &length,
          &info);
  gd_free(work);
  return info;
}

bool gd_matrix_eigenvalues(gd_matrix *a, double *eigenvalues, gd_matrix *z) {
  if (a->grid->context < 0) return true;
  return (z ? eigenvectors(a, eigenvalues, z) : eigenvalues_only(a, eigenvalues)) == 0;
}
