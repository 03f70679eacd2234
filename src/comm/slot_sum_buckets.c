/* Gradient reduction between ranks, bucket by bucket, while the caller still computes: see slot_sum.h.
 *
 * Buckets are numbered from the array's end, in the order in which backward completes them. Where the rank count is a
 * power of two each goes through recursive halving and doubling, which moves less than two arrays per rank. With 4
 * ranks and a bucket of quarters a b c d, a rank has after each phase:
 *
 *                                rank 0     rank 1     rank 2     rank 3
 *   halving at distance 1        a b        c d        a b        c d        sums of ranks 0, 1 and of ranks 2, 3
 *   halving at distance 2        a          c          b          d          sums of all ranks
 *   doubling at distance 2       a b        c d        a b        c d
 *   doubling at distance 1       a b c d    a b c d    a b c d    a b c d
 *
 * Partners at distance 1, 2, 4 ... hold siblings of the tree, so every element is added up in the tree's order, by the
 * one rank that keeps it. For other rank counts (fast sum only) MPI_Iallreduce is the one phase of a bucket.
 *
 * Buckets start, and end, in the same order on all ranks. So the oldest bucket that has not ended on some rank is in
 * flight, or will be, on every rank that has not ended it: a rank may wait for its oldest bucket without deadlock. */
#include "comm/slot_sum.h"

static gd_range bucket_range(const gd_slot_sum *sum, int64_t k) {
  int64_t begin = (sum->n_buckets - 1 - k) * GD_SLOT_BUCKET;  // a multiple of the length, so that buckets are aligned
  return (gd_range){begin, k == 0 ? sum->n : begin + GD_SLOT_BUCKET};
}

static gd_slot_bucket *bucket_in_flight(gd_slot_sum *sum, int64_t k) {
  return &sum->in_flight[k % GD_SLOT_MAX_IN_FLIGHT];
}

// ---- Within this rank

// The array that holds this rank's sum, and then that of all ranks: its first node's.
static float *bucket_values(const gd_slot_sum *sum) {
  return sum->n_stack > 0 ? sum->stack[0].values : sum->pending;
}

// Adds up this rank's arrays in the bucket, from the top of the stack down. With the last slot's array, pushed or still
// pending, each node is the right sibling of the one below it, so this is the tree's order.
static void merge_bucket(gd_slot_sum *sum, gd_range range) {
  const float *right = sum->pending;
  for (int i = sum->n_stack - 1; i >= 0; i--) {
    float *left = sum->stack[i].values;
    if (right) gd_slot_add(left + range.begin, right + range.begin, range.end - range.begin);
    right = left;
  }
}

// ---- Phases of a bucket

static int count_phases(const gd_slot_sum *sum) {
  return sum->exchange == GD_SLOT_ALLREDUCE ? 1 : 2 * sum->n_rank_levels;
}

// The part of a bucket that `rank` keeps after n halvings, at distances 1, 2, 4 ...
static gd_range kept_part(gd_range range, int rank, int n) {
  for (int i = 0; i < n; i++) {
    int64_t middle = range.begin + (range.end - range.begin) / 2;
    if (rank & 1 << i)
      range.begin = middle;
    else
      range.end = middle;
  }
  return range;
}

// What a rank and its partner exchange in one phase of halving and doubling.
typedef struct gd_slot_swap {
  int partner;
  bool is_halving;          // what is received is added; otherwise it is the sum already
  gd_range received, sent;  // elements
} gd_slot_swap;

static gd_slot_swap swap_of_phase(const gd_slot_sum *sum, const gd_slot_bucket *b) {
  int rank = sum->comm->rank, n = sum->n_rank_levels;
  bool is_halving = b->phase < n;
  int level = is_halving ? b->phase : 2 * n - 1 - b->phase, partner = rank ^ 1 << level;
  gd_range mine = kept_part(b->range, rank, level + 1), other = kept_part(b->range, partner, level + 1);
  return (gd_slot_swap){.partner = partner,
                        .is_halving = is_halving,
                        .received = is_halving ? mine : other,
                        .sent = is_halving ? other : mine};
}

