/* Small files whose headers claim huge sizes: each is refused with a message, and no memory of that size is allocated.
 *
 * The address space is limited to little more than what is in use, so that a huge allocation would end the program. The
 * address sanitizer needs an address space of terabytes: there a hook notes the largest allocation instead. */
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

#include "gendistill/config.h"
#include "hdf5_leaks.h"
#include "store_small.h"

enum { ALLOWED = 256 << 20 };  // beyond what is in use when a file is read

#ifdef __SANITIZE_ADDRESS__
// of the sanitizer; GCC does not install its header
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t), void (*)(const volatile void *));

static size_t largest;

static void note_allocation(const volatile void *block, size_t nbytes) {
  (void)block;
  if (nbytes > largest) largest = nbytes;
}

static void note_free(const volatile void *block) {
  (void)block;
}

static void limit_memory(void) {
  static int installed = 0;
  if (!installed) installed = __sanitizer_install_malloc_and_free_hooks(note_allocation, note_free);
  assert_int_not_equal(installed, 0);
  largest = 0;
}

static void release_memory(void) {
  assert_true(largest < ALLOWED);
}
#else
static struct rlimit before;

static void limit_memory(void) {
  unsigned long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  assert_true(file && fscanf(file, "%lu", &pages) == 1);
  fclose(file);
  assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
  struct rlimit limit = {pages * (rlim_t)sysconf(_SC_PAGESIZE) + ALLOWED, before.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

static void release_memory(void) {
  assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
}
#endif

static char *path_of(const char *name) {
  return gd_format("%s/%s", test_folder, name);
}

static void write_named(const char *name, const void *bytes, size_t nbytes) {
  char *path = path_of(name);
  file_write(path, bytes, nbytes);
  gd_free(path);
}

/* ---- Data sets ---- */

static void refuse_dataset(const char *name, const char *file, const char *message) {
  gd_dataset *dataset = NULL;
  gd_config *config = NULL;
  char *sets[] = {gd_format("dataset.name=%s", name), gd_format("dataset.path=%s", test_folder)};
  assert_ok(gd_config_create(&config, NULL, 2, (const char *const *)sets));
  limit_memory();
  gd_err err = gd_dataset_read(&dataset, test_comm, &config->dataset, GD_TEST);
  release_memory();
  assert_int_equal(err, GD_ERR_INPUT);
  assert_null(dataset);
  assert_message(file);
  assert_message(message);
  gd_config_destroy(&config);
  for (int i = 0; i < 2; i++) gd_free(sets[i]);
}

static void test_idx(void **state) {
  (void)state;
  static const uint8_t huge[] = {0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 4, 0, 0, 0, 4, 0, 1, 2, 3};
  static const uint8_t wide[] = {0, 0, 8, 3, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3};
  static const uint8_t one[] = {0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7};
  static const uint8_t labels[] = {0, 0, 8, 1, 255, 255, 255, 255, 1};
  write_named("t10k-images-idx3-ubyte", huge, sizeof huge);
  refuse_dataset("fashion_mnist", "t10k-images-idx3-ubyte", "truncated: the header announces 4503599626321920 bytes");
  write_named("t10k-images-idx3-ubyte", wide, sizeof wide);
  refuse_dataset("fashion_mnist", "t10k-images-idx3-ubyte", "images of 4294967295 x 4294967295 pixels");
  write_named("t10k-images-idx3-ubyte", one, sizeof one);
  write_named("t10k-labels-idx1-ubyte", labels, sizeof labels);
  refuse_dataset("fashion_mnist", "t10k-labels-idx1-ubyte", "truncated: the header announces 4294967295 bytes");
}

// A gzip file ends with the length of its content.
static void test_gzip(void **state) {
  (void)state;
  char *path = path_of("t10k-images-idx3-ubyte.gz");
  gzFile file = gzopen(path, "wb");
  assert_true(file && gzwrite(file, "\0\0\10\3", 4) == 4);
  assert_int_equal(gzclose(file), Z_OK);
  size_t nbytes;
  uint8_t *bytes = file_bytes(path, &nbytes);
  memset(bytes + nbytes - 4, 0xff, 4);
  file_write(path, bytes, nbytes);
  refuse_dataset("fashion_mnist", "t10k-images-idx3-ubyte.gz", "damaged: incorrect length check");
  gd_free(bytes);
  gd_free(path);
}

// CIFAR-10 has no header: its size is the file's, here a hole of 3 GiB.
static void test_cifar(void **state) {
  (void)state;
  char *path = path_of("test_batch.bin");
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, (off_t)3 << 30), 0);
  close(fd);
  refuse_dataset("cifar10", "test_batch.bin", "larger than 1 GiB");
  gd_free(path);
}

/* ---- safetensors ---- */

