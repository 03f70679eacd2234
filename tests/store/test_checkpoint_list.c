/* Listing the checkpoints of a folder, newest first, and removing old ones. */
#include "store_small.h"

static void write_at(const char *folder, int task, int64_t step, bool task_done) {
  gd_param_table table = small_table();
  gd_checkpoint checkpoint = small_checkpoint(&table, false);
  checkpoint.task = task;
  checkpoint.step = step;
  checkpoint.task_done = task_done;
  char *path = gd_checkpoint_path(folder, task, step);
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &checkpoint));
  gd_free(path);
  gd_checkpoint_clear(&checkpoint);
}

static void write_other(const char *folder, const char *name) {
  char *path = gd_format("%s/%s", folder, name);
  file_write(path, "x", 1);
  gd_free(path);
}

static bool exists_in(const char *folder, const char *name) {
  char *path = gd_format("%s/%s", folder, name);
  bool found = file_exists(path);
  gd_free(path);
  return found;
}

// `names`: in order, terminated by NULL.
static void assert_list(const char *folder, const char *const *names) {
  char **paths = NULL;
  int n = -1, n_names = 0;
  assert_ok(gd_checkpoint_list(test_comm, folder, &paths, &n));
  while (names[n_names]) n_names++;
  assert_int_equal(n, n_names);
  for (int i = 0; i < n; i++) {
    assert_memory_equal(paths[i], folder, strlen(folder));
    assert_string_equal(paths[i] + strlen(folder) + 1, names[i]);
  }
  gd_checkpoint_list_free(&paths, n);
  assert_null(paths);
}

static void test_list_is_newest_first(void **state) {
  (void)state;
  char *folder = test_folder_create();
  write_other(folder, "checkpoint-task01-step000900.h5");
  write_other(folder, "checkpoint-task02-step000010.h5");
  write_other(folder, "checkpoint-task10-step1234567.h5");
  write_other(folder, "checkpoint-task10-step999999.h5");
  const char *const names[] = {"checkpoint-task10-step1234567.h5", "checkpoint-task10-step999999.h5",
                               "checkpoint-task02-step000010.h5", "checkpoint-task01-step000900.h5", NULL};
  assert_list(folder, names);
  test_folder_remove(folder);
}

static void test_list_leaves_out_other_files(void **state) {
  (void)state;
  char *folder = test_folder_create();
  const char *const others[] = {"checkpoint-task01-step000900.h5.tmp",
                                "checkpoint-task1-step000900.h5",
                                "checkpoint-task01-step900.h5",
                                "checkpoint-task00-step000900.h5",
                                "checkpoint-task01-step-00900.h5",
                                "checkpoint-task01-step000900.h5x",
                                "checkpoint-task01-step",
                                "checkpoint-task99999999999-step99999999999999999999.h5",
                                "samples-task01.h5"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) write_other(folder, others[i]);
  write_other(folder, "checkpoint-task01-step000001.h5");
  const char *const names[] = {"checkpoint-task01-step000001.h5", NULL};
  assert_list(folder, names);
  test_folder_remove(folder);
}

static void test_a_folder_without_checkpoints(void **state) {
  (void)state;
  char *folder = test_folder_create(), *missing = gd_format("%s/none", folder), *file = gd_format("%s/file", folder);
  const char *const none[] = {NULL};
  assert_list(folder, none);
  assert_list(missing, none);
  assert_ok(gd_checkpoint_prune(test_comm, missing, 1));
  write_other(folder, "file");
  char **paths;
  int n;
  assert_int_equal(gd_checkpoint_list(test_comm, file, &paths, &n), GD_ERR_FAILED);
  assert_message("/file: cannot read the folder: Not a directory");
  gd_free(file);
  gd_free(missing);
  test_folder_remove(folder);
}

static void test_prune_keeps_the_newest_and_the_ends_of_tasks(void **state) {
  (void)state;
  char *folder = test_folder_create();
  write_at(folder, 0, 10, false);
  write_at(folder, 0, 20, true);
  for (int step = 5; step <= 20; step += 5) write_at(folder, 1, step, false);
  write_other(folder, "checkpoint-task02-step000025.h5.tmp");
  write_other(folder, "notes.tmp");
  assert_ok(gd_checkpoint_prune(test_comm, folder, 2));
  const char *const names[] = {"checkpoint-task02-step000020.h5", "checkpoint-task02-step000015.h5",
                               "checkpoint-task01-step000020.h5", NULL};
  assert_list(folder, names);
  assert_false(exists_in(folder, "checkpoint-task02-step000025.h5.tmp"));
  assert_true(exists_in(folder, "notes.tmp"));
  test_folder_remove(folder);
}

static void test_prune_removes_none_until_one_is_too_many(void **state) {
  (void)state;
  char *folder = test_folder_create();
  write_at(folder, 0, 10, false);
  write_at(folder, 0, 20, false);
  write_other(folder, "checkpoint-task01-step000015.h5.tmp");
  assert_ok(gd_checkpoint_prune(test_comm, folder, 2));
  const char *const both[] = {"checkpoint-task01-step000020.h5", "checkpoint-task01-step000010.h5", NULL};
  assert_list(folder, both);
  assert_false(exists_in(folder, "checkpoint-task01-step000015.h5.tmp"));
  write_at(folder, 0, 30, false);
  assert_ok(gd_checkpoint_prune(test_comm, folder, 2));
  const char *const newest[] = {"checkpoint-task01-step000030.h5", "checkpoint-task01-step000020.h5", NULL};
  assert_list(folder, newest);
  test_folder_remove(folder);
}

static void test_prune_does_not_count_a_damaged_file(void **state) {
  (void)state;
  gd_log_setup(test_comm->rank, GD_LOG_ERROR);
  char *folder = test_folder_create();
  write_at(folder, 0, 10, false);
  write_at(folder, 0, 20, false);
  write_other(folder, "checkpoint-task01-step000030.h5");
  assert_ok(gd_checkpoint_prune(test_comm, folder, 1));
  const char *const names[] = {"checkpoint-task01-step000030.h5", "checkpoint-task01-step000020.h5", NULL};
  assert_list(folder, names);
  gd_log_setup(test_comm->rank, GD_LOG_WARN);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_list_is_newest_first),
      cmocka_unit_test(test_list_leaves_out_other_files),
      cmocka_unit_test(test_a_folder_without_checkpoints),
      cmocka_unit_test(test_prune_keeps_the_newest_and_the_ends_of_tasks),
      cmocka_unit_test(test_prune_removes_none_until_one_is_too_many),
      cmocka_unit_test(test_prune_does_not_count_a_damaged_file),
  };
  return GD_TEST_MAIN(tests);
}
