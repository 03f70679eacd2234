/* Forced into src/comm/slot_sum.c (-include) in the simulated program: what stands in for its parts that would take
 * memory and time on the machine that simulates.
 *
 * gd_alloc folds large arrays of all ranks into the same memory, so their contents mean nothing; an addition and the
 * processor's part in a message become delays. Which messages are sent, in what order and when stays slot_sum.c's. */
#ifndef GD_PROJECTION_SIMULATED_H
#define GD_PROJECTION_SIMULATED_H

#include <mpi.h>
#include <stdint.h>

/* Takes the place of slot_sum.c's own function of this name, which is renamed in the simulated program's copy. */
void add(float *into, const float *values, int64_t n);

int simulated_isend(const void *buffer, int n, MPI_Datatype type, int to, int tag, MPI_Comm mpi, MPI_Request *request);
int simulated_irecv(void *buffer, int n, MPI_Datatype type, int from, int tag, MPI_Comm mpi, MPI_Request *request);

#ifndef GD_PROJECTION_STEP
#undef MPI_Isend
#undef MPI_Irecv
#define MPI_Isend simulated_isend
#define MPI_Irecv simulated_irecv
#endif

#endif
