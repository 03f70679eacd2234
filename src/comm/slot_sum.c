/* Gradient reduction within a rank: see slot_sum.h.
 *
 * Slots are pushed in ascending order and merged like the bits of a binary counter, so few arrays exist at a time:
 * after the slots 0 .. 4 the stack holds the nodes (2, 0) and (0, 4). Where ranks exchange buckets, the last slot is
 * not merged here: all merges that are left then are possible at once, and slot_sum_buckets.c does them bucket by
 * bucket. */
#include "comm/slot_sum.h"

// ---- Buffers

float *gd_slot_buffer_take(gd_slot_sum *sum) {
  if (sum->n_unused > 0) return sum->unused[--sum->n_unused];
  return gd_alloc(sizeof(float) * (size_t)sum->n);
}

void gd_slot_buffer_give(gd_slot_sum *sum, float *buffer) {
  GD_REQUIRE(sum->n_unused < GD_SLOT_MAX_NODES);
  sum->unused[sum->n_unused++] = buffer;
}

float *gd_slot_sum_buffer(gd_slot_sum *sum) {
  if (sum->result) {
    gd_slot_buffer_give(sum, sum->result);
    sum->result = NULL;
  }
  GD_REQUIRE(sum->pending || !sum->is_last);
  if (!sum->pending) sum->pending = gd_slot_buffer_take(sum);
  return sum->pending;
}

// ---- Create and destroy

static gd_slot_exchange choose_exchange(int n_ranks, gd_reduction reduction) {
  if ((n_ranks & (n_ranks - 1)) == 0) return GD_SLOT_HALVING;
  return reduction == GD_REDUCTION_FAST ? GD_SLOT_ALLREDUCE : GD_SLOT_LEVELS;
}

void gd_slot_sum_create(gd_slot_sum **out, const gd_comm *comm, int n_slots, int64_t n, gd_reduction reduction) {
  GD_REQUIRE(n_slots > 0 && (n_slots & (n_slots - 1)) == 0);
  GD_REQUIRE(comm->size <= n_slots && n >= 0);
  gd_slot_sum *sum = GD_NEW(gd_slot_sum);
  gd_comm_create(&sum->comm, comm->mpi);
  sum->n_slots = n_slots;
  sum->n = n;
  sum->reduction = reduction;
  sum->local = gd_range_block(n_slots, comm->size, comm->rank);
  sum->next = sum->local.begin;
  sum->exchange = choose_exchange(comm->size, reduction);
  while (sum->exchange == GD_SLOT_HALVING && 1 << sum->n_rank_levels < comm->size) sum->n_rank_levels++;
  sum->scratch = gd_alloc(sizeof(float) * GD_SLOT_MAX_IN_FLIGHT * GD_SLOT_CHUNK);
  sum->n_buckets = (n + GD_SLOT_BUCKET - 1) / GD_SLOT_BUCKET;
  *out = sum;
}

void gd_slot_sum_destroy(gd_slot_sum **out) {
  gd_slot_sum *sum = *out;
  if (!sum) return;
  GD_REQUIRE(sum->n_done == sum->n_started);
  for (int i = 0; i < sum->n_stack; i++) gd_free(sum->stack[i].values);
  for (int i = 0; i < sum->n_unused; i++) gd_free(sum->unused[i]);
  gd_free(sum->pending);
  gd_free(sum->result);
  gd_free(sum->scratch);
  gd_comm_destroy(&sum->comm);
  gd_free(sum);
  *out = NULL;
}

// ---- The stack of nodes

void gd_slot_stack_put(gd_slot_sum *sum, float *values, int level, int index) {
  GD_REQUIRE(sum->n_stack < GD_SLOT_MAX_NODES);
  sum->stack[sum->n_stack++] = (gd_slot_node){values, level, index};
}

static bool are_siblings(const gd_slot_node *left, const gd_slot_node *right) {
  return left->level == right->level && left->index % 2 == 0 && left->index + 1 == right->index;
}

void gd_slot_merge_siblings(gd_slot_sum *sum) {
  while (sum->n_stack >= 2) {
    gd_slot_node *left = &sum->stack[sum->n_stack - 2], *right = &sum->stack[sum->n_stack - 1];
    if (!are_siblings(left, right)) return;
    gd_slot_add(left->values, right->values, sum->n);
    gd_slot_buffer_give(sum, right->values);
    left->level++;
    left->index /= 2;
    sum->n_stack--;
  }
}

static void merge_for_tree(gd_slot_sum *sum) {
  bool is_last_slot = sum->next == sum->local.end;
  if (sum->exchange == GD_SLOT_LEVELS || !is_last_slot) gd_slot_merge_siblings(sum);
}

// One sum per rank, in the order of the pushes; the last array is added bucket by bucket.
static void merge_for_fast(gd_slot_sum *sum) {
  if (sum->is_last || sum->n_stack < 2) return;
  gd_slot_add(sum->stack[0].values, sum->stack[1].values, sum->n);
  gd_slot_buffer_give(sum, sum->stack[--sum->n_stack].values);
}

void gd_slot_sum_push(gd_slot_sum *sum, int slot) {
  GD_REQUIRE(sum->pending);
  bool is_tree = sum->reduction == GD_REDUCTION_TREE;
  GD_REQUIRE(slot >= sum->next && slot < sum->local.end && (!is_tree || slot == sum->next));
  gd_slot_stack_put(sum, sum->pending, 0, slot);
  sum->pending = NULL;
  sum->next = slot + 1;
  if (is_tree)
    merge_for_tree(sum);
  else
    merge_for_fast(sum);
}

// ---- Between ranks

void gd_slot_sum_ready(gd_slot_sum *sum, bool last, int64_t first) {
  GD_REQUIRE(sum->pending && first >= 0 && first <= sum->n);
  if (!last || sum->exchange == GD_SLOT_LEVELS) return;
  GD_REQUIRE(sum->reduction == GD_REDUCTION_FAST || sum->next == sum->local.end - 1);
  sum->is_last = true;
  gd_slot_buckets_reduce(sum, first);
}

float *gd_slot_sum_finish(gd_slot_sum *sum) {
  GD_REQUIRE(!sum->pending && !sum->result && sum->n_stack > 0);
  GD_REQUIRE(sum->reduction == GD_REDUCTION_FAST || sum->next == sum->local.end);
  if (sum->exchange == GD_SLOT_LEVELS)
    gd_slot_levels_finish(sum);
  else
    gd_slot_buckets_finish(sum);
  GD_REQUIRE(sum->n_stack == 1);
  sum->result = sum->stack[0].values;
  sum->n_stack = 0;
  sum->next = sum->local.begin;
  return sum->result;
}
