/* Gradient reduction between any number of ranks, level by level of the tree: see slot_sum.h.
 *
 * Nodes are in the order of their slots: a rank sends its first node to a lower rank, and what it receives is added to
 * its last one. On each level it sends before it receives. So ranks cannot wait for each other in a circle. */
#include <string.h>

#include "comm/slot_sum.h"

static int slot_owner(const gd_slot_sum *sum, int64_t slot) {
  int rank = (int)(slot * sum->comm->size / sum->n_slots);  // a guess that is close: blocks differ by at most one slot
  while (rank > 0 && slot < gd_range_block(sum->n_slots, sum->comm->size, rank).begin) rank--;
  while (slot >= gd_range_block(sum->n_slots, sum->comm->size, rank).end) rank++;
  return rank;
}

static int chunk_length(const gd_slot_sum *sum, int64_t begin) {
  int64_t left = sum->n - begin;
  return left < GD_SLOT_CHUNK ? (int)left : GD_SLOT_CHUNK;
}

// Sends node (level, index) to the owner of its left sibling.
static void send_node(gd_slot_sum *sum, int level, int index, int to) {
  GD_REQUIRE(sum->n_stack > 0 && sum->stack[0].level == level && sum->stack[0].index == index);
  float *values = sum->stack[0].values;
  for (int64_t at = 0; at < sum->n; at += GD_SLOT_CHUNK)
    MPI_Send(values + at, chunk_length(sum, at), MPI_FLOAT, to, 0, sum->comm->mpi);
  gd_slot_buffer_give(sum, values);
  sum->n_stack--;
  memmove(sum->stack, sum->stack + 1, sizeof(gd_slot_node) * (size_t)sum->n_stack);
}

// Adds the right sibling of node (level, index) to it.
static void receive_sibling(gd_slot_sum *sum, int level, int index, int from) {
  GD_REQUIRE(sum->n_stack > 0);
  gd_slot_node *left = &sum->stack[sum->n_stack - 1];
  GD_REQUIRE(left->level == level && left->index == index);
  for (int64_t at = 0; at < sum->n; at += GD_SLOT_CHUNK) {
    int n = chunk_length(sum, at);
    MPI_Recv(sum->scratch, n, MPI_FLOAT, from, 0, sum->comm->mpi, MPI_STATUS_IGNORE);
    gd_slot_add(left->values + at, sum->scratch, n);
  }
  left->level++;
  left->index /= 2;
}

void gd_slot_levels_finish(gd_slot_sum *sum) {
  int rank = sum->comm->rank;
  for (int level = 0; 1 << level < sum->n_slots; level++) {
    for (int left = 0; left < sum->n_slots >> level; left += 2) {
      int left_owner = slot_owner(sum, (int64_t)left << level);
      int right_owner = slot_owner(sum, (int64_t)(left + 1) << level);
      if (left_owner == right_owner) continue;
      if (rank == right_owner) send_node(sum, level, left + 1, left_owner);
      if (rank == left_owner) receive_sibling(sum, level, left, right_owner);
    }
    gd_slot_merge_siblings(sum);  // what arrived may complete a pair
  }
  if (rank != 0) gd_slot_stack_put(sum, gd_slot_buffer_take(sum), 0, 0);
  gd_comm_broadcast(sum->comm, sum->stack[0].values, sum->n, MPI_FLOAT, 0);
}
