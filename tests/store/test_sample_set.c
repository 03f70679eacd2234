/* A sample set is read back as written, however its images were distributed over the ranks. */
#include <math.h>

#include "store_small.h"

enum { H = 4, W = 3, C = 2, IMAGE = H * W * C };

// Pixel values that depend only on the image and the position.
static uint8_t *make_images(gd_range local) {
  uint8_t *images = gd_alloc((size_t)(local.end - local.begin) * IMAGE);
  for (int64_t i = local.begin; i < local.end; i++)
    for (int k = 0; k < IMAGE; k++) images[(i - local.begin) * IMAGE + k] = (uint8_t)(i * 37 + k);
  return images;
}

static gd_sample_set make_set(int64_t n, gd_range local, const uint8_t *images) {
  gd_sample_set set = {.n_global = n, .h = H, .w = W, .c = C, .sampler = "ddim", .steps = 10, .eta = 0.1};
  set.seed = UINT64_MAX;
  set.checkpoint_digest = 0x00ff00ff12345678u;
  set.local = local;
  set.images = images;
  return set;
}

static gd_err write_set(const gd_comm *comm, const char *path, int64_t n, gd_range local) {
  uint8_t *images = make_images(local), *labels = gd_alloc((size_t)(local.end - local.begin) + 1);
  gd_sample_set set = make_set(n, local, images);
  for (int64_t i = local.begin; i < local.end; i++) labels[i - local.begin] = (uint8_t)(i * i % 11);
  set.labels = labels;
  gd_err err = gd_sample_set_write(comm, path, &set);
  gd_free(images);
  gd_free(labels);
  return err;
}

static void assert_read_back(const char *path, int64_t n) {
  gd_sample_set read;
  uint8_t *images = NULL;
  assert_ok(gd_sample_set_read(test_comm, path, &read, &images));
  gd_range expected = gd_range_images(test_comm, n);
  assert_int_equal(read.n_global, n);
  assert_true(read.h == H && read.w == W && read.c == C && read.steps == 10 && read.eta == 0.1);
  assert_true(read.seed == UINT64_MAX && read.checkpoint_digest == 0x00ff00ff12345678u);
  assert_string_equal(read.sampler, "ddim");
  assert_true(read.local.begin == expected.begin && read.local.end == expected.end);
  assert_ptr_equal(read.images, images);
  uint8_t *good = make_images(expected);
  assert_memory_equal(images, good, (size_t)(expected.end - expected.begin) * IMAGE);
  gd_free(good);
  gd_free(images);
}

static void assert_labels(const char *path, int64_t n) {
  uint8_t *labels;
  assert_ok(gd_sample_set_read_labels(test_comm, path, &labels));
  assert_non_null(labels);
  for (int64_t i = 0; i < n; i++) assert_int_equal(labels[i], i * i % 11);
  gd_free(labels);
}

// The last rank has the first images; with several ranks the first has none.
static gd_range uneven_range(int64_t n) {
  int size = test_comm->size, back = size - 1 - test_comm->rank;
  if (size == 1) return (gd_range){0, n};
  if (back == size - 1) return (gd_range){n, n};
  return gd_range_block(n, size - 1, back);
}

static void test_round_trip(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/samples.h5", folder);
  const int64_t counts[] = {11, 100};  // one chunk, which one rank reads, and several
  for (int i = 0; i < 2; i++) {
    assert_ok(write_set(test_comm, path, counts[i], gd_range_block(counts[i], test_comm->size, test_comm->rank)));
    assert_read_back(path, counts[i]);
    assert_labels(path, counts[i]);
  }
  gd_free(path);
  test_folder_remove(folder);
}

