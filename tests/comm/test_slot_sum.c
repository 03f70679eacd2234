/* Gradient reduction: at any rank count the tree's sum has the bits of a serial tree, and the fast sum is close to it.
 * The same holds when the reduction overlaps with the writing of the array, which never waits for another rank. */
#include <math.h>
#include <string.h>

#include "support.h"

enum { SLOTS = 8 };

// Values of very different magnitudes, so that another order of additions gives other bits.
static void fill_slot(int round, int slot, int64_t n, float *out) {
  for (int64_t i = 0; i < n; i++) {
    uint64_t bits = ((uint64_t)i + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)(round * 64 + slot + 1) * 0xc2b2ae3d27d4eb4fu;
    bits = (bits ^ bits >> 29) * 0xbf58476d1ce4e5b9u;
    float value = (float)(int32_t)(bits >> 32) * 0x1p-31f;  // in [-1, 1]
    out[i] = value * (float)(1 << (bits & 15)) * 0x1p-8f;
  }
}

// The definition of the tree: both halves first, then left plus right.
static void serial_tree(int round, int begin, int end, int64_t n, float *out) {
  if (end - begin == 1) {
    fill_slot(round, begin, n, out);
    return;
  }
  int middle = begin + (end - begin) / 2;
  float *right = GD_NEW_ARRAY(float, n);
  serial_tree(round, begin, middle, n, out);
  serial_tree(round, middle, end, n, right);
  for (int64_t i = 0; i < n; i++) out[i] += right[i];
  gd_free(right);
}

static void push_local(gd_slot_sum *sum, int round, int n_slots, int64_t n) {
  gd_range local = gd_range_block(n_slots, test_comm->size, test_comm->rank);
  for (int slot = (int)local.begin; slot < local.end; slot++) {
    fill_slot(round, slot, n, gd_slot_sum_buffer(sum));
    gd_slot_sum_push(sum, slot);
  }
}

static int64_t count_different(const float *a, const float *b, int64_t n) {
  int64_t n_different = 0;
  for (int64_t i = 0; i < n; i++) n_different += memcmp(&a[i], &b[i], sizeof *a) != 0;
  return n_different;
}

static void check_tree(int n_slots, int64_t n) {
  gd_slot_sum *sum = NULL;
  gd_slot_sum_create(&sum, test_comm, n_slots, n, GD_REDUCTION_TREE);
  float *expected = GD_NEW_ARRAY(float, n);
  for (int round = 0; round < 2; round++) {  // twice: buffers are reused
    push_local(sum, round, n_slots, n);
    const float *result = gd_slot_sum_finish(sum);
    serial_tree(round, 0, n_slots, n, expected);
    assert_int_equal(count_different(result, expected, n), 0);
  }
  gd_free(expected);
  gd_slot_sum_destroy(&sum);
  assert_null(sum);
}

static void tree_has_the_serial_bits(void **state) {
  (void)state;
  static const int64_t counts[] = {1, 2, 3, 7, 1000, 100003};
  for (int n_slots = 4; n_slots <= 16; n_slots *= 2) {
    if (n_slots < test_comm->size) continue;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) check_tree(n_slots, counts[i]);
  }
}

// As many slots as a configuration allows.
static void many_slots_have_the_serial_bits(void **state) {
  (void)state;
  check_tree(65536, 3);
}

// One array takes several messages.
static void large_arrays_have_the_serial_bits(void **state) {
  (void)state;
  check_tree(8, 600001);
}

// Guards the tests above: with their values, another order of additions gives other bits.
static void order_of_additions_matters(void **state) {
  (void)state;
  enum { N = 1000 };
  float tree[N], in_turn[N] = {0}, slot_values[N];
  serial_tree(0, 0, SLOTS, N, tree);
  for (int slot = 0; slot < SLOTS; slot++) {
    fill_slot(0, slot, N, slot_values);
    for (int i = 0; i < N; i++) in_turn[i] += slot_values[i];
  }
  assert_in_range(count_different(tree, in_turn, N), 100, N);
}

static void assert_same_on_all_ranks(const float *values, int64_t n) {
  uint64_t digest = gd_digest(values, sizeof *values * (size_t)n, 0), smallest = digest, largest = digest;
  MPI_Allreduce(MPI_IN_PLACE, &smallest, 1, MPI_UINT64_T, MPI_MIN, test_comm->mpi);
  MPI_Allreduce(MPI_IN_PLACE, &largest, 1, MPI_UINT64_T, MPI_MAX, test_comm->mpi);
  assert_true(smallest == largest);
}

static void assert_near_the_tree(const float *values, int round, int n_slots, int64_t n) {
  float *expected = GD_NEW_ARRAY(float, n);
  serial_tree(round, 0, n_slots, n, expected);
  assert_true(relative_error(values, expected, n) < 1e-6);
  gd_free(expected);
}

