/* Shared by all tests: MPI start and end, golden files, comparisons, folders.
 *
 * Each rank reads golden files itself with plain HDF5 calls: comparisons do not depend on the code under test. */
#define _GNU_SOURCE  // nftw
#include "support.h"

#include <ftw.h>
#include <hdf5.h>
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable()
#define __lsan_enable()
#define __lsan_do_leak_check()
#endif

gd_comm *test_comm = NULL;

// At the end of the process Open MPI has unloaded the modules that leaked memory, and no suppression can name them any
// more: so the search for leaks is before MPI_Finalize.
void test_mpi_begin(void) {
  int provided = 0;
  __lsan_disable();
  MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
  __lsan_enable();
  if (provided < MPI_THREAD_MULTIPLE) gd_abort("MPI gives no MPI_THREAD_MULTIPLE");
}

void test_mpi_end(void) {
  __lsan_do_leak_check();  // ends the process if it finds a leak
  MPI_Finalize();
}

int gd_test_main(const struct CMUnitTest *tests, size_t n_tests) {
  test_mpi_begin();
  gd_comm_create(&test_comm, MPI_COMM_WORLD);
  gd_log_setup(test_comm->rank, GD_LOG_WARN);
  // cmocka prints progress to stdout and failures to stderr: the progress of one rank is enough
  if (test_comm->rank != 0 && !freopen("/dev/null", "w", stdout)) gd_abort("cannot open /dev/null");

  int n_failed = abs(_cmocka_run_group_tests("tests", tests, n_tests, NULL, NULL));
  MPI_Allreduce(MPI_IN_PLACE, &n_failed, 1, MPI_INT, MPI_SUM, test_comm->mpi);
  gd_comm_destroy(&test_comm);
  test_mpi_end();
  return n_failed > 0;
}

// ---- Golden files

static hid_t golden_open(const char *file) {
  char *path = gd_format("%s/golden/%s", GD_TEST_DATA, file);
  hid_t id = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (id < 0) fail_msg("%s: cannot open", path);
  gd_free(path);
  return id;
}

static hid_t dataset_open(hid_t file, const char *dataset) {
  hid_t id;
  H5E_BEGIN_TRY {
    id = H5Dopen2(file, dataset, H5P_DEFAULT);
  }
  H5E_END_TRY;
  return id;
}

// HDF5 converts any number type of the file to float.
static void dataset_read(hid_t dataset, const char *file, const char *name, int64_t count, float *out) {
  hid_t space = H5Dget_space(dataset);
  int64_t n = H5Sget_simple_extent_npoints(space);
  H5Sclose(space);
  if (n != count) fail_msg("%s: %s: has %lld elements, not %lld", file, name, (long long)n, (long long)count);
  if (H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
    fail_msg("%s: %s: cannot read", file, name);
}

float *golden(const char *file, const char *dataset, int64_t count) {
  hid_t file_id = golden_open(file);
  hid_t id = dataset_open(file_id, dataset);
  if (id < 0) fail_msg("%s: no dataset %s", file, dataset);
  float *values = GD_NEW_ARRAY(float, count);
  dataset_read(id, file, dataset, count, values);
  H5Dclose(id);
  H5Fclose(file_id);
  return values;
}

bool golden_has(const char *file, const char *dataset) {
  hid_t file_id = golden_open(file);
  hid_t id = dataset_open(file_id, dataset);
  if (id >= 0) H5Dclose(id);
  H5Fclose(file_id);
  return id >= 0;
}

int golden_params(const char *file, const char *group, const gd_param_table *table, float *values) {
  hid_t file_id = golden_open(file);
  int n_found = 0;
  for (int i = 0; i < table->n; i++) {
    const gd_param *param = &table->params[i];
    char *name = gd_format("%s/%s", group, param->name);
    hid_t id = dataset_open(file_id, name);
    if (id >= 0) {
      dataset_read(id, file, name, param->count, values + param->offset);
      H5Dclose(id);
      n_found++;
    }
    gd_free(name);
  }
  H5Fclose(file_id);
  return n_found;
}

// ---- Comparisons and layouts

double relative_error(const float *a, const float *b, int64_t n) {
  double difference = 0.0, scale = 0.0;
  for (int64_t i = 0; i < n; i++) {
    if (isnan(a[i]) || isnan(b[i])) return INFINITY;  // fmax would hide a NaN
    difference = fmax(difference, fabs((double)a[i] - b[i]));
    scale = fmax(scale, fabs((double)b[i]));
  }
  return scale > 0.0 ? difference / scale : difference;
}

void nchw_to_nhwc(const float *in, int n, int c, int h, int w, float *out) {
  size_t n_pixels = (size_t)h * w;
  for (size_t i = 0; i < (size_t)n; i++)
    for (size_t j = 0; j < (size_t)c; j++)
      for (size_t p = 0; p < n_pixels; p++) out[(i * n_pixels + p) * c + j] = in[(i * c + j) * n_pixels + p];
}

void nhwc_to_nchw(const float *in, int n, int c, int h, int w, float *out) {
  size_t n_pixels = (size_t)h * w;
  for (size_t i = 0; i < (size_t)n; i++)
    for (size_t j = 0; j < (size_t)c; j++)
      for (size_t p = 0; p < n_pixels; p++) out[(i * c + j) * n_pixels + p] = in[(i * n_pixels + p) * c + j];
}

// ---- Folders

char *test_folder_create(void) {
  const char *parent = getenv("TMPDIR");
  char *folder = gd_alloc_zero(1024);
  if (test_comm->rank == 0) {
    snprintf(folder, 1024, "%s/gendistill-test-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(folder)) gd_abort("%s: cannot make a folder", folder);
  }
  MPI_Bcast(folder, 1024, MPI_CHAR, 0, test_comm->mpi);
  return folder;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw) {
  (void)status, (void)type, (void)ftw;
  return remove(path);
}

void test_folder_remove(char *folder) {
  MPI_Barrier(test_comm->mpi);  // no rank still writes there
  if (test_comm->rank == 0 && nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
    gd_log(GD_LOG_WARN, "%s: cannot remove", folder);
  MPI_Barrier(test_comm->mpi);
  gd_free(folder);
}

char *test_folder;

int test_folder_setup(void **state) {
  (void)state;
  test_folder = test_folder_create();
  return 0;
}

int test_folder_teardown(void **state) {
  (void)state;
  test_folder_remove(test_folder);
  return 0;
}
