/* Gradient reduction: one fixed binary tree over the slots of all ranks.
 *
 * Node (level, i) is the sum over the slots i << level .. ((i + 1) << level) - 1, always left child plus right
 * child; it belongs to the rank that owns its first slot. Within a rank pushes combine like a binary counter, so
 * few arrays exist at a time. The last push combines by buckets, each of which goes to the other ranks at once: beside
 * the caller's work where gd_slot_sum_ready says what is final. Where the rank count is a power of two the tree goes
 * on as recursive halving and doubling of each bucket, which moves less than two arrays a rank; otherwise level by
 * level and then a broadcast, all in gd_slot_sum_finish, or for the fast sum as MPI_Iallreduce of each bucket. */
#include <string.h>

#include "gendistill/comm.h"

enum {
  MAX_BUFFERS = 80,    // a counter of 31 levels has at most 2 * 31 nodes
  BUCKET = 1 << 19,    // floats; even
  CHUNK = BUCKET / 2,  // most floats a message: what is added is still in the cache
  MAX_IN_FLIGHT = 6,   // buckets; more of them leave the cache, fewer stand still between calls
  MAX_TAG = 32767,     // MPI promises so many
};

typedef struct node {
  float *values;
  int level;
  int index;
} node;

// A bucket under way to the other ranks.
typedef struct bucket {
  gd_range range;
  int phase;                // of the sum's n_phases
  MPI_Request requests[2];  // of this phase
  float *scratch;           // (CHUNK)
  int tag;
} bucket;

struct gd_slot_sum {
  gd_comm *comm;  // own copy: nothing of the caller's comes between the messages
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
  float *scratch;  // (MAX_IN_FLIGHT, CHUNK)

