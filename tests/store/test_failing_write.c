/* A file that cannot be written fails on all ranks with one message, and nothing is left behind. */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "store_small.h"

// The barriers make all ranks count at the same time, before any of them continues.
static int count_files(const char *folder) {
  int n = 0;
  MPI_Barrier(test_comm->mpi);
  DIR *opened = opendir(folder);
  assert_non_null(opened);
  for (struct dirent *file; (file = readdir(opened));) n += file->d_name[0] != '.';
  closedir(opened);
  MPI_Barrier(test_comm->mpi);
  return n;
}

static gd_err write_small(const char *path) {
  gd_param_table table = small_table();
  gd_checkpoint checkpoint = small_checkpoint(&table, true);
  gd_err err = gd_checkpoint_write(test_comm, path, &table, &checkpoint);
  gd_checkpoint_clear(&checkpoint);
  return err;
}

static void test_missing_folder(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/none/a.h5", folder);
  assert_int_equal(write_small(path), GD_ERR_FAILED);
  assert_message("/none/a.h5: cannot create the file: No such file or directory");
  assert_int_equal(count_files(folder), 0);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_name_taken_by_a_folder(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder);
  if (test_comm->rank == 0) mkdir(path, 0777);
  assert_int_equal(write_small(path), GD_ERR_FAILED);
  assert_message("/a.h5: cannot give the file its final name: Is a directory");
  assert_int_equal(count_files(folder), 1);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_full_disk(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder);
  struct rlimit before, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  small = before;
  small.rlim_cur = 8000;  // less than the file
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  gd_err err = write_small(path);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_int_equal(err, GD_ERR_FAILED);
  assert_message(path);
  assert_int_equal(count_files(folder), 0);
  assert_ok(write_small(path));  // once there is space, it succeeds
  gd_free(path);
  test_folder_remove(folder);
}

static void test_an_old_file_survives_a_failing_write(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder), *tmp = gd_format("%s.tmp", path);
  assert_ok(write_small(path));
  if (test_comm->rank == 0) mkdir(tmp, 0777);  // so that PATH.tmp cannot be opened
  assert_int_equal(write_small(path), GD_ERR_FAILED);
  assert_message("/a.h5: cannot create the file: Is a directory");
  gd_checkpoint read;
  assert_ok(gd_checkpoint_read_header(test_comm, path, &read));
  gd_checkpoint_clear(&read);
  gd_free(tmp);
  gd_free(path);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_missing_folder),
      cmocka_unit_test(test_name_taken_by_a_folder),
      cmocka_unit_test(test_full_disk),
      cmocka_unit_test(test_an_old_file_survives_a_failing_write),
  };
  return GD_TEST_MAIN(tests);
}
