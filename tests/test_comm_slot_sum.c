/* Gradient reduction: the tree's sum has the bits of a serial tree at any rank count; the fast sum is near it. */
#include <math.h>
#include <string.h>

#include "support.h"

// Values of very different sizes, so that another order of additions gives other bits.
static void fill_slot(int round, int slot, int64_t n, float *out) {
  gd_random key = {.seed = 11, .purpose = GD_RANDOM_NOISE, .step = (uint32_t)round};
  gd_random_normal(key, (uint64_t)slot, (size_t)n, out);
  for (int64_t i = 0; i < n; i++) out[i] = ldexpf(out[i], (int)((i * 7 + slot * 5) % 23) - 11);
}

// The tree as it is defined: halves first, then left plus right.
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
  for (int round = 0; round < 2; round++) {  // twice: buffers are used again
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

// Several messages for one array.
static void large_arrays_have_the_serial_bits(void **state) {
  (void)state;
  check_tree(8, 600001);
}

// Guards the tests above: their values would tell one order of additions from another.
static void order_of_additions_matters(void **state) {
  (void)state;
  enum { N = 1000, SLOTS = 8 };
  float tree[N], in_turn[N] = {0}, slot_values[N];
  serial_tree(0, 0, SLOTS, N, tree);
  for (int slot = 0; slot < SLOTS; slot++) {
    fill_slot(0, slot, N, slot_values);
    for (int i = 0; i < N; i++) in_turn[i] += slot_values[i];
  }
  assert_in_range(count_different(tree, in_turn, N), 100, N);
}

static void assert_same_on_all_ranks(const float *values, int64_t n) {
  uint64_t digest = gd_digest(values, sizeof *values * (size_t)n, 0), least = digest, most = digest;
  MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_UINT64_T, MPI_MIN, test_comm->mpi);
  MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_UINT64_T, MPI_MAX, test_comm->mpi);
  assert_true(least == most);
}

static void assert_near_the_tree(const float *values, int round, int n_slots, int64_t n) {
  float *expected = GD_NEW_ARRAY(float, n);
  serial_tree(round, 0, n_slots, n, expected);
  assert_true(relative_error(values, expected, n) < 1e-6);
  gd_free(expected);
}

static void fast_sum_is_near_and_the_same_everywhere(void **state) {
  (void)state;
  enum { N = 100003, SLOTS = 8 };
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
  enum { N = 1000, SLOTS = 8 };
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

// Destroying halfway frees what was pushed and what was handed out (seen by the address sanitizer).
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
      cmocka_unit_test(large_arrays_have_the_serial_bits),
      cmocka_unit_test(order_of_additions_matters),
      cmocka_unit_test(fast_sum_is_near_and_the_same_everywhere),
      cmocka_unit_test(fast_sum_takes_one_array_for_all_local_slots),
      cmocka_unit_test(destroy_works_at_any_point),
  };
  return GD_TEST_MAIN(tests);
}
