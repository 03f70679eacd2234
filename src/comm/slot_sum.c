/* Gradient reduction: one fixed binary tree over the slots of all ranks.
 *
 * Node (level, i) is the sum over the slots i << level .. ((i + 1) << level) - 1, always left child plus right
 * child; it belongs to the rank that owns its first slot. Within a rank pushes combine like a binary counter, so
 * few arrays exist at a time. Where the rank count is a power of two the tree goes on as recursive halving and
 * doubling, which moves less than two arrays a rank; otherwise level by level, and then a broadcast. */
#include <string.h>

#include "gendistill/comm.h"

enum {
  MAX_BUFFERS = 80,            // a counter of 31 levels has at most 2 * 31 nodes
  EXCHANGE_CHUNK = 1 << 18,    // floats a message: what is added is still in the cache
  COLLECTIVE_CHUNK = 1 << 26,  // floats a collective: byte counts stay below INT_MAX
  TAG_TREE = 1,
};

typedef struct node {
  float *values;
  int level;
  int index;
} node;

struct gd_slot_sum {
  const gd_comm *comm;
  int n_slots;
  int64_t n;
  gd_reduction reduction;
  gd_range local;  // slots of this rank
  int64_t next;    // slot expected next
  node stack[MAX_BUFFERS];
  int n_stack;
  float *unused[MAX_BUFFERS];
  int n_unused;
  float *pending;  // handed out, not pushed
  float *result;   // of the last finish
  float *scratch;  // one chunk
};

// ---- Buffers

static float *buffer_take(gd_slot_sum *sum) {
  if (sum->n_unused > 0) return sum->unused[--sum->n_unused];
  return gd_alloc(sizeof(float) * (size_t)sum->n);
}

static void buffer_give(gd_slot_sum *sum, float *buffer) {
  GD_REQUIRE(sum->n_unused < MAX_BUFFERS);
  sum->unused[sum->n_unused++] = buffer;
}

void gd_slot_sum_create(gd_slot_sum **out, const gd_comm *comm, int n_slots, int64_t n, gd_reduction reduction) {
  GD_REQUIRE(n_slots > 0 && (n_slots & (n_slots - 1)) == 0);
  GD_REQUIRE(comm->size <= n_slots && n >= 0);
  gd_slot_sum *sum = GD_NEW(gd_slot_sum);
  sum->comm = comm;
  sum->n_slots = n_slots;
  sum->n = n;
  sum->reduction = reduction;
  sum->local = gd_range_block(n_slots, comm->size, comm->rank);
  sum->next = sum->local.begin;
  sum->scratch = gd_alloc(sizeof(float) * EXCHANGE_CHUNK);
  *out = sum;
}

void gd_slot_sum_destroy(gd_slot_sum **out) {
  gd_slot_sum *sum = *out;
  if (!sum) return;
  for (int i = 0; i < sum->n_stack; i++) gd_free(sum->stack[i].values);
  for (int i = 0; i < sum->n_unused; i++) gd_free(sum->unused[i]);
  gd_free(sum->pending);
  gd_free(sum->result);
  gd_free(sum->scratch);
  gd_free(sum);
  *out = NULL;
}

float *gd_slot_sum_buffer(gd_slot_sum *sum) {
  if (sum->result) {
    buffer_give(sum, sum->result);
    sum->result = NULL;
  }
  if (!sum->pending) sum->pending = buffer_take(sum);
  return sum->pending;
}

// ---- Within a rank

static void add(float *into, const float *values, int64_t n) {
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < n; i++) into[i] += values[i];
}

// Merges the two topmost nodes for as long as they are siblings.
static void merge_siblings(gd_slot_sum *sum) {
  while (sum->n_stack >= 2) {
    node *left = &sum->stack[sum->n_stack - 2], *right = &sum->stack[sum->n_stack - 1];
    if (left->level != right->level || left->index + 1 != right->index || left->index % 2 != 0) return;
    add(left->values, right->values, sum->n);
    buffer_give(sum, right->values);
    left->level++;
    left->index /= 2;
    sum->n_stack--;
  }
}

