/* A transfer in several pieces gives the same result as one in a single piece. */
#include <math.h>
#include <string.h>

#include "support.h"

enum { N = 1000 };

static const size_t limits[] = {0, 8, 20, 4096};  // bytes; 0: one piece

static double value(int rank, int i) {
  return sin(rank * N + i) / 3;
}

static void a_piece_holds_at_least_one_element(void **state) {
  (void)state;
  assert_int_equal(gd_transfer_piece(8), 1 << 25);
  assert_int_equal(gd_transfer_piece((size_t)1 << 40), 1);
  gd_transfer_limit(20);
  assert_int_equal(gd_transfer_piece(8), 2);
  assert_int_equal(gd_transfer_piece(20), 1);
  assert_int_equal(gd_transfer_piece(21), 1);
  gd_transfer_limit(0);
  assert_int_equal(gd_transfer_piece(1), 1 << 28);
}

static void every_rank_gets_all_elements(void **state) {
  (void)state;
  int root = test_comm->size - 1;
  for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
    double values[N];
    gd_transfer_limit(limits[l]);
    for (int i = 0; i < N; i++) values[i] = test_comm->rank == root ? value(root, i) : 0;
    gd_comm_broadcast(test_comm, values, N, MPI_DOUBLE, root);
    for (int i = 0; i < N; i++) assert_true(values[i] == value(root, i));
  }
  gd_transfer_limit(0);
}

static void sums_are_those_of_one_call(void **state) {
  (void)state;
  double mine[N], expected[N], values[N];
  for (int i = 0; i < N; i++) mine[i] = value(test_comm->rank, i);
  for (int i = 0; i < N; i++)  // one by one, as in pieces of one element
    MPI_Allreduce(&mine[i], &expected[i], 1, MPI_DOUBLE, MPI_SUM, test_comm->mpi);
  for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
    gd_transfer_limit(limits[l]);
    memcpy(values, mine, sizeof values);
    gd_comm_allreduce(test_comm, values, N, MPI_DOUBLE, MPI_SUM);
    for (int i = 0; i < N; i++) assert_true(fabs(values[i] - expected[i]) <= 1e-15);
  }
  gd_transfer_limit(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_piece_holds_at_least_one_element),
      cmocka_unit_test(every_rank_gets_all_elements),
      cmocka_unit_test(sums_are_those_of_one_call),
  };
  return GD_TEST_MAIN(tests);
}
