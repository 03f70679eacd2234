/* A checkpoint is read back as it was written, on any number of ranks, and only into the network it belongs to. */
#include <math.h>

#include "store_small.h"

static void round_trip(bool everything) {
  gd_param_table table = small_table();
  char *folder = test_folder_create(), *path = gd_checkpoint_path(folder, 1, 1234);
  gd_checkpoint written = small_checkpoint(&table, everything), read;
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &written));
  assert_true(written.digest == gd_param_table_digest(&table, gd_checkpoint_array(&written, "model")));
  assert_ok(gd_checkpoint_read(test_comm, path, &table, &read));
  small_assert_same(&table, &written, &read);
  gd_checkpoint_clear(&read);
  gd_checkpoint_clear(&written);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_round_trip_with_everything(void **state) {
  (void)state;
  round_trip(true);
}

static void test_round_trip_with_the_model_only(void **state) {
  (void)state;
  round_trip(false);
}

static void test_path_counts_tasks_from_one(void **state) {
  (void)state;
  char *path = gd_checkpoint_path("runs/a", 1, 1234);
  assert_string_equal(path, "runs/a/checkpoint-task02-step001234.h5");
  gd_free(path);
}

static void test_header_is_read_without_arrays(void **state) {
  (void)state;
  gd_param_table table = small_table();
  char *folder = test_folder_create(), *path = gd_checkpoint_path(folder, 1, 1234);
  gd_checkpoint written = small_checkpoint(&table, true), read;
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &written));
  assert_ok(gd_checkpoint_read_header(test_comm, path, &read));
  assert_int_equal(read.step, 1234);
  assert_true(read.digest == written.digest);
  assert_string_equal(read.config_text, written.config_text);
  assert_int_equal(read.n_arrays, 0);
  gd_checkpoint_clear(&read);
  gd_checkpoint_clear(&written);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_long_config_text_is_read_back(void **state) {
  (void)state;
  gd_param_table table = small_table();
  char *folder = test_folder_create(), *path = gd_checkpoint_path(folder, 0, 0);
  gd_checkpoint written = small_checkpoint(&table, false), read;
  gd_free(written.config_text);
  written.config_text = gd_alloc_zero(200001);  // more than fits an object header of HDF5
  memset(written.config_text, 'x', 200000);
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &written));
  assert_ok(gd_checkpoint_read(test_comm, path, &table, &read));
  small_assert_same(&table, &written, &read);
  gd_checkpoint_clear(&read);
  gd_checkpoint_clear(&written);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_file_is_the_same_for_any_rank_count(void **state) {
  (void)state;
  gd_param_table table = small_table();
  const gd_comm alone = {.mpi = MPI_COMM_SELF, .rank = 0, .size = 1};
  char *folder = test_folder_create();
  char *together = gd_format("%s/together.h5", folder), *single = gd_format("%s/single-%d.h5", folder, test_comm->rank);
  gd_checkpoint written = small_checkpoint(&table, true);
  assert_ok(gd_checkpoint_write(test_comm, together, &table, &written));
  assert_ok(gd_comm_agree(test_comm, gd_checkpoint_write(&alone, single, &table, &written)));
  size_t nbytes, nbytes_single;
  uint8_t *a = file_bytes(together, &nbytes), *b = file_bytes(single, &nbytes_single);
  assert_int_equal(nbytes, nbytes_single);
  assert_memory_equal(a, b, nbytes);
  gd_free(a);
  gd_free(b);
  gd_checkpoint_clear(&written);
  gd_free(together);
  gd_free(single);
  test_folder_remove(folder);
}

static void test_another_network_is_refused(void **state) {
  (void)state;
  gd_param_table table = small_table();
  char *folder = test_folder_create(), *path = gd_checkpoint_path(folder, 1, 1234);
  gd_checkpoint written = small_checkpoint(&table, false), read;
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &written));

  gd_param first = table.params[0];
  table.params[0].dims[1] = 1, table.params[0].dims[2] = 6;
  assert_int_equal(gd_checkpoint_read(test_comm, path, &table, &read), GD_ERR_INPUT);
  assert_message("'/model/conv_in.weight' has another shape or type than float32 (5, 1, 6, 3)");
  assert_message(path);
  table.params[0] = first;

  table.params[0].name = "conv_start.weight";
  assert_int_equal(gd_checkpoint_read(test_comm, path, &table, &read), GD_ERR_INPUT);
  assert_message("'/model/conv_in.weight' is no parameter of this network");
  table.params[0] = first;

  gd_param longer[SMALL_PARAMS + 1];
  memcpy(longer, table.params, sizeof *longer * SMALL_PARAMS);
  longer[SMALL_PARAMS] = (gd_param){.name = "extra", .n_dims = 1, .dims = {1}, .offset = table.total, .count = 1};
  gd_param_table other = {.params = longer, .n = SMALL_PARAMS + 1, .total = table.total + 1};
  assert_int_equal(gd_checkpoint_read(test_comm, path, &other, &read), GD_ERR_INPUT);
  assert_message("dataset '/model/extra' is missing");
  assert_int_equal(read.n_arrays, 0);

  gd_checkpoint_clear(&written);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_non_finite_values_are_not_written(void **state) {
  (void)state;
  gd_param_table table = small_table();
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder);
  gd_checkpoint written = small_checkpoint(&table, true);
  gd_checkpoint_array(&written, "optimizer/v")[3] = INFINITY;
  assert_int_equal(gd_checkpoint_write(test_comm, path, &table, &written), GD_ERR_FAILED);
  assert_message("/a.h5: not written: 'optimizer/v' is inf in parameter 'conv_in.weight', must be finite");
  assert_false(file_exists(path));
  gd_checkpoint_clear(&written);
  gd_free(path);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip_with_everything),    cmocka_unit_test(test_round_trip_with_the_model_only),
      cmocka_unit_test(test_path_counts_tasks_from_one),    cmocka_unit_test(test_header_is_read_without_arrays),
      cmocka_unit_test(test_long_config_text_is_read_back), cmocka_unit_test(test_file_is_the_same_for_any_rank_count),
      cmocka_unit_test(test_another_network_is_refused),    cmocka_unit_test(test_non_finite_values_are_not_written),
  };
  return GD_TEST_MAIN(tests);
}