static void stack_put(gd_slot_sum *sum, float *values, int level, int index) {
  GD_REQUIRE(sum->n_stack < MAX_BUFFERS);
  sum->stack[sum->n_stack++] = (node){values, level, index};
}

void gd_slot_sum_push(gd_slot_sum *sum, int slot) {
  GD_REQUIRE(sum->pending);
  float *values = sum->pending;
  sum->pending = NULL;
  if (sum->reduction == GD_REDUCTION_TREE) {
    GD_REQUIRE(slot == sum->next && slot < sum->local.end);
    stack_put(sum, values, 0, slot);
    merge_siblings(sum);
  } else {
    GD_REQUIRE(slot >= sum->next && slot < sum->local.end);
    if (sum->n_stack == 0) {
      stack_put(sum, values, 0, slot);
    } else {
      add(sum->stack[0].values, values, sum->n);
      buffer_give(sum, values);
    }
  }
  sum->next = slot + 1;
}

// ---- Across ranks, rank count a power of two

static int64_t clip(int64_t n, int64_t least, int64_t most) {
  return n < least ? least : n > most ? most : n;
}

// Swaps parts of an array with `partner`. What comes in is added to, or replaces, the part received.
static void exchange(const gd_slot_sum *sum, float *values, int partner, gd_range send, gd_range receive, bool adding) {
  int64_t n_send = send.end - send.begin, n_receive = receive.end - receive.begin;
  int64_t n_most = n_send > n_receive ? n_send : n_receive;  // the partner's too: equally many messages
  for (int64_t at = 0; at < n_most; at += EXCHANGE_CHUNK) {
    int n_out = (int)clip(n_send - at, 0, EXCHANGE_CHUNK), n_in = (int)clip(n_receive - at, 0, EXCHANGE_CHUNK);
    // an empty tail may start beyond the array: no pointer past its end
    float *out = values + (n_out ? send.begin + at : 0), *in = values + (n_in ? receive.begin + at : 0);
    MPI_Sendrecv(out, n_out, MPI_FLOAT, partner, TAG_TREE, adding ? sum->scratch : in, n_in, MPI_FLOAT, partner,
                 TAG_TREE, sum->comm->mpi, MPI_STATUS_IGNORE);
    if (adding) add(in, sum->scratch, n_in);
  }
}

// Partners at distance 1, 2, 4 ... are siblings in the tree, so every element is added up in the tree's order,
// each by the rank that keeps its part of the array.
static void finish_halving(const gd_slot_sum *sum, float *values) {
  int rank = sum->comm->rank, size = sum->comm->size, n_splits = 0;
  gd_range mine = {0, sum->n}, others[32] = {{0, 0}};
  for (int distance = 1; distance < size; distance *= 2) {
    int64_t middle = mine.begin + (mine.end - mine.begin) / 2;
    gd_range low = {mine.begin, middle}, high = {middle, mine.end};
    bool is_left = (rank & distance) == 0;
    mine = is_left ? low : high;
    others[n_splits] = is_left ? high : low;
    exchange(sum, values, rank ^ distance, others[n_splits++], mine, true);
  }
  for (int distance = size / 2; distance > 0; distance /= 2) {
    gd_range other = others[--n_splits];
    exchange(sum, values, rank ^ distance, mine, other, false);
    if (other.begin < mine.begin) mine.begin = other.begin;
    if (other.end > mine.end) mine.end = other.end;
  }
}

// ---- Across ranks, any rank count

static int slot_owner(const gd_slot_sum *sum, int64_t slot) {
  int rank = (int)(slot * sum->comm->size / sum->n_slots);  // near; blocks differ by at most one slot
  while (rank > 0 && slot < gd_range_block(sum->n_slots, sum->comm->size, rank).begin) rank--;
  while (slot >= gd_range_block(sum->n_slots, sum->comm->size, rank).end) rank++;
  return rank;
}

