/* Distributed matrices: a process grid, and m x n doubles block-cyclic over it, column-major. Without ScaLAPACK's
 * Fortran calling conventions. */
#ifndef GD_EVAL_MATRIX_H
#define GD_EVAL_MATRIX_H

#include "gendistill/eval.h"

struct gd_grid {
  const gd_comm *comm;
  int handle;         // BLACS's name of comm
  int context;        // of the grid; -1 on ranks outside
  int rows, columns;  // of the grid
  int row, column;    // of this rank; -1 outside
};

typedef struct gd_matrix {
  const gd_grid *grid;
  int m, n;
  int local_m, local_n;  // 0 on ranks outside the grid
  double *values;        // (local_n, local_m)
  int descriptor[9];
} gd_matrix;

/* Zeros. Local, like all below that are not said to be collective. */
gd_matrix gd_matrix_create(const gd_grid *grid, int m, int n);
void gd_matrix_clear(gd_matrix *matrix);

/* Column of the whole matrix that this rank's column `local` is, and likewise for rows. */
int gd_matrix_column(const gd_matrix *matrix, int local);
int gd_matrix_row(const gd_matrix *matrix, int local);

/* Sets the first columns of a matrix, of which rank r has parts[r], those of lower ranks first: `columns`, those
 * of this rank, (parts[rank], m). Collective on the grid's comm. */
void gd_matrix_set_columns(gd_matrix *matrix, const gd_range *parts, const double *columns);

/* Sum of the diagonal, the same on all ranks. Collective on the grid's comm. */
double gd_matrix_trace(const gd_matrix *matrix);

/* The functions below are collective on the ranks of the grid; the others return at once. Only the upper triangle of a
 * symmetric matrix is read or written. */

/* c <- c + a(:, 0:k) a(:, 0:k)^T */
void gd_matrix_add_square(gd_matrix *c, const gd_matrix *a, int k);
/* c <- s b, s symmetric */
void gd_matrix_multiply_symmetric(const gd_matrix *s, const gd_matrix *b, gd_matrix *c);
/* c <- a b, or with transpose_b a b^T */
void gd_matrix_multiply(const gd_matrix *a, const gd_matrix *b, bool transpose_b, gd_matrix *c);

/* Eigenvalues (n), ascending, of a symmetric matrix, which is overwritten; eigenvectors as columns of z unless that is
 * NULL. False where the solver fails. */
bool gd_matrix_eigenvalues(gd_matrix *a, double *eigenvalues, gd_matrix *z);

#endif