  bool by_buckets;  // false: a tree over a rank count that is not a power of two
  int n_phases;     // of a bucket: two a level of ranks, or one MPI_Iallreduce
  bool is_last;     // gd_slot_sum_ready said so
  int64_t n_buckets, n_merged, n_started, n_done;
  bucket in_flight[MAX_IN_FLIGHT];  // number k, n_done <= k < n_started, stands at k modulo the length
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
  gd_comm_create(&sum->comm, comm->mpi);
  sum->n_slots = n_slots;
  sum->n = n;
  sum->reduction = reduction;
  sum->local = gd_range_block(n_slots, comm->size, comm->rank);
  sum->next = sum->local.begin;
  sum->scratch = gd_alloc(sizeof(float) * MAX_IN_FLIGHT * CHUNK);
  bool is_power_of_two = (comm->size & (comm->size - 1)) == 0;
  sum->by_buckets = is_power_of_two || reduction == GD_REDUCTION_FAST;
  if (is_power_of_two)
    for (int distance = 1; distance < comm->size; distance *= 2) sum->n_phases += 2;
  else
    sum->n_phases = 1;
  sum->n_buckets = (n + BUCKET - 1) / BUCKET;
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

float *gd_slot_sum_buffer(gd_slot_sum *sum) {
  if (sum->result) {
    buffer_give(sum, sum->result);
    sum->result = NULL;
  }
  GD_REQUIRE(sum->pending || !sum->is_last);
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
  bool is_tree = sum->reduction == GD_REDUCTION_TREE;
  GD_REQUIRE(slot >= sum->next && slot < sum->local.end && (!is_tree || slot == sum->next));
  stack_put(sum, sum->pending, 0, slot);
  sum->pending = NULL;
  sum->next = slot + 1;
  if (is_tree) {
    if (!sum->by_buckets || sum->next < sum->local.end) merge_siblings(sum);  // the last one: see merge_bucket
  } else if (!sum->is_last && sum->n_stack == 2) {
    add(sum->stack[0].values, sum->stack[1].values, sum->n);
    buffer_give(sum, sum->stack[--sum->n_stack].values);
  }
}

// ---- Across ranks, by buckets

static float *bottom(const gd_slot_sum *sum) {
  return sum->n_stack > 0 ? sum->stack[0].values : sum->pending;
}

// Adds up this rank's arrays, topmost pair first: with the last slot's array they are a left spine of the tree, so this
// is the tree's order.
static void merge_bucket(gd_slot_sum *sum, gd_range range) {
  const float *right = sum->pending;
  for (int i = sum->n_stack - 1; i >= 0; i--) {
    float *left = sum->stack[i].values;
    if (right) add(left + range.begin, right + range.begin, range.end - range.begin);
    right = left;
  }
}

// Bucket k in the order of reduction: the array's tail comes first. Starts at multiples of BUCKET, so that they are
// aligned.
static gd_range bucket_range(const gd_slot_sum *sum, int64_t k) {
  int64_t begin = (sum->n_buckets - 1 - k) * BUCKET;
  return (gd_range){begin, k == 0 ? sum->n : begin + BUCKET};
}

// What is left of a range for `rank` after so many halvings.
static gd_range part(gd_range range, int rank, int n_halvings) {
  for (int i = 0; i < n_halvings; i++) {
    int64_t middle = range.begin + (range.end - range.begin) / 2;
    if (rank & 1 << i)
      range.begin = middle;
    else
      range.end = middle;
  }
  return range;
}

// Partners at distance 1, 2, 4 ... are siblings in the tree, so every element is added up in the tree's order,
// each by the rank that keeps its part of the bucket. The second half of the phases hands the sums back.
static bool is_halving(const gd_slot_sum *sum, const bucket *b) {
  return b->phase < sum->n_phases / 2;
}

// The analyser knows no MPI_Testall: it takes the requests that end there for lost ones.
// NOLINTBEGIN(clang-analyzer-optin.mpi.MPI-Checker)

// Starts the messages of the present phase.
static void post(gd_slot_sum *sum, bucket *b) {
  float *values = bottom(sum);
  MPI_Comm mpi = sum->comm->mpi;
  if (b->phase == sum->n_phases) return;
  if (sum->n_phases == 1) {
    MPI_Iallreduce(MPI_IN_PLACE, values + b->range.begin, (int)(b->range.end - b->range.begin), MPI_FLOAT, MPI_SUM, mpi,
                   &b->requests[0]);
    return;
  }
  bool halving = is_halving(sum, b);
  int level = halving ? b->phase : sum->n_phases - 1 - b->phase, partner = sum->comm->rank ^ 1 << level;
  gd_range mine = part(b->range, sum->comm->rank, level + 1), other = part(b->range, partner, level + 1);
  gd_range in = halving ? mine : other, out = halving ? other : mine;
  MPI_Irecv(halving ? b->scratch : values + in.begin, (int)(in.end - in.begin), MPI_FLOAT, partner, b->tag, mpi,
            &b->requests[0]);
  MPI_Isend(values + out.begin, (int)(out.end - out.begin), MPI_FLOAT, partner, b->tag, mpi, &b->requests[1]);
}

// Takes a bucket through the phases whose messages are complete.
static void advance(gd_slot_sum *sum, bucket *b) {
  while (b->phase < sum->n_phases) {
    int complete = 0;
    MPI_Testall(2, b->requests, &complete, MPI_STATUSES_IGNORE);
    if (!complete) return;
    if (is_halving(sum, b)) {
      gd_range mine = part(b->range, sum->comm->rank, b->phase + 1);
      add(bottom(sum) + mine.begin, b->scratch, mine.end - mine.begin);
    }
    b->phase++;
    post(sum, b);
  }
}

// Moves on what is under way and starts what is ready, as far as that goes without waiting. Buckets start and end in
// the same order on all ranks: the oldest one not ended is under way, or will be, on all ranks that have not ended it,
// so a rank may wait for its oldest one alone.
static void progress(gd_slot_sum *sum) {
  for (int64_t k = sum->n_done; k < sum->n_started; k++) advance(sum, &sum->in_flight[k % MAX_IN_FLIGHT]);
  while (sum->n_done < sum->n_started && sum->in_flight[sum->n_done % MAX_IN_FLIGHT].phase == sum->n_phases)
    sum->n_done++;
  while (sum->n_started < sum->n_merged && sum->n_started < sum->n_done + MAX_IN_FLIGHT) {
    int64_t k = sum->n_started++;
    bucket *b = &sum->in_flight[k % MAX_IN_FLIGHT];
    *b = (bucket){.range = bucket_range(sum, k),
                  .requests = {MPI_REQUEST_NULL, MPI_REQUEST_NULL},
                  .scratch = sum->scratch + k % MAX_IN_FLIGHT * CHUNK,
                  .tag = (int)(k % MAX_TAG)};
    post(sum, b);
  }
}

static void reduce_from(gd_slot_sum *sum, int64_t first) {
  int64_t n_final = sum->n_buckets - (first + BUCKET - 1) / BUCKET;
  progress(sum);
  while (sum->n_merged < n_final) {
    merge_bucket(sum, bucket_range(sum, sum->n_merged++));
    progress(sum);
  }
}

void gd_slot_sum_ready(gd_slot_sum *sum, bool last, int64_t first) {
  GD_REQUIRE(sum->pending && first >= 0 && first <= sum->n);
  if (!last || !sum->by_buckets) return;
  GD_REQUIRE(sum->reduction == GD_REDUCTION_FAST || sum->next == sum->local.end - 1);
  sum->is_last = true;
  reduce_from(sum, first);
}

static void finish_buckets(gd_slot_sum *sum) {
  reduce_from(sum, 0);
  while (sum->n_done < sum->n_buckets) {
    MPI_Waitall(2, sum->in_flight[sum->n_done % MAX_IN_FLIGHT].requests, MPI_STATUSES_IGNORE);
    progress(sum);
  }
  while (sum->n_stack > 1) buffer_give(sum, sum->stack[--sum->n_stack].values);
  sum->n_merged = sum->n_started = sum->n_done = 0;
  sum->is_last = false;
}

// ---- Across ranks, any rank count

static int64_t clip(int64_t n, int64_t least, int64_t most) {
  return n < least ? least : n > most ? most : n;
}

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
    for (int64_t at = 0; at < sum->n; at += CHUNK)
      MPI_Send(values + at, (int)clip(sum->n - at, 0, CHUNK), MPI_FLOAT, left_owner, 0, comm->mpi);
    buffer_give(sum, values);
    sum->n_stack--;
    memmove(sum->stack, sum->stack + 1, sizeof(node) * (size_t)sum->n_stack);
  } else if (comm->rank == left_owner) {
    GD_REQUIRE(sum->n_stack > 0);
    node *left = &sum->stack[sum->n_stack - 1];
    GD_REQUIRE(left->level == level && left->index == index);
    for (int64_t at = 0; at < sum->n; at += CHUNK) {
      int n_in = (int)clip(sum->n - at, 0, CHUNK);
      MPI_Recv(sum->scratch, n_in, MPI_FLOAT, right_owner, 0, comm->mpi, MPI_STATUS_IGNORE);
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
  gd_comm_broadcast(sum->comm, sum->stack[0].values, sum->n, MPI_FLOAT, 0);
}

float *gd_slot_sum_finish(gd_slot_sum *sum) {
  GD_REQUIRE(!sum->pending && !sum->result && sum->n_stack > 0);
  GD_REQUIRE(sum->reduction == GD_REDUCTION_FAST || sum->next == sum->local.end);
  if (sum->by_buckets)
    finish_buckets(sum);
  else
    finish_levels(sum);
  GD_REQUIRE(sum->n_stack == 1);
  sum->result = sum->stack[0].values;
  sum->n_stack = 0;
  sum->next = sum->local.begin;
  return sum->result;
}
// NOLINTEND(clang-analyzer-optin.mpi.MPI-Checker)
