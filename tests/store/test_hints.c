/* Hints to MPI-IO reach the file, for writing and for reading, and change none of its bytes. */
#include <string.h>

#include "gendistill/store.h"
#include "store/hdf5_contents.h"
#include "store_small.h"

// A hint that Open MPI's and MPICH's MPI-IO report, with a value that is not the default.
static void check_hint(const gd_hdf5 *file, bool is_given) {
  hid_t access = H5Fget_access_plist(file->id);
  MPI_Comm comm;
  MPI_Info hints = MPI_INFO_NULL;
  char value[MPI_MAX_INFO_VAL + 1] = "";
  int is_there = 0;
  assert_true(access >= 0 && H5Pget_fapl_mpio(access, &comm, &hints) >= 0);
  if (hints != MPI_INFO_NULL) {
    MPI_Info_get(hints, "cb_buffer_size", MPI_MAX_INFO_VAL, value, &is_there);
    MPI_Info_free(&hints);
  }
  MPI_Comm_free(&comm);
  H5Pclose(access);
  assert_int_equal(is_there && strcmp(value, "1048576") == 0, is_given);
}

static void write_number(const char *path, const char *hints) {
  gd_hdf5 *file = NULL;
  gd_store_hints(hints);
  assert_ok(gd_hdf5_create(&file, test_comm, path, 4096));
  check_hint(file, *hints);
  assert_ok(gd_hdf5_put_int(file, "number", 17));
  assert_ok(gd_hdf5_put_seal(file));
  assert_ok(gd_hdf5_commit(&file));
}

static void hints_reach_the_file(void **state) {
  (void)state;
  static const char hints[] = "striping_factor=2\ncb_buffer_size=1048576\nno_such_hint=a b=c\n";
  char *plain = gd_format("%s/plain.h5", test_folder), *hinted = gd_format("%s/hinted.h5", test_folder);
  char *left = gd_format("%s.tmp", hinted);
  gd_hdf5 *file = NULL;
  size_t n_plain, n_hinted;
  file_write(left, "of a run that was killed", 24);
  write_number(plain, "");
  write_number(hinted, hints);
  assert_ok(gd_hdf5_open(&file, test_comm, hinted, GD_HDF5_OURS));
  check_hint(file, true);
  gd_hdf5_close(&file);
  uint8_t *bytes = file_bytes(plain, &n_plain), *other = file_bytes(hinted, &n_hinted);
  assert_int_equal(n_plain, n_hinted);
  assert_memory_equal(bytes, other, n_plain);
  assert_false(file_exists(left));
  gd_store_hints("");
  gd_free(bytes);
  gd_free(other);
  gd_free(left);
  gd_free(hinted);
  gd_free(plain);
}

static void a_file_that_cannot_be_made_is_named(void **state) {
  (void)state;
  char *path = gd_format("%s/none/a.h5", test_folder);
  gd_hdf5 *file = NULL;
  gd_store_hints("striping_factor=2\n");
  assert_int_equal(gd_hdf5_create(&file, test_comm, path, 4096), GD_ERR_FAILED);
  assert_null(file);
  assert_message("none/a.h5: cannot create the file: No such file or directory");
  gd_store_hints("");
  gd_free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(hints_reach_the_file, test_folder_setup, test_folder_teardown),
      cmocka_unit_test_setup_teardown(a_file_that_cannot_be_made_is_named, test_folder_setup, test_folder_teardown),
  };
  return GD_TEST_MAIN(tests);
}
