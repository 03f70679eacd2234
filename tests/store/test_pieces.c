/* Files written and read in pieces, like arrays whose size in bytes exceeds an int: the same bytes, the same values. */
#include "store/features.h"
#include "store_small.h"

enum { N = 131, SIDE = 3, IMAGE = SIDE * SIDE, WIDTH = 7 };

// Bytes per piece: images of 9 bytes and features of 28 or 56 bytes go one by one, a few or many at a time.
static const size_t limits[] = {1, 60, 200};

static uint8_t pixel(int64_t image, int k) {
  return (uint8_t)(image * 37 + k);
}

static void write_samples(const char *path) {
  gd_sample_set set = {.n_global = N, .h = SIDE, .w = SIDE, .c = 1, .sampler = "ddim", .steps = 2};
  set.local = gd_range_block(N, test_comm->size, test_comm->size - 1 - test_comm->rank);
  uint8_t images[N * IMAGE];
  float unrounded[N * IMAGE];
  for (int64_t i = set.local.begin; i < set.local.end; i++)
    for (int k = 0; k < IMAGE; k++) {
      images[(i - set.local.begin) * IMAGE + k] = pixel(i, k);
      unrounded[(i - set.local.begin) * IMAGE + k] = (float)pixel(i, k) / 3;
    }
  set.images = images;
  set.x_0 = unrounded;
  assert_ok(gd_sample_set_write(test_comm, path, &set));
}

static void read_samples(const char *path) {
  gd_sample_set set;
  uint8_t *images;
  float *values;
  int n_dims;
  int64_t dims[4];
  assert_ok(gd_sample_set_read(test_comm, path, &set, &images));
  for (int64_t i = set.local.begin; i < set.local.end; i++)
    for (int k = 0; k < IMAGE; k++) assert_int_equal(images[(i - set.local.begin) * IMAGE + k], pixel(i, k));
  assert_ok(gd_array_read(test_comm, path, "/x_0", &values, &n_dims, dims));
  assert_true(n_dims == 4 && dims[0] == N);
  for (int i = 0; i < N; i++)
    for (int k = 0; k < IMAGE; k++) assert_true(values[i * IMAGE + k] == (float)pixel(i, k) / 3);
  gd_free(values);
  gd_free(images);
}

static gd_features make_features(void) {
  gd_features f = {.n_global = N, .width = WIDTH, .local = gd_range_images(test_comm, N)};
  int64_t count = (f.local.end - f.local.begin) * WIDTH;
  f.values = GD_NEW_ARRAY(double, count);
  for (int64_t i = 0; i < count; i++) f.values[i] = (double)(f.local.begin * WIDTH + i) / 8;
  return f;
}

static void write_features(const char *path) {
  gd_features f = make_features();
  assert_ok(gd_features_write(test_comm, path, &f, "resnet18"));
  gd_features_clear(&f);
}

static void read_features(const char *path) {
  gd_features f = make_features(), read;
  assert_ok(gd_features_read(test_comm, path, &read));
  assert_memory_equal(read.values, f.values, (size_t)(f.local.end - f.local.begin) * WIDTH * sizeof *f.values);
  gd_features_clear(&f);
  gd_features_clear(&read);
}

static void write_checkpoint(const char *path) {
  gd_param_table table = small_table();
  gd_checkpoint checkpoint = small_checkpoint(&table, true);
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &checkpoint));
  gd_checkpoint_clear(&checkpoint);
}

static void read_checkpoint(const char *path) {
  gd_param_table table = small_table();
  gd_checkpoint checkpoint = small_checkpoint(&table, true), read;
  assert_ok(gd_checkpoint_read(test_comm, path, &table, &read));
  for (int i = 0; i < checkpoint.n_arrays; i++)
    small_assert_same_array(checkpoint.arrays[i].values, gd_checkpoint_array(&read, checkpoint.arrays[i].name),
                            table.total);
  gd_checkpoint_clear(&checkpoint);
  gd_checkpoint_clear(&read);
}

static void check_in_pieces(void (*write)(const char *), void (*read)(const char *)) {
  char *folder = test_folder_create(), *path = gd_format("%s/file.h5", folder);
  write(path);
  size_t nbytes, nbytes_pieces;
  uint8_t *whole = file_bytes(path, &nbytes);
  for (size_t l = 0; l < sizeof limits / sizeof *limits; l++) {
    gd_transfer_limit(limits[l]);
    read(path);
    MPI_Barrier(test_comm->mpi);
    write(path);
    uint8_t *pieces = file_bytes(path, &nbytes_pieces);
    assert_int_equal(nbytes_pieces, nbytes);
    assert_memory_equal(pieces, whole, nbytes);
    gd_free(pieces);
  }
  gd_transfer_limit(0);
  gd_free(whole);
  gd_free(path);
  test_folder_remove(folder);
}

static void sample_sets(void **state) {
  (void)state;
  check_in_pieces(write_samples, read_samples);
}

static void feature_sets(void **state) {
  (void)state;
  check_in_pieces(write_features, read_features);
}

static void checkpoints(void **state) {
  (void)state;
  check_in_pieces(write_checkpoint, read_checkpoint);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sample_sets),
      cmocka_unit_test(feature_sets),
      cmocka_unit_test(checkpoints),
  };
  return GD_TEST_MAIN(tests);
}