static void fast_sum_is_near_and_the_same_everywhere(void **state) {
  (void)state;
  enum { N = 100003 };
  gd_slot_sum *sum = NULL;
  gd_slot_sum_create(&sum, test_comm, SLOTS, N, GD_REDUCTION_FAST);
  for (int round = 0; round < 2; round++) {
    push_local(sum, round, SLOTS, N);
    const float *result = gd_slot_sum_finish(sum);
    assert_same_on_all_ranks(result, N);
    assert_near_the_tree(result, round, SLOTS, N);
  }
  gd_slot_sum_destroy(&sum);
}

static void fast_sum_takes_one_array_for_all_local_slots(void **state) {
  (void)state;
  enum { N = 1000 };
  gd_slot_sum *sum = NULL;
  gd_slot_sum_create(&sum, test_comm, SLOTS, N, GD_REDUCTION_FAST);
  gd_range local = gd_range_block(SLOTS, test_comm->size, test_comm->rank);
  float *merged = gd_slot_sum_buffer(sum), slot_values[N];
  memset(merged, 0, sizeof slot_values);
  for (int slot = (int)local.begin; slot < local.end; slot++) {
    fill_slot(0, slot, N, slot_values);
    for (int i = 0; i < N; i++) merged[i] += slot_values[i];
  }
  gd_slot_sum_push(sum, (int)local.begin);
  assert_near_the_tree(gd_slot_sum_finish(sum), 0, SLOTS, N);
  gd_slot_sum_destroy(&sum);
}

// ---- Reduction during the writing

enum { LARGE = 7 * (1 << 19) + 4321 };  // more buckets than are in flight at a time

static float *nan_buffer(gd_slot_sum *sum, int64_t n) {
  float *buffer = gd_slot_sum_buffer(sum);
  for (int64_t i = 0; i < n; i++) buffer[i] = NAN;
  return buffer;
}

// Writes the array from its end in pieces of uneven length and reports each as ready, down to the element `stop`. What
// is not yet written is NaN: if it were read, the sum would show it.
static void write_slot(gd_slot_sum *sum, int round, int slot, bool last, int64_t n, int64_t stop) {
  float *values = GD_NEW_ARRAY(float, n), *buffer = nan_buffer(sum, n);
  fill_slot(round, slot, n, values);
  gd_random key = {.seed = 5, .purpose = GD_RANDOM_NOISE, .task = (uint32_t)slot, .step = (uint32_t)round};
  int64_t first = n;
  for (uint64_t call = 0; first > stop; call++) {
    gd_slot_sum_ready(sum, last, first);
    int64_t begin = first - gd_random_below(key, call, (uint32_t)(n / 5 + 2));
    if (begin < stop) begin = stop;
    memcpy(buffer + begin, values + begin, sizeof *values * (size_t)(first - begin));
    first = begin;
  }
  if (stop < n) gd_slot_sum_ready(sum, last, first);
  memcpy(buffer, values, sizeof *values * (size_t)first);
  gd_slot_sum_push(sum, slot);
  gd_free(values);
}

// The ranks differ in what they report as ready: all of the array, nothing, or half of it.
static void write_local(gd_slot_sum *sum, int round, int64_t n) {
  gd_range local = gd_range_block(SLOTS, test_comm->size, test_comm->rank);
  int64_t stops[] = {0, n, n / 2};
  for (int slot = (int)local.begin; slot < local.end; slot++)
    write_slot(sum, round, slot, slot + 1 == local.end, n, stops[(test_comm->rank + round) % 3]);
}

static void check_sum(const float *result, gd_reduction reduction, int round, int64_t n) {
  assert_same_on_all_ranks(result, n);
  if (reduction == GD_REDUCTION_FAST) {
    assert_near_the_tree(result, round, SLOTS, n);
    return;
  }
  float *expected = GD_NEW_ARRAY(float, n);
  serial_tree(round, 0, SLOTS, n, expected);
  assert_int_equal(count_different(result, expected, n), 0);
  gd_free(expected);
}

static void check_during_writing(gd_reduction reduction) {
  static const int64_t counts[] = {1, 7, 100003, 1 << 19, (1 << 19) + 1, LARGE};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    gd_slot_sum *sum = NULL;
    gd_slot_sum_create(&sum, test_comm, SLOTS, counts[i], reduction);
    for (int round = 0; round < 4; round++) {  // the last without any report
      if (round < 3)
        write_local(sum, round, counts[i]);
      else
        push_local(sum, round, SLOTS, counts[i]);
      check_sum(gd_slot_sum_finish(sum), reduction, round, counts[i]);
    }
    gd_slot_sum_destroy(&sum);
  }
}

static void tree_during_writing_has_the_serial_bits(void **state) {
  (void)state;
  check_during_writing(GD_REDUCTION_TREE);
}

static void fast_sum_during_writing_is_near(void **state) {
  (void)state;
  check_during_writing(GD_REDUCTION_FAST);
}