static void test_fewer_images_than_ranks(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/samples.h5", folder);
  assert_ok(write_set(test_comm, path, 1, gd_range_block(1, test_comm->size, test_comm->rank)));
  assert_read_back(path, 1);
  assert_labels(path, 1);
  assert_ok(write_set(test_comm, path, 0, (gd_range){0, 0}));
  assert_read_back(path, 0);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_file_does_not_depend_on_the_ranks(void **state) {
  (void)state;
  const gd_comm alone = {.mpi = MPI_COMM_SELF, .rank = 0, .size = 1};
  char *folder = test_folder_create(), *uneven = gd_format("%s/uneven.h5", folder);
  char *single = gd_format("%s/single-%d.h5", folder, test_comm->rank);
  assert_ok(write_set(test_comm, uneven, 11, uneven_range(11)));
  assert_read_back(uneven, 11);
  assert_labels(uneven, 11);
  assert_ok(gd_comm_agree(test_comm, write_set(&alone, single, 11, (gd_range){0, 11})));
  size_t nbytes, nbytes_single;
  uint8_t *a = file_bytes(uneven, &nbytes), *b = file_bytes(single, &nbytes_single);
  assert_int_equal(nbytes, nbytes_single);
  assert_memory_equal(a, b, nbytes);
  gd_free(a);
  gd_free(b);
  gd_free(single);
  gd_free(uneven);
  test_folder_remove(folder);
}

static void test_damage_is_reported(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/samples.h5", folder);
  assert_ok(write_set(test_comm, path, 11, gd_range_block(11, test_comm->size, test_comm->rank)));
  size_t nbytes;
  uint8_t *bytes = file_bytes(path, &nbytes), *images = make_images((gd_range){10, 11});
  for (size_t i = 0; i + IMAGE <= nbytes; i++)  // one pixel of the last image, which one rank reads
    if (memcmp(bytes + i, images, IMAGE) == 0) bytes[i + 1] ^= 1;
  file_write(path, bytes, nbytes);
  gd_sample_set read;
  uint8_t *out = NULL;
  assert_int_equal(gd_sample_set_read(test_comm, path, &read, &out), GD_ERR_INPUT);
  assert_message("/samples.h5: dataset '/images' is damaged: its checksum does not match");
  assert_null(out);
  gd_free(images);
  gd_free(bytes);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_a_non_finite_attribute_is_refused(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/samples.h5", folder);
  gd_range local = gd_range_block(3, test_comm->size, test_comm->rank);
  uint8_t *images = make_images(local), *out = NULL;
  gd_sample_set set = make_set(3, local, images), read;
  set.eta = NAN;
  assert_ok(gd_sample_set_write(test_comm, path, &set));
  assert_int_equal(gd_sample_set_read(test_comm, path, &read, &out), GD_ERR_INPUT);
  assert_message("/samples.h5: attribute 'eta' is nan, not a finite number");
  gd_free(images);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_a_checkpoint_is_no_sample_set(void **state) {
  (void)state;
  gd_param_table table = small_table();
  gd_checkpoint checkpoint = small_checkpoint(&table, false), header;
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder);
  gd_sample_set read;
  uint8_t *out = NULL;
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &checkpoint));
  assert_int_equal(gd_sample_set_read(test_comm, path, &read, &out), GD_ERR_INPUT);
  assert_message("/a.h5: kind is 'checkpoint', must be 'sample_set'");
  assert_ok(write_set(test_comm, path, 3, gd_range_block(3, test_comm->size, test_comm->rank)));
  assert_int_equal(gd_checkpoint_read_header(test_comm, path, &header), GD_ERR_INPUT);
  assert_message("/a.h5: kind is 'sample_set', must be 'checkpoint'");
  gd_checkpoint_clear(&checkpoint);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_unrounded_images_are_read_as_an_array(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/samples.h5", folder);
  gd_range local = gd_range_block(3, test_comm->size, test_comm->rank);  // with four ranks, one has none
  int64_t n_local = local.end - local.begin;
  uint8_t *images = make_images(local);
  float *x_0 = n_local ? GD_NEW_ARRAY(float, n_local *IMAGE) : NULL, *read = NULL;
  for (int64_t i = 0; i < n_local * IMAGE; i++) x_0[i] = (float)(local.begin * IMAGE + i) / 7.0f;
  gd_sample_set set = make_set(3, local, images);
  set.x_0 = x_0;
  assert_ok(gd_sample_set_write(test_comm, path, &set));
  assert_read_back(path, 3);
  int n_dims;
  int64_t dims[4];
  assert_ok(gd_array_read(test_comm, path, "/x_0", &read, &n_dims, dims));
  assert_true(n_dims == 4 && dims[0] == 3 && dims[1] == C && dims[2] == H && dims[3] == W);
  for (int i = 0; i < 3 * IMAGE; i++) assert_true(read[i] == (float)i / 7.0f);
  gd_free(read);
  gd_free(x_0);
  gd_free(images);
  gd_free(path);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_fewer_images_than_ranks),
      cmocka_unit_test(test_file_does_not_depend_on_the_ranks),
      cmocka_unit_test(test_unrounded_images_are_read_as_an_array),
      cmocka_unit_test(test_damage_is_reported),
      cmocka_unit_test(test_a_checkpoint_is_no_sample_set),
      cmocka_unit_test(test_a_non_finite_attribute_is_refused),
  };
  return GD_TEST_MAIN(tests);
}
