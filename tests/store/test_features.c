/* Feature sets: written and read back by any number of ranks, files of other programs, and refused files. */
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gendistill/store.h"
#include "store/features.h"
#include "support.h"

enum { N = 75, WIDTH = 6 };

static double value(int64_t row, int column) {
  return (double)(row * WIDTH + column) / 8;
}

static gd_features make_features(void) {
  gd_features f = {.n_global = N, .width = WIDTH, .local = gd_range_images(test_comm, N)};
  f.values = GD_NEW_ARRAY(double, (f.local.end - f.local.begin) * WIDTH + 1);
  for (int64_t i = f.local.begin; i < f.local.end; i++)
    for (int k = 0; k < WIDTH; k++) f.values[(i - f.local.begin) * WIDTH + k] = value(i, k);
  return f;
}

static void assert_rows(const gd_features *f) {
  gd_range local = gd_range_images(test_comm, N);
  assert_true(f->n_global == N && f->width == WIDTH);
  assert_true(f->local.begin == local.begin && f->local.end == local.end);
  for (int64_t i = local.begin; i < local.end; i++)
    for (int k = 0; k < WIDTH; k++) assert_true(f->values[(i - local.begin) * WIDTH + k] == value(i, k));
}

static void refused(const char *path, const char *text) {
  gd_features f;
  assert_int_equal(gd_features_read(test_comm, path, &f), GD_ERR_INPUT);
  assert_null(f.values);
  if (!strstr(gd_error_message(), text)) fail_msg("'%s' lacks '%s'", gd_error_message(), text);
}

static void a_set_is_read_back_and_damage_is_noticed(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/features.h5", folder);
  gd_features f = make_features(), read;
  assert_ok(gd_features_write(test_comm, path, &f, "resnet18"));
  assert_ok(gd_features_read(test_comm, path, &read));
  assert_rows(&read);
  assert_ok(gd_store_info(test_comm, path));
  gd_features_clear(&read);
  if (test_comm->rank == 0) {  // the exponent's low bits of the value in row 40, column 3
    float wanted = (float)value(40, 3), found;
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    long at = 0;
    do {
      fseek(file, at++, SEEK_SET);
      assert_int_equal(fread(&found, sizeof found, 1, file), 1);
    } while (found != wanted);
    found += 1;
    fseek(file, at - 1, SEEK_SET);
    fwrite(&found, sizeof found, 1, file);
    fclose(file);
  }
  MPI_Barrier(test_comm->mpi);
  refused(path, "'/features' is damaged");
  assert_int_equal(gd_store_info(test_comm, path), GD_ERR_INPUT);
  gd_features_clear(&f);
  gd_free(path);
  test_folder_remove(folder);
}

static void fill_block(const char *path, size_t nbytes) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  for (size_t i = 0; i < nbytes; i++) fputc(i == 8 ? 3 : '#', file);
  assert_int_equal(fclose(file), 0);
}

