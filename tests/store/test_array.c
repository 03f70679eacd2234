/* Plain arrays from files that other programs wrote: here h5py's golden files. */
#include <hdf5.h>

#include "store_small.h"

// A file with one dataset of each relevant kind; rank 0 writes it with plain HDF5.
static char *write_foreign(const char *folder) {
  char *path = gd_format("%s/foreign.h5", folder);
  if (test_comm->rank == 0) {
    double values[6] = {0.5, -1.25, 3.0, 1e-3, 7.0, -8.0}, large[6] = {0, 1e300};
    int numbers[2] = {1, 2};
    hsize_t dims[5] = {3, 2, 1, 1, 1}, two = 2;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t group = H5Gcreate2(file, "group", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t spaces[3] = {H5Screate_simple(2, dims, NULL), H5Screate_simple(1, &two, NULL),
                       H5Screate_simple(5, dims, NULL)};
    hid_t sets[4] = {H5Dcreate2(group, "doubles", H5T_IEEE_F64LE, spaces[0], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                     H5Dcreate2(file, "numbers", H5T_STD_I32LE, spaces[1], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                     H5Dcreate2(file, "five", H5T_IEEE_F32LE, spaces[2], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                     H5Dcreate2(file, "large", H5T_IEEE_F64LE, spaces[0], H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)};
    H5Dwrite(sets[0], H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
    H5Dwrite(sets[1], H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, numbers);
    H5Dwrite(sets[3], H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, large);
    for (int i = 0; i < 4; i++) H5Dclose(sets[i]);
    for (int i = 0; i < 3; i++) H5Sclose(spaces[i]);
    H5Gclose(group);
    H5Fclose(file);
  }
  MPI_Barrier(test_comm->mpi);
  return path;
}

static void test_float64_is_converted(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = write_foreign(folder);
  float *values = NULL;
  int n_dims;
  int64_t dims[4];
  assert_ok(gd_array_read(test_comm, path, "/group/doubles", &values, &n_dims, dims));
  const float expected[6] = {0.5f, -1.25f, 3.0f, 1e-3f, 7.0f, -8.0f};
  assert_int_equal(n_dims, 2);
  assert_int_equal(dims[0], 3);
  assert_int_equal(dims[1], 2);
  assert_memory_equal(values, expected, sizeof expected);
  gd_free(values);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_golden_file_reads_the_same(void **state) {
  (void)state;
  float *values = NULL;
  int n_dims;
  int64_t dims[4];
  assert_ok(
      gd_array_read(test_comm, GD_TEST_DATA "/golden/unet.h5", "a/after_step1/conv_in.weight", &values, &n_dims, dims));
  assert_int_equal(n_dims, 4);
  int64_t count = dims[0] * dims[1] * dims[2] * dims[3];
  float *expected = golden("unet.h5", "a/after_step1/conv_in.weight", count);
  assert_memory_equal(values, expected, (size_t)count * sizeof *values);
  gd_free(expected);
  gd_free(values);
}

static void assert_refused(const char *path, const char *dataset, const char *message) {
  float *values = NULL;
  int n_dims;
  int64_t dims[4];
  assert_int_equal(gd_array_read(test_comm, path, dataset, &values, &n_dims, dims), GD_ERR_INPUT);
  assert_message(message);
  assert_null(values);
}

static void test_errors_name_file_and_dataset(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = write_foreign(folder);
  assert_refused(path, "/x_T", "/foreign.h5: dataset '/x_T' is missing or damaged");
  assert_refused(path, "/group", "/foreign.h5: dataset '/group' is missing or damaged");
  assert_refused(path, "numbers", "/foreign.h5: dataset '/numbers' is int32, must be float32 or float64");
  assert_refused(path, "five", "/foreign.h5: dataset '/five' has 5 dimensions, must have 1 to 4");
  assert_refused(path, "large", "/foreign.h5: dataset '/large': element 1 (from 0) is inf as float32, must be finite");
  static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
  file_write(path, pointer, sizeof pointer - 1);
  assert_refused(path, "large", "/foreign.h5: a Git LFS pointer, not the file itself");
  gd_free(path);
  test_folder_remove(folder);
}

static void test_a_damaged_parameter_is_refused(void **state) {
  (void)state;
  gd_param_table table = small_table();
  gd_checkpoint checkpoint = small_checkpoint(&table, false);
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder);
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &checkpoint));
  small_damage_bias(path, &checkpoint);
  assert_refused(path, "/model/conv_in.bias", "/a.h5: dataset '/model/conv_in.bias' is damaged");
  gd_checkpoint_clear(&checkpoint);
  gd_free(path);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_float64_is_converted),
      cmocka_unit_test(test_golden_file_reads_the_same),
      cmocka_unit_test(test_errors_name_file_and_dataset),
      cmocka_unit_test(test_a_damaged_parameter_is_refused),
  };
  return GD_TEST_MAIN(tests);
}
