/* Fréchet distance of two normal distributions by two symmetric eigenvalue problems.
 *
 * With S_a = V L V^T and R = V L^1/2 V^T, the eigenvalues of R S_b R are those of S_a S_b; the sum of their square
 * roots is tr sqrt(S_a S_b). Where covariances have fewer rows than columns, eigenvalues that should be zero come out
 * as rounding of either sign: negative ones are set to zero, positive ones stay, as in other programs, and add about
 * 1e-8 of the trace. */
#include <math.h>

#include "eval/moments.h"

// Sets the negative ones of n ascending eigenvalues to zero; returns their sum as a positive number.
static double clip_eigenvalues(double *eigenvalues, int n) {
  double sum = 0;
  for (int i = 0; i < n && eigenvalues[i] < 0; i++) {
    sum -= eigenvalues[i];
    eigenvalues[i] = 0;
  }
  return sum;
}

// Column j times eigenvalue j to the power 1/4: of such columns W, W W^T is the root of the matrix.
static void scale_columns(gd_matrix *z, const double *eigenvalues) {
  for (int j = 0; j < z->local_n; j++) {
    double scale = sqrt(sqrt(eigenvalues[gd_matrix_column(z, j)]));
    for (int i = 0; i < z->local_m; i++) z->values[(int64_t)j * z->local_m + i] *= scale;
  }
}

// The square root of a symmetric matrix, which is overwritten.
static bool square_root(gd_matrix *s, gd_matrix *root, double *clipped) {
  gd_matrix z = gd_matrix_create(s->grid, s->n, s->n);
  double *eigenvalues = GD_NEW_ARRAY(double, s->n);
  bool solved = gd_matrix_eigenvalues(s, eigenvalues, &z);
  *clipped += clip_eigenvalues(eigenvalues, s->n);
  scale_columns(&z, eigenvalues);
  gd_matrix_multiply(&z, &z, true, root);
  gd_free(eigenvalues);
  gd_matrix_clear(&z);
  return solved;
}

// tr sqrt(S_a S_b), and what was clipped on the way; meaningful on the ranks of the grid.
static bool product_root_trace(const gd_matrix *s_a, const gd_matrix *s_b, double *trace, double *clipped) {
  int n = s_a->n;
  gd_matrix work = gd_matrix_create(s_a->grid, n, n), root = gd_matrix_create(s_a->grid, n, n);
  gd_matrix product = gd_matrix_create(s_a->grid, n, n);
  double *eigenvalues = GD_NEW_ARRAY(double, n);
  for (int64_t i = 0; i < (int64_t)work.local_m * work.local_n; i++) work.values[i] = s_a->values[i];
  bool solved = square_root(&work, &root, clipped);
  if (solved) {
    gd_matrix_multiply_symmetric(s_b, &root, &product);
    gd_matrix_multiply(&root, &product, false, &work);
    solved = gd_matrix_eigenvalues(&work, eigenvalues, NULL);
    *clipped += clip_eigenvalues(eigenvalues, n);
  }
  for (int i = 0; i < n; i++) *trace += sqrt(eigenvalues[i]);
  gd_free(eigenvalues);
  gd_matrix_clear(&work);
  gd_matrix_clear(&root);
  gd_matrix_clear(&product);
  return solved;
}

// The same on all ranks.
static gd_err check_distance(double value) {
  if (isfinite(value)) return GD_OK;
  return gd_error(GD_ERR_FAILED, "Fréchet distance: not finite: a feature is not, or too large for float64");
}

gd_err gd_frechet_distance(gd_frechet *out, const gd_moments *a, const gd_moments *b) {
  GD_REQUIRE(a->grid == b->grid && a->width == b->width);
  const gd_comm *comm = a->grid->comm;
  *out = (gd_frechet){.n_1 = a->n, .n_2 = b->n};
  double traces = gd_matrix_trace(&a->covariance) + gd_matrix_trace(&b->covariance);
  for (int k = 0; k < a->width; k++) out->mean_term += (a->mean[k] - b->mean[k]) * (a->mean[k] - b->mean[k]);
  gd_err err = check_distance(out->mean_term + traces);  // before the eigenvalue solver, which may not end then
  if (err != GD_OK) return err;
  struct {
    double roots, clipped;
  } solution = {0};
  bool solved = product_root_trace(&a->covariance, &b->covariance, &solution.roots, &solution.clipped);
  err = solved ? GD_OK : gd_error(GD_ERR_FAILED, "Fréchet distance: the eigenvalue solver did not converge");
  err = gd_comm_agree(comm, err);
  if (err != GD_OK) return err;
  MPI_Bcast(&solution, 2, MPI_DOUBLE, 0, comm->mpi);                      // rank 0 is in every grid
  out->distance = fmax(0, out->mean_term + traces - 2 * solution.roots);  // below zero by rounding only
  out->clipped = solution.clipped;
  return check_distance(solution.roots);
}