// A dataset as any program might write it, with its values in the file `elsewhere` unless NULL. Rank 0 writes.
static void write_file(const char *path, const char *name, hid_t type, int n_dims, const hsize_t *dims, bool nan,
                       H5F_libver_t format, hsize_t block, const char *elsewhere) {
  if (test_comm->rank == 0) {
    double values[N * WIDTH];
    for (int i = 0; i < N * WIDTH; i++) values[i] = value(i / WIDTH, i % WIDTH);
    if (nan) values[41 * WIDTH + 2] = NAN;
    hid_t creation = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    hid_t storage = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(n_dims, dims, NULL);
    assert_true(H5Pset_userblock(creation, block) >= 0);
    assert_true(H5Pset_libver_bounds(access, format, H5F_LIBVER_LATEST) >= 0);
    if (elsewhere) assert_true(H5Pset_external(storage, elsewhere, 0, sizeof values) >= 0);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access);
    hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
    assert_true(H5Dwrite(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
    H5Pclose(storage);
    H5Pclose(creation);
    H5Pclose(access);
    assert_true(H5Fclose(file) >= 0);
    if (block) fill_block(path, block);
  }
  MPI_Barrier(test_comm->mpi);
}

static void write_foreign(const char *path, const char *name, hid_t type, int n_dims, const hsize_t *dims, bool nan) {
  write_file(path, name, type, n_dims, dims, nan, H5F_LIBVER_EARLIEST, 0, NULL);
}

static void files_of_other_programs(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/other.h5", folder), *inner = gd_format("%s:/mine", path);
  const hsize_t table[2] = {N, WIDTH}, flat[1] = {N * WIDTH}, single[2] = {1, N * WIDTH};
  const hid_t types[] = {H5T_IEEE_F64LE, H5T_IEEE_F32LE, H5T_IEEE_F64BE};
  for (int i = 0; i < 3; i++) {
    gd_features read;
    write_foreign(path, "mine", types[i], 2, table, false);
    assert_ok(gd_features_read(test_comm, inner, &read));
    assert_rows(&read);
    gd_features_clear(&read);
  }
  refused(path, "dataset '/features' is missing");
  write_foreign(path, "features", H5T_IEEE_F64LE, 1, flat, false);
  refused(path, "has 1 dimensions");
  write_foreign(path, "features", H5T_IEEE_F64LE, 2, single, false);
  refused(path, "at least 2 are needed");
  write_foreign(path, "features", H5T_STD_I32LE, 2, table, false);
  refused(path, "must be float32 or float64");
  write_foreign(path, "features", H5T_IEEE_F64LE, 2, table, true);
  refused(path, "row 41, column 2 is nan");
  refused("/nosuch/file.h5", "/nosuch/file.h5");
  gd_free(inner);
  gd_free(path);
  test_folder_remove(folder);
}

// Rank 0 writes. HDF5 allows other content in the first 512 bytes; here it resembles no known format.
static void a_file_behind_a_block_of_other_bytes(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/other.h5", folder);
  gd_features read;
  const hsize_t table[2] = {N, WIDTH};
  for (int newest = 0; newest < 2; newest++) {
    write_file(path, "features", H5T_IEEE_F64LE, 2, table, false, newest ? H5F_LIBVER_LATEST : H5F_LIBVER_EARLIEST, 512,
               NULL);
    assert_ok(gd_features_read(test_comm, path, &read));
    assert_rows(&read);
    gd_features_clear(&read);
  }
  gd_free(path);
  test_folder_remove(folder);
}

static void values_in_another_file_are_refused(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/other.h5", folder);
  char *elsewhere = gd_format("%s/values", folder);
  const hsize_t table[2] = {N, WIDTH};
  write_file(path, "features", H5T_IEEE_F64LE, 2, table, false, H5F_LIBVER_EARLIEST, 0, elsewhere);
  refused(path, "the values of dataset '/features' are in other files: copy them into this one");
  gd_free(elsewhere);
  gd_free(path);
  test_folder_remove(folder);
}

// Like lzf of h5py: HDF5 skips an optional filter that it does not have, but lists it in the file.
static void a_filter_that_is_missing_is_named(void **state) {
  (void)state;
  enum { LZF = 32000 };
  char *folder = test_folder_create(), *path = gd_format("%s/packed.h5", folder);
  const hsize_t table[2] = {N, WIDTH};
  if (test_comm->rank == 0) {
    hid_t storage = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, table, NULL);
    assert_true(H5Pset_chunk(storage, 2, table) >= 0);
    assert_true(H5Pset_filter(storage, LZF, H5Z_FLAG_OPTIONAL, 0, NULL) >= 0);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t dataset = H5Dcreate2(file, "features", H5T_IEEE_F32LE, space, H5P_DEFAULT, storage, H5P_DEFAULT);
    assert_true(dataset >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
    H5Pclose(storage);
    assert_true(H5Fclose(file) >= 0);
  }
  MPI_Barrier(test_comm->mpi);
  refused(path, "dataset '/features' is compressed by the filter 32000");
  gd_free(path);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_set_is_read_back_and_damage_is_noticed), cmocka_unit_test(files_of_other_programs),
      cmocka_unit_test(a_file_behind_a_block_of_other_bytes),     cmocka_unit_test(values_in_another_file_are_refused),
      cmocka_unit_test(a_filter_that_is_missing_is_named),
  };
  return GD_TEST_MAIN(tests);
}
