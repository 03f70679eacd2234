/* The watchdog does not end a job in which one rank makes progress while the others wait longer than the time-out. How
 * it ends a stalled job is in app/test_watchdog.sh. */
#include <string.h>
#include <unistd.h>

#include "support.h"

static void progress(void **state) {
  (void)state;
  gd_progress_state before = gd_progress_read();
  gd_progress("a piece of work");
  gd_progress_step(2, 17);
  assert_null(gd_progress_call("MPI_One"));
  assert_string_equal(gd_progress_call("MPI_Two"), "MPI_One");  // nested: one function calls the other
  gd_progress_state now = gd_progress_read();
  assert_string_equal(now.work, "a piece of work");
  assert_string_equal(now.call, "MPI_Two");
  assert_int_equal(now.task, 2);
  assert_int_equal(now.step, 17);
  assert_true(now.count > before.count);
  gd_progress_call(NULL);
  gd_progress(NULL);
  assert_string_equal(gd_progress_read().work, "a piece of work");
  before = gd_progress_read();
  MPI_Barrier(test_comm->mpi);  // recorded by the MPI interposition
  assert_true(gd_progress_read().count > before.count);
  assert_null(gd_progress_read().call);
}

static void one_rank_in_progress_is_enough(void **state) {
  (void)state;
  enum { TIMEOUT = 3 };
  gd_watchdog *watchdog;
  gd_watchdog_timeout(TIMEOUT);
  gd_watchdog_start(&watchdog, test_comm);
  double start = gd_seconds();
  while (test_comm->rank == test_comm->size - 1 && gd_seconds() - start < 1.5 * TIMEOUT) {
    usleep(10000);
    gd_progress("work without end");
  }
  MPI_Barrier(test_comm->mpi);
  gd_watchdog_stop(&watchdog);
  assert_null(watchdog);
  gd_watchdog_stop(&watchdog);
}

static void time_out_0_starts_none(void **state) {
  (void)state;
  gd_watchdog *watchdog;
  gd_watchdog_timeout(0);
  gd_watchdog_start(&watchdog, test_comm);
  gd_watchdog_stop(&watchdog);
  gd_watchdog_timeout(600);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(progress),
      cmocka_unit_test(one_rank_in_progress_is_enough),
      cmocka_unit_test(time_out_0_starts_none),
  };
  return GD_TEST_MAIN(tests);
}
