/* The communicator handle, block ranges, error agreement between ranks, large transfers, the watchdog and the gradient
 * reduction. */
#ifndef GENDISTILL_COMM_H
#define GENDISTILL_COMM_H

#include <mpi.h>

#include "gendistill/base.h"

/* A private duplicate of a communicator, with its rank and size. */
typedef struct gd_comm {
  MPI_Comm mpi;
  int rank;
  int size;
} gd_comm;

/* Duplicates `mpi`; MPI errors on the duplicate end all ranks. Collective on mpi. */
void gd_comm_create(gd_comm **out, MPI_Comm mpi);
/* Frees the duplicate. Collective on comm. Accepts NULL, sets NULL. */
void gd_comm_destroy(gd_comm **comm);

/* A communicator of the ranks that are a `member`, in their order; NULL on the others. Collective on comm. */
gd_comm *gd_comm_part(const gd_comm *comm, bool member);

/* A communicator of the ranks that share memory with this one, in their order. Collective on comm. */
gd_comm *gd_comm_node(const gd_comm *comm);

/* Gives every rank the worst status of all ranks, and the message of the lowest rank that has it. Collective on comm:
 * ranks without an error must call it too. */
gd_err gd_comm_agree(const gd_comm *comm, gd_err local);

/* Half-open range of indices. */
typedef struct gd_range {
  int64_t begin;
  int64_t end;
} gd_range;

/* The `part`-th of `parts` contiguous blocks of 0 .. n-1. Block lengths differ by at most one, the longer blocks come
 * first. Local. */
gd_range gd_range_block(int64_t n, int64_t parts, int64_t part);

/* The `part`-th of `parts` contiguous blocks of 0 .. n-1 that consist of whole chunks of `chunk` indices. All blocks
 * have the same length except the last ones, which may be shorter or empty. Local. */
gd_range gd_range_chunks(int64_t n, int64_t chunk, int64_t parts, int64_t part);

/* Number of images, or of rows of features, in a chunk. Sets are split between ranks in whole chunks and networks run
 * on one chunk at a time, so that the result for an image does not depend on the rank count. */
enum { GD_IMAGE_CHUNK = 32 };

/* This rank's part of a set of n images: gd_range_chunks of GD_IMAGE_CHUNK. Local. */
gd_range gd_range_images(const gd_comm *comm, int64_t n);

/* ---- Large transfers --------------------------------------------------------------------------- */

/* Maximum number of elements of `nbytes` bytes in one call of MPI or HDF5; at least 1. Larger arrays are moved in
 * pieces, because counts in those calls are ints. Local. */
int64_t gd_transfer_piece(size_t nbytes);
/* Sets the number of bytes per piece, for tests; 0: the default of 256 MiB. Local; the same on all ranks. */
void gd_transfer_limit(size_t nbytes);

/* MPI_Bcast of n elements of a predefined type; n may exceed an int. Collective on comm. */
void gd_comm_broadcast(const gd_comm *comm, void *data, int64_t n, MPI_Datatype type, int root);

/* Gives every rank all n rows of `width` elements in data (n, width), of which each has filled in its
 * gd_range_images. Collective on comm. */
void gd_comm_share_images(const gd_comm *comm, void *data, int64_t n, int64_t width, MPI_Datatype type);
/* MPI_Allreduce in place; n may exceed an int. Collective on comm. */
void gd_comm_allreduce(const gd_comm *comm, void *data, int64_t n, MPI_Datatype type, MPI_Op op);

/* ---- Arrays of a node ---------------------------------------------------------------------------- */

/* An array of bytes of which the ranks of a node hold one copy together. */
typedef struct gd_node_array gd_node_array;

/* Creates an array of nbytes bytes, the same on all ranks, uninitialised. Collective on comm. On a node whose shared
 * memory has too little room (/dev/shm, ulimit -f) each rank has a copy of its own, with a warning. */
void gd_node_array_create(gd_node_array **out, const gd_comm *comm, size_t nbytes);
/* Collective on the array's comm. Accepts NULL, sets NULL. */
void gd_node_array_destroy(gd_node_array **array);

