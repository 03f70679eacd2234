/* The communicator handle, block ranges, collective error agreement and gradient reduction. */
#ifndef GENDISTILL_COMM_H
#define GENDISTILL_COMM_H

#include <mpi.h>

#include "gendistill/base.h"

/* A private duplicate of a communicator, with its rank and size at hand. */
typedef struct gd_comm {
  MPI_Comm mpi;
  int rank;
  int size;
} gd_comm;

/* Collective on mpi. Duplicates `mpi`; MPI errors on it end all ranks. */
void gd_comm_create(gd_comm **out, MPI_Comm mpi);
/* Collective on comm. Accepts NULL, sets NULL. */
void gd_comm_destroy(gd_comm **comm);

/* A communicator of the first n ranks of comm; NULL on the ranks beyond. Collective on comm. */
gd_comm *gd_comm_first(const gd_comm *comm, int n);

/* Gives every rank the worst status of all ranks, and the message of the lowest rank that has it.
 * Collective on comm. Every rank must come here, those without an error too. */
gd_err gd_comm_agree(const gd_comm *comm, gd_err local);

/* Half-open range of indices. */
typedef struct gd_range {
  int64_t begin;
  int64_t end;
} gd_range;

/* The `part`-th of `parts` contiguous blocks of 0 .. n-1, sizes differing by at most one, the longer
 * ones first. Local. */
gd_range gd_range_block(int64_t n, int64_t parts, int64_t part);

/* The `part`-th of `parts` contiguous blocks of 0 .. n-1 that are whole chunks of `chunk` indices, all of the same
 * length but for the last ones, which may be shorter or empty. Local. */
gd_range gd_range_chunks(int64_t n, int64_t chunk, int64_t parts, int64_t part);

/* Images, and rows of features, that stand together on one rank: sets are sharded in whole chunks of so many, and
 * networks run on a chunk at a time, so that what is computed for an image does not depend on the rank count. */
enum { GD_IMAGE_CHUNK = 32 };

/* This rank's part of a set of n images: gd_range_chunks of GD_IMAGE_CHUNK. Local. */
gd_range gd_range_images(const gd_comm *comm, int64_t n);

/* ---- Large transfers --------------------------------------------------------------------------- */

/* Elements of `nbytes` bytes that one call of MPI or HDF5 moves at most, at least one: their counts are ints, so larger
 * arrays go in pieces. Local. */
int64_t gd_transfer_piece(size_t nbytes);
/* Sets the number of bytes of a piece, for tests; 0: the default of 256 MiB. Local; ranks give the same. */
void gd_transfer_limit(size_t nbytes);

/* MPI_Bcast of n elements of a predefined type, any number. Collective on comm. */
void gd_comm_broadcast(const gd_comm *comm, void *data, int64_t n, MPI_Datatype type, int root);
/* MPI_Allreduce in place, likewise. Collective on comm. */
void gd_comm_allreduce(const gd_comm *comm, void *data, int64_t n, MPI_Datatype type, MPI_Op op);

/* ---- Watchdog ---------------------------------------------------------------------------------- */

/* Ends a job in which nothing moves any more: a thread on each rank tells rank 0 what its rank does (gd_progress), and
 * rank 0 tells all that it is there. When a rank has been silent for the time-out (stopped, swapped out, its node
 * lost), or no rank has made progress for so long (a file system that does not answer, ranks that wait for each other),
 * one message names the ranks, the MPI function, the piece of work and the step, and all ranks are aborted with
 * GD_STUCK_STATUS. A rank that computes on and on is no reason. MPI functions are noted through MPI's profiling
 * interface, those that HDF5 and ScaLAPACK call too.
 *
 * Without MPI_THREAD_MULTIPLE the ranks cannot tell each other: each looks at itself only. */
typedef struct gd_watchdog gd_watchdog;

enum { GD_STUCK_STATUS = 134, GD_WATCHDOG_SECONDS = 600 };

/* Starts watching with a time-out of GD_WATCHDOG_SECONDS. Collective on comm. */
void gd_watchdog_start(gd_watchdog **out, const gd_comm *comm);
/* Another time-out for all watchdogs, 0 for none. Local; ranks give the same. */
void gd_watchdog_timeout(double seconds);
/* Collective on comm. Accepts NULL, sets NULL. */
void gd_watchdog_stop(gd_watchdog **watchdog);

/* ---- Gradient reduction ---------------------------------------------------------------------- */

typedef enum gd_reduction { GD_REDUCTION_TREE, GD_REDUCTION_FAST } gd_reduction;

/* Sums one float32 array per slot over all slots of all ranks.
 *
 * The slots 0 .. n_slots-1 (a power of two) are the leaves of one fixed binary tree; rank r holds the
 * block gd_range_block(n_slots, size, r). With GD_REDUCTION_TREE the sum has the same bits for every
 * rank count; with GD_REDUCTION_FAST a rank may merge its slots beforehand, and ranks are added in any order. */
typedef struct gd_slot_sum gd_slot_sum;

/* Collective on comm, of which it makes its own copy. n: elements per array. */
void gd_slot_sum_create(gd_slot_sum **out, const gd_comm *comm, int n_slots, int64_t n, gd_reduction reduction);
/* Collective on comm. Accepts NULL, sets NULL. Not between gd_slot_sum_ready with `last` and gd_slot_sum_finish. */
void gd_slot_sum_destroy(gd_slot_sum **sum);

/* A buffer of n floats to write the next local array into. Local. */
float *gd_slot_sum_buffer(gd_slot_sum *sum);

/* Says that the elements from `first` on of the buffer handed out are final: nobody writes or reads them before the
 * push. `first` never rises between two pushes. last: it is this rank's last array before gd_slot_sum_finish; then the
 * reduction of what is final starts beside the caller's work, and each further call moves it on. Never waits. Local;
 * messages move when the other ranks call it too, or are in gd_slot_sum_finish. Calling it is optional on each rank.
 * With GD_REDUCTION_TREE and a rank count that is not a power of two it does nothing. */
void gd_slot_sum_ready(gd_slot_sum *sum, bool last, int64_t first);

/* Hands in the buffer for `slot`. Local. Slots come in ascending order; with GD_REDUCTION_FAST one
 * array may stand for all local slots (slot: the first of them). */
void gd_slot_sum_push(gd_slot_sum *sum, int slot);

/* The sum over all slots of all ranks, n floats, the same on every rank; valid until the next
 * gd_slot_sum_buffer. Collective on comm. */
float *gd_slot_sum_finish(gd_slot_sum *sum);

#endif