static void refuse_safetensors(uint64_t length, const char *header, const char *message) {
  gd_param_table table = small_table();
  char *path = path_of("a.safetensors");
  size_t n_text = strlen(header);
  uint8_t *bytes = gd_alloc_zero(8 + n_text + 16);
  float *values = GD_NEW_ARRAY(float, table.total);
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(length >> (8 * i));
  memcpy(bytes + 8, header, n_text);
  file_write(path, bytes, 8 + n_text + 16);
  limit_memory();
  gd_err err = gd_safetensors_read(path, &table, values);
  release_memory();
  assert_int_equal(err, GD_ERR_INPUT);
  assert_message(path);
  assert_message(message);
  gd_free(values);
  gd_free(bytes);
  gd_free(path);
}

static void test_safetensors(void **state) {
  (void)state;
  static const char offsets[] =
      "{\"scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1152921504606846976]}}";
  static const char shape[] = "{\"scale\":{\"dtype\":\"F32\",\"shape\":[288230376151711744],\"data_offsets\":[0,4]}}";
  refuse_safetensors(UINT64_MAX, "{}", "header of 18446744073709551615 bytes");
  refuse_safetensors(99999999, "{}", "header of 99999999 bytes");
  refuse_safetensors(sizeof offsets - 1, offsets, "lie outside the 16 bytes of data");
  refuse_safetensors(sizeof shape - 1, shape, "has shape [288230376151711744], must be [1]");
}

/* ---- HDF5 ---- */

// A dataset of that shape that was never written: HDF5 reads it as zeros.
static void write_unwritten(const char *path, const char *name, int n_dims, const hsize_t *dims, bool packed) {
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), properties = H5Pcreate(H5P_DATASET_CREATE);
  hid_t space = H5Screate_simple(n_dims, dims, NULL);
  hsize_t chunk[4] = {1, 16, 16, 16};
  if (packed) {
    assert_true(H5Pset_chunk(properties, n_dims, chunk) >= 0);
    assert_true(H5Pset_deflate(properties, 1) >= 0);
  }
  hid_t dataset = H5Dcreate2(file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  assert_true(file >= 0 && dataset >= 0);
  H5Dclose(dataset);
  H5Sclose(space);
  H5Pclose(properties);
  H5Fclose(file);
}

static void refuse_features(const char *path) {
  gd_features features;
  limit_memory();
  gd_err err = gd_features_read(test_comm, path, &features);
  release_memory();
  assert_int_equal(err, GD_ERR_INPUT);
  assert_null(features.values);
  assert_message(path);
  assert_message("dataset '/features' is larger than its part of the file (0 bytes)");
}

static void refuse_array(const char *path) {
  float *values = NULL;
  int n_dims;
  int64_t dims[4];
  limit_memory();
  gd_err err = gd_array_read(test_comm, path, "/x_T", &values, &n_dims, dims);
  release_memory();
  assert_int_equal(err, GD_ERR_INPUT);
  assert_null(values);
  assert_message(path);
  assert_message("dataset '/x_T' is larger than its part of the file (0 bytes)");
}

static void test_hdf5(void **state) {
  (void)state;
  char *path = path_of("a.h5");
  for (int packed = 0; packed < 2; packed++) {
    const hsize_t features[2] = {1000000, 2000}, noise[4] = {1 << 20, 16, 1024, 1024};
    write_unwritten(path, "/features", 2, features, packed);
    refuse_features(path);
    write_unwritten(path, "/x_T", 4, noise, packed);
    refuse_array(path);
  }
  gd_free(path);
}

// The shapes come from the configuration in the file's header, which may describe a larger network than the file holds.
static void test_checkpoint(void **state) {
  (void)state;
  gd_param_table table = small_table();
  char *path = path_of("a.h5");
  gd_checkpoint c = small_checkpoint(&table, true), read;
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &c));
  gd_param huge[SMALL_PARAMS];
  memcpy(huge, table.params, sizeof huge);
  huge[SMALL_PARAMS - 1].dims[0] = (int64_t)1 << 36;
  huge[SMALL_PARAMS - 1].count <<= 36;
  gd_param_table claimed = {.params = huge, .n = table.n, .total = table.total + huge[SMALL_PARAMS - 1].count};
  limit_memory();
  gd_err err = gd_checkpoint_read(test_comm, path, &claimed, &read);
  release_memory();
  assert_int_equal(err, GD_ERR_INPUT);
  assert_message("'/model/conv_out.weight' has another shape or type than float32 (68719476736, 5, 3, 3)");
  assert_int_equal(read.n_arrays, 0);
  gd_checkpoint_clear(&c);
  gd_free(path);
}

#define folder_test(name) cmocka_unit_test_setup_teardown(name, test_folder_setup, test_folder_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      folder_test(test_idx),         folder_test(test_gzip), folder_test(test_cifar),
      folder_test(test_safetensors), folder_test(test_hdf5), folder_test(test_checkpoint),
  };
  return GD_TEST_MAIN(tests);
}
