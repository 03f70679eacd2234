/* Mean and covariance of sharded feature rows.
 *
 * The rows of a rank are columns of the transposed matrix (width, n); panels of it are moved to the grid and added to
 * the covariance there, so that apart from the rows only a panel takes memory. On a grid of one rank the bits do not
 * depend on the number of ranks that hold the rows. */
#include "eval/moments.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum { PANEL = 4096, TAG_MEAN = 2 };

/* Sums of the selected rows in the order of the rows: each rank continues the sums of the rank before. */
static void sum_rows(const gd_comm *comm, const gd_features *f, const bool *selected, double *sums) {
  memset(sums, 0, (size_t)f->width * sizeof *sums);
  if (comm->rank > 0) MPI_Recv(sums, f->width, MPI_DOUBLE, comm->rank - 1, TAG_MEAN, comm->mpi, MPI_STATUS_IGNORE);
  for (int64_t i = 0; i < f->local.end - f->local.begin; i++)
    for (int k = 0; k < f->width && (!selected || selected[i]); k++) sums[k] += f->values[i * f->width + k];
  if (comm->rank < comm->size - 1) MPI_Send(sums, f->width, MPI_DOUBLE, comm->rank + 1, TAG_MEAN, comm->mpi);
  MPI_Bcast(sums, f->width, MPI_DOUBLE, comm->size - 1, comm->mpi);
}

static int64_t count_rows(const gd_comm *comm, const gd_features *f, const bool *selected) {
  int64_t n = 0;
  for (int64_t i = 0; i < f->local.end - f->local.begin; i++) n += !selected || selected[i];
  MPI_Allreduce(MPI_IN_PLACE, &n, 1, MPI_INT64_T, MPI_SUM, comm->mpi);
  return n;
}

// (x - mean) / sqrt(n - 1) of the selected ones of `rows`, zero for the others: their squares add up to the covariance.
static double *centred_rows(const gd_features *f, gd_range rows, const bool *selected, const double *mean,
                            double scale) {
  int64_t first = rows.begin - f->local.begin, n = rows.end - rows.begin;
  const double *values = f->values + first * f->width;
  double *out = GD_NEW_ARRAY(double, n * f->width);
#pragma omp parallel for
  for (int64_t i = 0; i < n; i++)
    for (int k = 0; k < f->width && (!selected || selected[first + i]); k++)
      out[i * f->width + k] = scale * (values[i * f->width + k] - mean[k]);
  return out;
}

static int64_t clip_range(int64_t i, int64_t minimum, int64_t maximum) {
  return i < minimum ? minimum : i > maximum ? maximum : i;
}

// Which rows of the panel that begins at row `first` each rank holds, counted from there.
static void cut_panel(const gd_features *f, int64_t first, int size, gd_range *parts) {
  for (int rank = 0; rank < size; rank++) {
    gd_range rows = gd_range_chunks(f->n_global, GD_IMAGE_CHUNK, size, rank);
    parts[rank] = (gd_range){clip_range(rows.begin - first, 0, PANEL), clip_range(rows.end - first, 0, PANEL)};
  }
}

static void add_panels(gd_moments *m, const gd_features *f, const bool *selected) {
  const gd_comm *comm = m->grid->comm;
  double scale = 1 / sqrt((double)(m->n - 1));
  gd_range *parts = GD_NEW_ARRAY(gd_range, comm->size);
  gd_matrix panel = gd_matrix_create(m->grid, f->width, (int)clip_range(f->n_global, 0, PANEL));
  for (int64_t first = 0; first < f->n_global; first += PANEL) {
    cut_panel(f, first, comm->size, parts);
    gd_range mine = parts[comm->rank], rows = {first + mine.begin, first + mine.end};
    if (mine.begin == mine.end) rows = (gd_range){f->local.begin, f->local.begin};
    double *columns = centred_rows(f, rows, selected, m->mean, scale);
    gd_matrix_set_columns(&panel, parts, columns);
    gd_matrix_add_square(&m->covariance, &panel, (int)clip_range(f->n_global - first, 0, PANEL));
    gd_free(columns);
  }
  gd_matrix_clear(&panel);
  gd_free(parts);
}

void gd_moments_create(gd_moments **out, const gd_grid *grid, const gd_features *f, const bool *selected) {
  GD_REQUIRE(f->width <= INT_MAX / PANEL);
  gd_moments *m = GD_NEW(gd_moments);
  m->grid = grid;
  m->width = f->width;
  m->n = count_rows(grid->comm, f, selected);
  GD_REQUIRE(m->n >= 2);
  m->mean = GD_NEW_ARRAY(double, f->width);
  sum_rows(grid->comm, f, selected, m->mean);
  for (int k = 0; k < f->width; k++) m->mean[k] /= (double)m->n;
  m->covariance = gd_matrix_create(grid, f->width, f->width);
  add_panels(m, f, selected);
  *out = m;
}

void gd_moments_destroy(gd_moments **moments) {
  if (!*moments) return;
  gd_matrix_clear(&(*moments)->covariance);
  gd_free((*moments)->mean);
  gd_free(*moments);
  *moments = NULL;
}

int64_t gd_moments_n(const gd_moments *moments) {
  return moments->n;
}

int gd_moments_width(const gd_moments *moments) {
  return moments->width;
}

/* ---- Files: whole on every rank, which is small compared with the rows ---- */

static double *gather_matrix(const gd_matrix *a) {
  double *whole = GD_NEW_ARRAY(double, (int64_t)a->m * a->n);
  for (int j = 0; j < a->local_n; j++)
    for (int i = 0; i < a->local_m; i++)
      whole[(int64_t)gd_matrix_column(a, j) * a->m + gd_matrix_row(a, i)] = a->values[(int64_t)j * a->local_m + i];
  gd_comm_allreduce(a->grid->comm, whole, (int64_t)a->m * a->n, MPI_DOUBLE, MPI_SUM);  // each element is on one rank
  return whole;
}

gd_err gd_moments_write(const gd_moments *m, const char *path) {
  gd_statistics s = {.n = m->n, .width = m->width, .mean = m->mean, .covariance = gather_matrix(&m->covariance)};
  for (int j = 0; j < m->width; j++)  // the upper triangle is what was worked out
    for (int i = j + 1; i < m->width; i++)
      s.covariance[(int64_t)j * m->width + i] = s.covariance[(int64_t)i * m->width + j];
  gd_err err = gd_statistics_write(m->grid->comm, path, &s);
  gd_free(s.covariance);
  return err;
}

gd_err gd_moments_read(gd_moments **out, const gd_grid *grid, const char *path, int width) {
  gd_statistics s;
  *out = NULL;
  gd_err err = gd_statistics_read(grid->comm, path, width, &s);
  if (err != GD_OK) return err;
  gd_moments *m = GD_NEW(gd_moments);
  *m = (gd_moments){.grid = grid, .n = s.n, .width = width, .covariance = gd_matrix_create(grid, width, width)};
  m->mean = s.mean;
  s.mean = NULL;
  gd_matrix *a = &m->covariance;
  for (int j = 0; j < a->local_n; j++)
    for (int i = 0; i < a->local_m; i++)
      a->values[(int64_t)j * a->local_m + i] =
          s.covariance[(int64_t)gd_matrix_column(a, j) * width + gd_matrix_row(a, i)];
  gd_statistics_clear(&s);
  *out = m;
  return GD_OK;
}
