/* Error agreement: every combination of local statuses gives one status and one message on all ranks. */
#include <stdio.h>
#include <string.h>

#include "support.h"

static const gd_err statuses[] = {GD_OK, GD_ERR_FAILED, GD_ERR_INPUT, GD_STOPPED};

// Rank r's status in combination c: digit r of c in base 4.
static gd_err status_of(int combination, int rank) {
  return statuses[combination >> (2 * rank) & 3];
}

static int worst_rank(int combination) {
  int worst = 0;
  for (int rank = 1; rank < test_comm->size; rank++)
    if (status_of(combination, rank) > status_of(combination, worst)) worst = rank;
  return worst;
}

static void worst_status_wins_with_its_message(void **state) {
  (void)state;
  for (int combination = 0; combination < 1 << (2 * test_comm->size); combination++) {
    gd_err local = status_of(combination, test_comm->rank);
    gd_error(local, "rank %d fails with %d in %d", test_comm->rank, local, combination);
    int worst = worst_rank(combination);
    gd_err expected = status_of(combination, worst);
    char message[100];
    // where no rank failed, no rank's message changes
    snprintf(message, sizeof message, "rank %d fails with %d in %d", expected == GD_OK ? test_comm->rank : worst,
             expected, combination);
    assert_int_equal(gd_comm_agree(test_comm, local), expected);
    assert_string_equal(gd_error_message(), message);
  }
}

static void longest_message_arrives_whole(void **state) {
  (void)state;
  char text[6000];
  memset(text, 'y', sizeof text - 1);
  text[sizeof text - 1] = 0;
  int last = test_comm->size - 1;
  gd_err local = test_comm->rank == last ? gd_error(GD_ERR_INPUT, "%s", text) : GD_OK;
  int length = (int)strlen(gd_error_message());
  MPI_Bcast(&length, 1, MPI_INT, last, test_comm->mpi);
  assert_int_equal(gd_comm_agree(test_comm, local), GD_ERR_INPUT);
  assert_int_equal(strlen(gd_error_message()), length);
  assert_memory_equal(gd_error_message(), text, (size_t)length);
}

static void handle_is_a_duplicate(void **state) {
  (void)state;
  gd_comm *comm = NULL;
  gd_comm_create(&comm, MPI_COMM_WORLD);
  int rank, size, relation;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm_compare(MPI_COMM_WORLD, comm->mpi, &relation);
  assert_int_equal(comm->rank, rank);
  assert_int_equal(comm->size, size);
  assert_int_equal(relation, MPI_CONGRUENT);
  gd_comm_destroy(&comm);
  assert_null(comm);
  gd_comm_destroy(&comm);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(worst_status_wins_with_its_message),
      cmocka_unit_test(longest_message_arrives_whole),
      cmocka_unit_test(handle_is_a_duplicate),
  };
  return GD_TEST_MAIN(tests);
}
