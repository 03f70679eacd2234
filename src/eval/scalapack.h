/* The routines of BLACS and ScaLAPACK 2.x that the Fréchet distance uses, with 32-bit integers. Fortran's, except for
 * those of the C interface (Csys2blacs_handle, Cblacs_...). Matrices are column-major and block-cyclic. */
#ifndef GD_EVAL_SCALAPACK_H
#define GD_EVAL_SCALAPACK_H

#include <mpi.h>

enum { GD_DESCRIPTOR = 9, GD_DESCRIPTOR_CONTEXT = 1 };

int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int *context, const char *order, int rows, int columns);
void Cblacs_gridexit(int context);
void Cblacs_set(int context, int what, const int *value);

/* Settings of Cblacs_set: sums come out the same each time; all ranks get the same bits of them. */
enum { GD_BLACS_REPEATABLE = 15, GD_BLACS_COHERENT = 16 };

int numroc_(const int *n, const int *block, const int *coordinate, const int *first, const int *n_processes);
void descinit_(int *descriptor, const int *m, const int *n, const int *row_block, const int *column_block,
               const int *first_row, const int *first_column, const int *context, const int *leading, int *info);

void pdsyrk_(const char *uplo, const char *trans, const int *n, const int *k, const double *alpha, const double *a,
             const int *ia, const int *ja, const int *desc_a, const double *beta, double *c, const int *ic,
             const int *jc, const int *desc_c);
void pdsymm_(const char *side, const char *uplo, const int *m, const int *n, const double *alpha, const double *a,
             const int *ia, const int *ja, const int *desc_a, const double *b, const int *ib, const int *jb,
             const int *desc_b, const double *beta, double *c, const int *ic, const int *jc, const int *desc_c);
void pdgemm_(const char *trans_a, const char *trans_b, const int *m, const int *n, const int *k, const double *alpha,
             const double *a, const int *ia, const int *ja, const int *desc_a, const double *b, const int *ib,
             const int *jb, const int *desc_b, const double *beta, double *c, const int *ic, const int *jc,
             const int *desc_c);
/* All eigenvalues and eigenvectors, divide and conquer. */
void pdsyevd_(const char *job, const char *uplo, const int *n, double *a, const int *ia, const int *ja,
              const int *desc_a, double *w, double *z, const int *iz, const int *jz, const int *desc_z, double *work,
              const int *n_work, int *iwork, const int *n_iwork, int *info);
/* All eigenvalues (job N). */
void pdsyev_(const char *job, const char *uplo, const int *n, double *a, const int *ia, const int *ja,
             const int *desc_a, double *w, double *z, const int *iz, const int *jz, const int *desc_z, double *work,
             const int *n_work, int *info);

#endif
