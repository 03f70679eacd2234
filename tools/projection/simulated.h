/* Included first (-include) in src/comm/slot_sum*.c of the simulated program: replaces the parts that would take memory
 * and time on the machine that simulates.
 *
 * gd_alloc folds large arrays of all ranks into the same memory, so their contents mean nothing; an addition and the
 * processor's part in a message become delays. Which messages are sent, in what order and when is still decided by
 * slot_sum*.c. */
#ifndef GD_PROJECTION_SIMULATED_H
#define GD_PROJECTION_SIMULATED_H

#include <mpi.h>
#include <stdint.h>

/* Replaces src/comm/slot_add.c. */
void gd_slot_add(float *into, const float *values, int64_t n);

int simulated_isend(const void *buffer, int n, MPI_Datatype type, int to, int tag, MPI_Comm mpi, MPI_Request *request);
int simulated_irecv(void *buffer, int n, MPI_Datatype type, int from, int tag, MPI_Comm mpi, MPI_Request *request);

#ifndef GD_PROJECTION_STEP
#undef MPI_Isend
#undef MPI_Irecv
#define MPI_Isend simulated_isend
#define MPI_Irecv simulated_irecv
#endif

#endif