/* The bytes, as this rank sees them. Rank 0 writes them before gd_node_array_publish. Local. */
void *gd_node_array_data(const gd_node_array *array);
/* Bytes that this rank holds: none where it sees those of another rank. Local. */
size_t gd_node_array_nbytes(const gd_node_array *array);

/* Gives all ranks the bytes that rank 0 has written. Collective on the array's comm. */
void gd_node_array_publish(gd_node_array *array);

/* ---- Watchdog ---------------------------------------------------------------------------------- */

/* Ends a job that has stalled. A thread on each rank reports to rank 0 what its rank is doing (gd_progress), and rank 0
 * answers. The job has stalled when a rank has been silent for the time-out (stopped, swapped out, node lost), or when
 * no rank has made progress for that long (a file system that does not respond, ranks that wait for each other). One
 * message then names the ranks, the MPI function, the piece of work and the step, and all ranks are aborted with exit
 * status 134. A rank that reports progress may let the others wait for any time. MPI functions are recorded through
 * MPI's profiling interface, which includes those that HDF5 and ScaLAPACK call.
 *
 * Without MPI_THREAD_MULTIPLE the ranks cannot exchange reports: each watches itself only. */
typedef struct gd_watchdog gd_watchdog;

/* Starts a watchdog. Collective on comm. */
void gd_watchdog_start(gd_watchdog **out, const gd_comm *comm);
/* Sets the time-out of all watchdogs in seconds, at first 600; 0: never. Local; the same on all ranks. */
void gd_watchdog_timeout(double seconds);
/* Ends the watchdog. Collective on comm. Accepts NULL, sets NULL. */
void gd_watchdog_stop(gd_watchdog **watchdog);

/* ---- Gradient reduction ---------------------------------------------------------------------- */

typedef enum gd_reduction { GD_REDUCTION_TREE, GD_REDUCTION_FAST } gd_reduction;

/* Sums one float32 array per slot over all slots of all ranks.
 *
 * The slots 0 .. n_slots-1 (a power of two) are the leaves of one fixed binary tree; rank r holds the slots
 * gd_range_block(n_slots, size, r). With GD_REDUCTION_TREE the sum has the same bits for every rank count. With
 * GD_REDUCTION_FAST a rank may add up its slots in advance, and ranks are added in any order. */
typedef struct gd_slot_sum gd_slot_sum;

/* Creates a sum of arrays of n elements. Collective on comm, which it duplicates. */
void gd_slot_sum_create(gd_slot_sum **out, const gd_comm *comm, int n_slots, int64_t n, gd_reduction reduction);
/* Collective on comm. Accepts NULL, sets NULL. Not allowed between gd_slot_sum_ready with `last` and
 * gd_slot_sum_finish. */
void gd_slot_sum_destroy(gd_slot_sum **sum);

/* The buffer of n floats to write the next array of this rank into. Local. */
float *gd_slot_sum_buffer(gd_slot_sum *sum);

/* Announces that the elements of the buffer from `first` on are final: the caller neither writes nor reads them before
 * the push. `first` never rises between two pushes. With `last`, this is the rank's last array before
 * gd_slot_sum_finish: the reduction of the final elements then starts while the caller still computes, and each further
 * call advances it. Never waits. Local; messages advance when the other ranks call it too, or are in
 * gd_slot_sum_finish. Optional on each rank. Does nothing with GD_REDUCTION_TREE and a rank count that is not a power
 * of two. */
void gd_slot_sum_ready(gd_slot_sum *sum, bool last, int64_t first);

/* Adds the buffer as the array of `slot`. Local. Slots are pushed in ascending order. With GD_REDUCTION_FAST one array
 * may hold the sum of all slots of this rank; `slot` is then the first of them. */
void gd_slot_sum_push(gd_slot_sum *sum, int slot);

/* The sum over all slots of all ranks, n floats, the same on every rank. Valid until the next gd_slot_sum_buffer.
 * Collective on comm. */
float *gd_slot_sum_finish(gd_slot_sum *sum);

#endif