// The parent of nodes (level, index) and (level, index + 1), whose owners are different ranks.
static void merge_across(gd_slot_sum *sum, int level, int index, int left_owner, int right_owner) {
  const gd_comm *comm = sum->comm;
  // nodes stand in slot order: what comes from the right joins the last one, what goes to the left is the first
  if (comm->rank == right_owner) {
    GD_REQUIRE(sum->n_stack > 0 && sum->stack[0].level == level && sum->stack[0].index == index + 1);
    float *values = sum->stack[0].values;
    for (int64_t at = 0; at < sum->n; at += EXCHANGE_CHUNK)
      MPI_Send(values + at, (int)clip(sum->n - at, 0, EXCHANGE_CHUNK), MPI_FLOAT, left_owner, TAG_TREE, comm->mpi);
    buffer_give(sum, values);
    sum->n_stack--;
    memmove(sum->stack, sum->stack + 1, sizeof(node) * (size_t)sum->n_stack);
  } else if (comm->rank == left_owner) {
    GD_REQUIRE(sum->n_stack > 0);
    node *left = &sum->stack[sum->n_stack - 1];
    GD_REQUIRE(left->level == level && left->index == index);
    for (int64_t at = 0; at < sum->n; at += EXCHANGE_CHUNK) {
      int n_in = (int)clip(sum->n - at, 0, EXCHANGE_CHUNK);
      MPI_Recv(sum->scratch, n_in, MPI_FLOAT, right_owner, TAG_TREE, comm->mpi, MPI_STATUS_IGNORE);
      add(left->values + at, sum->scratch, n_in);
    }
    left->level++;
    left->index /= 2;
  }
}

// Messages go to lower ranks only and each rank sends before it receives, so they cannot wait for each other in a
// circle.
static void finish_levels(gd_slot_sum *sum) {
  for (int level = 0; 1 << level < sum->n_slots; level++) {
    for (int index = 0; index < sum->n_slots >> level; index += 2) {
      int left_owner = slot_owner(sum, (int64_t)index << level);
      int right_owner = slot_owner(sum, (int64_t)(index + 1) << level);
      if (left_owner != right_owner) merge_across(sum, level, index, left_owner, right_owner);
    }
    merge_siblings(sum);  // what arrived may complete a pair
  }
  if (sum->comm->rank != 0) stack_put(sum, buffer_take(sum), 0, 0);
  float *values = sum->stack[0].values;
  for (int64_t at = 0; at < sum->n; at += COLLECTIVE_CHUNK)
    MPI_Bcast(values + at, (int)clip(sum->n - at, 0, COLLECTIVE_CHUNK), MPI_FLOAT, 0, sum->comm->mpi);
}

static void finish_fast(gd_slot_sum *sum) {
  float *values = sum->stack[0].values;
  for (int64_t at = 0; at < sum->n; at += COLLECTIVE_CHUNK) {
    int n_chunk = (int)clip(sum->n - at, 0, COLLECTIVE_CHUNK);
    MPI_Allreduce(MPI_IN_PLACE, values + at, n_chunk, MPI_FLOAT, MPI_SUM, sum->comm->mpi);
  }
}

float *gd_slot_sum_finish(gd_slot_sum *sum) {
  bool is_power_of_two = (sum->comm->size & (sum->comm->size - 1)) == 0;
  GD_REQUIRE(!sum->pending && !sum->result && sum->n_stack > 0);
  if (sum->reduction == GD_REDUCTION_FAST) {
    finish_fast(sum);
  } else {
    GD_REQUIRE(sum->next == sum->local.end);
    if (is_power_of_two)
      finish_halving(sum, sum->stack[0].values);
    else
      finish_levels(sum);
  }
  GD_REQUIRE(sum->n_stack == 1);
  sum->result = sum->stack[0].values;
  sum->n_stack = 0;
  sum->next = sum->local.begin;
  return sum->result;
}