// Writes all local slots but the last, which is filled but not pushed; returns that slot.
static int fill_last_slot(gd_slot_sum *sum, int64_t n) {
  gd_range local = gd_range_block(SLOTS, test_comm->size, test_comm->rank);
  for (int slot = (int)local.begin; slot + 1 < local.end; slot++) write_slot(sum, 0, slot, false, n, n);
  fill_slot(0, (int)local.end - 1, n, gd_slot_sum_buffer(sum));
  return (int)local.end - 1;
}

static void tell_others(void) {
  for (int rank = 0; rank < test_comm->size; rank++)
    if (rank != test_comm->rank) MPI_Send(NULL, 0, MPI_BYTE, rank, 0, test_comm->mpi);
}

// Whether the message of `rank` arrives within 10 seconds: a rank that waits for this one sends none. Meanwhile calls
// ready on `sum`.
static bool is_told(int rank, gd_slot_sum *sum) {
  int told = 0;
  for (double start = gd_seconds(); !told && gd_seconds() - start < 10;) {
    if (sum) gd_slot_sum_ready(sum, true, 0);
    MPI_Iprobe(rank, 0, test_comm->mpi, &told, MPI_STATUS_IGNORE);
  }
  if (told) MPI_Recv(NULL, 0, MPI_BYTE, rank, 0, test_comm->mpi, MPI_STATUS_IGNORE);
  return told;
}

static bool on_all_ranks(bool value) {
  int all = value;
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, test_comm->mpi);
  return all;
}

// One rank reports its array as ready again and again; the others begin only after its message that it has not blocked.
static void ready_waits_for_nobody(void **state) {
  (void)state;
  for (int early = 0; early < test_comm->size; early++) {
    gd_reduction reduction = early % 2 ? GD_REDUCTION_FAST : GD_REDUCTION_TREE;
    gd_slot_sum *sum = NULL;
    gd_slot_sum_create(&sum, test_comm, SLOTS, LARGE, reduction);
    int slot = fill_last_slot(sum, LARGE);
    bool told = true;
    if (test_comm->rank == early) {
      for (int call = 0; call < 1000; call++) gd_slot_sum_ready(sum, true, LARGE - (int64_t)LARGE * call / 999);
      tell_others();
    } else {
      told = is_told(early, NULL);
    }
    gd_slot_sum_push(sum, slot);
    const float *result = gd_slot_sum_finish(sum);
    assert_true(on_all_ranks(told));
    check_sum(result, reduction, 0, LARGE);
    gd_slot_sum_destroy(&sum);
  }
}

// One rank finishes while the others only call ready: so ready makes progress on messages.
static void check_ready_moves_messages(gd_reduction reduction) {
  gd_slot_sum *sum = NULL;
  gd_slot_sum_create(&sum, test_comm, SLOTS, LARGE, reduction);
  int slot = fill_last_slot(sum, LARGE);
  bool told = test_comm->rank == 0 || is_told(0, sum);
  gd_slot_sum_push(sum, slot);
  const float *result = gd_slot_sum_finish(sum);
  if (test_comm->rank == 0) tell_others();
  assert_true(on_all_ranks(told));
  check_sum(result, reduction, 0, LARGE);
  gd_slot_sum_destroy(&sum);
}

static void ready_moves_messages(void **state) {
  (void)state;
  check_ready_moves_messages(GD_REDUCTION_FAST);
  // other rank counts reduce the tree at the end
  if ((test_comm->size & (test_comm->size - 1)) == 0) check_ready_moves_messages(GD_REDUCTION_TREE);
}

// Destroying an unfinished sum frees what was pushed and the buffer handed out (checked by the address sanitizer).
static void destroy_works_at_any_point(void **state) {
  (void)state;
  gd_slot_sum *sum = NULL;
  gd_slot_sum_destroy(&sum);
  gd_slot_sum_create(&sum, test_comm, 16, 5, GD_REDUCTION_TREE);
  push_local(sum, 0, 16, 5);
  gd_slot_sum_buffer(sum);
  gd_slot_sum_destroy(&sum);
  assert_null(sum);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tree_has_the_serial_bits),
      cmocka_unit_test(many_slots_have_the_serial_bits),
      cmocka_unit_test(large_arrays_have_the_serial_bits),
      cmocka_unit_test(order_of_additions_matters),
      cmocka_unit_test(fast_sum_is_near_and_the_same_everywhere),
      cmocka_unit_test(fast_sum_takes_one_array_for_all_local_slots),
      cmocka_unit_test(tree_during_writing_has_the_serial_bits),
      cmocka_unit_test(fast_sum_during_writing_is_near),
      cmocka_unit_test(ready_waits_for_nobody),
      cmocka_unit_test(ready_moves_messages),
      cmocka_unit_test(destroy_works_at_any_point),
  };
  return GD_TEST_MAIN(tests);
}