static void start_allreduce(gd_slot_sum *sum, gd_slot_bucket *b) {
  float *values = bucket_values(sum) + b->range.begin;
  int n = (int)(b->range.end - b->range.begin);
  MPI_Iallreduce(MPI_IN_PLACE, values, n, MPI_FLOAT, MPI_SUM, sum->comm->mpi, &b->requests[0]);
}

static void start_swap(gd_slot_sum *sum, gd_slot_bucket *b) {
  gd_slot_swap s = swap_of_phase(sum, b);
  float *values = bucket_values(sum), *in = s.is_halving ? b->scratch : values + s.received.begin;
  MPI_Irecv(in, (int)(s.received.end - s.received.begin), MPI_FLOAT, s.partner, b->tag, sum->comm->mpi,
            &b->requests[0]);
  MPI_Isend(values + s.sent.begin, (int)(s.sent.end - s.sent.begin), MPI_FLOAT, s.partner, b->tag, sum->comm->mpi,
            &b->requests[1]);
}

static void start_phase(gd_slot_sum *sum, gd_slot_bucket *b) {
  if (b->phase == count_phases(sum)) return;
  if (sum->exchange == GD_SLOT_ALLREDUCE)
    start_allreduce(sum, b);
  else
    start_swap(sum, b);
}

static void end_phase(gd_slot_sum *sum, gd_slot_bucket *b) {
  if (sum->exchange == GD_SLOT_HALVING) {
    gd_slot_swap s = swap_of_phase(sum, b);
    if (s.is_halving) gd_slot_add(bucket_values(sum) + s.received.begin, b->scratch, s.received.end - s.received.begin);
  }
  b->phase++;
}

// Takes a bucket through the phases whose messages have arrived.
static void advance_bucket(gd_slot_sum *sum, gd_slot_bucket *b) {
  while (b->phase < count_phases(sum)) {
    int complete = 0;
    MPI_Testall(2, b->requests, &complete, MPI_STATUSES_IGNORE);
    if (!complete) return;
    end_phase(sum, b);
    start_phase(sum, b);
  }
}

// ---- All buckets

static void start_bucket(gd_slot_sum *sum, int64_t k) {
  gd_slot_bucket *b = bucket_in_flight(sum, k);
  *b = (gd_slot_bucket){.range = bucket_range(sum, k),
                        .requests = {MPI_REQUEST_NULL, MPI_REQUEST_NULL},
                        .scratch = sum->scratch + k % GD_SLOT_MAX_IN_FLIGHT * GD_SLOT_CHUNK,
                        .tag = (int)(k % GD_SLOT_MAX_TAG)};
  start_phase(sum, b);
}

// Advances the buckets in flight and starts those that are ready, without waiting.
static void advance_buckets(gd_slot_sum *sum) {
  for (int64_t k = sum->n_done; k < sum->n_started; k++) advance_bucket(sum, bucket_in_flight(sum, k));
  while (sum->n_done < sum->n_started && bucket_in_flight(sum, sum->n_done)->phase == count_phases(sum)) sum->n_done++;
  while (sum->n_started < sum->n_merged && sum->n_started < sum->n_done + GD_SLOT_MAX_IN_FLIGHT)
    start_bucket(sum, sum->n_started++);
}

void gd_slot_buckets_reduce(gd_slot_sum *sum, int64_t first) {
  int64_t n_final = sum->n_buckets - (first + GD_SLOT_BUCKET - 1) / GD_SLOT_BUCKET;
  advance_buckets(sum);
  while (sum->n_merged < n_final) {
    merge_bucket(sum, bucket_range(sum, sum->n_merged++));
    advance_buckets(sum);
  }
}

void gd_slot_buckets_finish(gd_slot_sum *sum) {
  gd_slot_buckets_reduce(sum, 0);
  while (sum->n_done < sum->n_buckets) {
    MPI_Waitall(2, bucket_in_flight(sum, sum->n_done)->requests, MPI_STATUSES_IGNORE);
    advance_buckets(sum);
  }
  while (sum->n_stack > 1) gd_slot_buffer_give(sum, sum->stack[--sum->n_stack].values);
  sum->n_merged = sum->n_started = sum->n_done = 0;
  sum->is_last = false;
}
