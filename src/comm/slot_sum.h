/* Inside of the gradient reduction: one fixed binary tree over the slots of all ranks.
 *
 * Node (level, i) is the sum of the slots i << level .. ((i + 1) << level) - 1, always its left child plus its right
 * child. So every element is added up in the same order, and rounded in the same way, for every rank count. A node
 * belongs to the rank that holds its first slot. With 8 slots:
 *
 *   level 3      0                               the sum
 *                |---------------.
 *   level 2      0               1
 *                |-------.       |-------.
 *   level 1      0       1       2       3       node (1, 3) = slot 6 + slot 7
 *                |---.   |---.   |---.   |---.
 *   level 0      0   1   2   3   4   5   6   7   the slots
 *
 *   4 ranks      rank 0  rank 1  rank 2  rank 3  a whole subtree per rank
 *   3 ranks      rank 0      rank 1      rank 2  rank 0 needs slot 3, rank 1 needs node (1, 3)
 *
 * slot_sum.c has the tree within a rank, slot_sum_buckets.c and slot_sum_levels.c have it between ranks. */
#ifndef GD_COMM_SLOT_SUM_H
#define GD_COMM_SLOT_SUM_H

#include "gendistill/comm.h"

enum {
  GD_SLOT_MAX_NODES = 80,              // on the stack: a binary counter of 31 levels has at most 2 * 31
  GD_SLOT_BUCKET = 1 << 19,            // floats; even
  GD_SLOT_CHUNK = GD_SLOT_BUCKET / 2,  // maximum floats per message: still in the cache when they are added
  GD_SLOT_MAX_IN_FLIGHT = 6,  // buckets; more do not fit in the cache, fewer leave the network idle between two calls
  GD_SLOT_MAX_TAG = 32767,    // the largest tag that every MPI library supports
};

/* How the sums of the ranks are added up. */
typedef enum gd_slot_exchange {
  GD_SLOT_HALVING,   /* ranks are a power of two: each bucket by recursive halving and doubling, in the tree's order */
  GD_SLOT_ALLREDUCE, /* other rank counts, GD_REDUCTION_FAST: each bucket by MPI_Iallreduce */
  GD_SLOT_LEVELS,    /* other rank counts, GD_REDUCTION_TREE: whole arrays level by level, then a broadcast */
} gd_slot_exchange;

/* A node of the tree that this rank holds. */
typedef struct gd_slot_node {
  float *values;  // (n)
  int level;
  int index;
} gd_slot_node;

/* A bucket that the ranks are adding up. */
typedef struct gd_slot_bucket {
  gd_range range;           // of elements
  int phase;                // from 0; done when it reaches the number of phases
  MPI_Request requests[2];  // of this phase
  float *scratch;           // (GD_SLOT_CHUNK)
  int tag;
} gd_slot_bucket;

struct gd_slot_sum {
  gd_comm *comm;  // own copy: no messages of the caller between those of the reduction
  int n_slots;
  int64_t n;  // elements per array
  gd_reduction reduction;

  // Within this rank
  gd_range local;                         // slots of this rank
  int64_t next;                           // the next slot to be pushed
  gd_slot_node stack[GD_SLOT_MAX_NODES];  // in the order of their slots; no two that could be merged yet
  int n_stack;
  float *unused[GD_SLOT_MAX_NODES];
  int n_unused;
  float *pending;  // handed out by gd_slot_sum_buffer, not pushed yet
  float *result;   // of the last finish

  // Between ranks
  gd_slot_exchange exchange;
  int n_rank_levels;  // of the tree above the ranks' own nodes, for GD_SLOT_HALVING
  float *scratch;     // (GD_SLOT_MAX_IN_FLIGHT, GD_SLOT_CHUNK)
  bool is_last;       // gd_slot_sum_ready announced this rank's last array
  // Buckets pass through three states in the order of their numbers: added up within this rank (k < n_merged), in
  // flight between ranks (k < n_started), done (k < n_done). n_done <= n_started <= n_merged <= n_buckets.
  int64_t n_buckets, n_merged, n_started, n_done;
  gd_slot_bucket in_flight[GD_SLOT_MAX_IN_FLIGHT];  // bucket k is entry k % GD_SLOT_MAX_IN_FLIGHT
};

/* into += values, n floats, with all threads. In a file of its own: tools/projection simulates it. */
void gd_slot_add(float *into, const float *values, int64_t n);

/* Takes an array of n floats, new or returned before; and returns it. */
float *gd_slot_buffer_take(gd_slot_sum *sum);
void gd_slot_buffer_give(gd_slot_sum *sum, float *buffer);

void gd_slot_stack_put(gd_slot_sum *sum, float *values, int level, int index);
/* Merges the two topmost nodes for as long as they are siblings. */
void gd_slot_merge_siblings(gd_slot_sum *sum);

/* Adds up the elements from `first` on within this rank, bucket by bucket, and advances the exchange between ranks.
 * Never waits. */
void gd_slot_buckets_reduce(gd_slot_sum *sum, int64_t first);
/* Completes all buckets; one node is left on the stack, the sum. Collective. */
void gd_slot_buckets_finish(gd_slot_sum *sum);

/* Adds up the nodes of all ranks; one node is left on the stack, the sum. Collective. */
void gd_slot_levels_finish(gd_slot_sum *sum);

#endif
