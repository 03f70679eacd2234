/* The readers of IDX and CIFAR-10 files, on small files that the test writes: content, gzip, and every error,
 * with the same status and message on all ranks. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "data/resize.h"
#include "gendistill/config.h"
#include "gendistill/data.h"
#include "support.h"

enum { RECORD = 1 + 3 * 32 * 32 };

// Rank 0 writes. Collective.
static void write_file(const char *name, const uint8_t *bytes, size_t nbytes) {
  if (test_comm->rank == 0) {
    char *path = gd_format("%s/%s", test_folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, nbytes, file) != nbytes || fclose(file) != 0) gd_abort("%s: cannot write", path);
    gd_free(path);
  }
  MPI_Barrier(test_comm->mpi);
}

static void write_gz(const char *name, const uint8_t *bytes, size_t nbytes) {
  if (test_comm->rank == 0) {
    char *path = gd_format("%s/%s", test_folder, name);
    gzFile file = gzopen(path, "wb");
    if (!file || gzwrite(file, bytes, (unsigned)nbytes) != (int)nbytes || gzclose(file) != Z_OK)
      gd_abort("%s: cannot write", path);
    gd_free(path);
  }
  MPI_Barrier(test_comm->mpi);
}

static void remove_file(const char *name) {
  if (test_comm->rank == 0) {
    char *path = gd_format("%s/%s", test_folder, name);
    remove(path);
    gd_free(path);
  }
  MPI_Barrier(test_comm->mpi);
}

static gd_err read_split(gd_dataset **out, const char *name, int size, gd_split split) {
  gd_config *config = NULL;
  char *sets[] = {gd_format("dataset.name=%s", name), gd_format("dataset.path=%s", test_folder),
                  gd_format("dataset.image_size=%d", size)};
  assert_ok(gd_config_create(&config, NULL, 3, (const char *const *)sets));
  gd_err err = gd_dataset_read(out, test_comm, &config->dataset, split);
  gd_config_destroy(&config);
  for (int i = 0; i < 3; i++) gd_free(sets[i]);
  return err;
}

static void check_refused(const char *name, gd_split split, const char *file, const char *after) {
  gd_dataset *dataset = NULL;
  char *message = gd_format("%s/%s%s", test_folder, file, after);
  assert_int_equal(read_split(&dataset, name, 8, split), GD_ERR_INPUT);
  assert_null(dataset);
  assert_string_equal(gd_error_message(), message);
  gd_free(message);
}

// ---- IDX: three images of 8 x 8 pixels, pixel p of image i is 64 i + p

static size_t idx_images(uint8_t bytes[16 + 3 * 64]) {
  memcpy(bytes, (const uint8_t[]){0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0, 8}, 16);
  for (int i = 0; i < 3 * 64; i++) bytes[16 + i] = (uint8_t)i;
  return 16 + 3 * 64;
}

static const uint8_t idx_labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 9, 0, 4};

#define TRAIN_IMAGES "train-images-idx3-ubyte"
#define TRAIN_LABELS "train-labels-idx1-ubyte"

static void check_idx(gd_split split) {
  gd_dataset *dataset = NULL;
  assert_ok(read_split(&dataset, "mnist", 8, split));
  assert_int_equal(dataset->n, 3);
  assert_int_equal(dataset->size, 8);
  assert_int_equal(dataset->channels, 1);
  assert_int_equal(dataset->n_classes, 10);
  for (int i = 0; i < 3 * 64; i++) assert_int_equal(dataset->images[i], i);
  assert_memory_equal(dataset->labels, idx_labels + 8, 3);
  gd_dataset_destroy(&dataset);
  assert_null(dataset);
}

static void idx_plain_and_gzipped(void **state) {
  (void)state;
  uint8_t images[16 + 3 * 64];
  size_t nbytes = idx_images(images);
  write_file(TRAIN_IMAGES, images, nbytes);
  write_file(TRAIN_LABELS, idx_labels, sizeof idx_labels);
  check_idx(GD_TRAIN);
  write_gz("t10k-images-idx3-ubyte.gz", images, nbytes);
  write_gz("t10k-labels-idx1-ubyte.gz", idx_labels, sizeof idx_labels);
  check_idx(GD_TEST);
}

static void idx_is_resized(void **state) {
  (void)state;
  uint8_t images[16 + 3 * 64], expected[3 * 24 * 24], twice[30 * 30];
  write_file(TRAIN_IMAGES, images, idx_images(images));
  write_file(TRAIN_LABELS, idx_labels, sizeof idx_labels);
  gd_dataset *dataset = NULL;
  assert_ok(read_split(&dataset, "fashion_mnist", 24, GD_TRAIN));
  assert_int_equal(dataset->size, 24);
  int64_t nbytes = (int64_t)gd_dataset_nbytes(dataset);
  MPI_Allreduce(MPI_IN_PLACE, &nbytes, 1, MPI_INT64_T, MPI_SUM, test_comm->mpi);
  assert_int_equal(nbytes, 3 * 64 + 3);  // once for all ranks, and enlarged only when they are used
  gd_images view = gd_dataset_images(dataset, 0);
  for (int i = 0; i < 3; i++) {
    gd_resize_bilinear(images + 16 + i * 64, 8, 8, 1, expected + i * 24 * 24, 24, 24);
    uint8_t *image = gd_images_get(&view, i, 24);
    assert_memory_equal(image, expected + i * 24 * 24, 24 * 24);
    gd_free(image);
  }
  gd_resize_bilinear(expected, 24, 24, 1, twice, 30, 30);  // first enlarged to the data set's size
  uint8_t *image = gd_images_get(&view, 0, 30);
  assert_memory_equal(image, twice, sizeof twice);
  gd_free(image);
  // as if all images were stored enlarged
  uint64_t digest = gd_digest(idx_labels + 8, 3, gd_digest(expected, sizeof expected, 0));
  assert_true(gd_dataset_digest(dataset) == digest);
  gd_dataset_destroy(&dataset);
}

// What the last rank writes, all ranks of the node see: they have no copies.
static void ranks_of_a_node_see_one_memory(void **state) {
  (void)state;
  uint8_t images[16 + 3 * 64];
  gd_dataset *dataset = NULL;
  write_file(TRAIN_IMAGES, images, idx_images(images));
  write_file(TRAIN_LABELS, idx_labels, sizeof idx_labels);
  assert_ok(read_split(&dataset, "mnist", 8, GD_TRAIN));
  MPI_Barrier(test_comm->mpi);
  if (test_comm->rank == test_comm->size - 1) {
    dataset->images[100] = 201;
    dataset->labels[2] = 7;
  }
  MPI_Barrier(test_comm->mpi);
  assert_int_equal(dataset->images[100], 201);
  assert_int_equal(dataset->labels[2], 7);
  gd_dataset_destroy(&dataset);
}

// Reads with these files of images and labels; expects the message after the name of the wrong file.
static void refuse_idx(const uint8_t *images, size_t n_images, const uint8_t *labels, size_t n_labels, const char *file,
                       const char *after) {
  write_file(TRAIN_IMAGES, images, n_images);
  write_file(TRAIN_LABELS, labels, n_labels);
  check_refused("mnist", GD_TRAIN, file, after);
}

static void idx_images_that_are_wrong(void **state) {
  (void)state;
  static const struct {
    int at;
    uint8_t value[4]; /* a word of the header */
    const char *after;
  } cases[] = {
      {0, {0, 0, 8, 1}, ": wrong magic number 0x00000801, must be 0x00000803"},
      {4, {0, 0, 0, 4}, ": truncated: the header announces 256 bytes, 192 follow"},
      {4, {0, 0, 0, 2}, ": 64 bytes too many after what the header announces"},
      {4, {0, 0, 0, 0}, ": is empty"},
      {4, {255, 255, 255, 255}, ": truncated: the header announces 274877906880 bytes, 192 follow"},
      {8, {255, 255, 255, 255}, ": images of 4294967295 x 8 pixels, must be 1 to 1024 a side"},
      {12, {0, 0, 0, 0}, ": images of 8 x 0 pixels, must be 1 to 1024 a side"},
      {8, {0, 0, 0, 9}, ": truncated: the header announces 216 bytes, 192 follow"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint8_t images[16 + 3 * 64];
    size_t nbytes = idx_images(images);
    memcpy(images + cases[i].at, cases[i].value, 4);
    refuse_idx(images, nbytes, idx_labels, sizeof idx_labels, TRAIN_IMAGES, cases[i].after);
  }
  uint8_t images[16 + 3 * 64];
  size_t nbytes = idx_images(images);
  images[11] = 4, images[15] = 16;
  refuse_idx(images, nbytes, idx_labels, sizeof idx_labels, TRAIN_IMAGES, ": images of 4 x 16 pixels, must be square");
  refuse_idx(images, 15, idx_labels, sizeof idx_labels, TRAIN_IMAGES, ": truncated: 15 bytes are no header");
  refuse_idx(images, 0, idx_labels, sizeof idx_labels, TRAIN_IMAGES, ": truncated: 0 bytes are no header");
}

static void idx_labels_that_are_wrong(void **state) {
  (void)state;
  uint8_t images[16 + 3 * 64], labels[sizeof idx_labels + 1];
  size_t nbytes = idx_images(images);
  memcpy(labels, idx_labels, sizeof idx_labels);
  labels[10] = 10;
  refuse_idx(images, nbytes, labels, 11, TRAIN_LABELS, ": label 10 of image 2 is out of range, must be 0 to 9");
  refuse_idx(images, nbytes, labels, 10, TRAIN_LABELS, ": truncated: the header announces 3 bytes, 2 follow");
  labels[11] = 0;
  refuse_idx(images, nbytes, labels, 12, TRAIN_LABELS, ": 1 bytes too many after what the header announces");
  labels[7] = 4;
  refuse_idx(images, nbytes, labels, 12, TRAIN_LABELS, ": 4 labels for the 3 images of " TRAIN_IMAGES);
  labels[3] = 3;
  refuse_idx(images, nbytes, labels, 12, TRAIN_LABELS, ": wrong magic number 0x00000803, must be 0x00000801");
}

static void idx_files_that_are_missing(void **state) {
  (void)state;
  uint8_t images[16 + 3 * 64];
  check_refused("mnist", GD_TRAIN, TRAIN_IMAGES, ": there is no such file, nor " TRAIN_IMAGES ".gz");
  write_file(TRAIN_IMAGES, images, idx_images(images));
  check_refused("mnist", GD_TRAIN, TRAIN_LABELS, ": there is no such file, nor " TRAIN_LABELS ".gz");
  remove_file(TRAIN_IMAGES);
  if (test_comm->rank == 0) {
    char *path = gd_format("%s/%s", test_folder, TRAIN_IMAGES);
    if (mkdir(path, 0700) != 0) gd_abort("%s: cannot make", path);
    gd_free(path);
  }
  MPI_Barrier(test_comm->mpi);
  check_refused("mnist", GD_TRAIN, TRAIN_IMAGES, ": not a file");
}

// The bytes of a gzip file of images that hardly compress.
static size_t gzipped_images(uint8_t *out, size_t room) {
  uint8_t images[16 + 3 * 64];
  write_gz("packed", images, idx_images(images));
  char *path = gd_format("%s/packed", test_folder);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t nbytes = fread(out, 1, room, file);
  fclose(file);
  gd_free(path);
  return nbytes;
}

static void truncated_or_damaged_gzip(void **state) {
  (void)state;
  uint8_t packed[512];
  size_t nbytes = gzipped_images(packed, sizeof packed);
  assert_in_range(nbytes, 60, 400);
  const char *const after = ": truncated: its gzip stream ends too early";
  write_file(TRAIN_IMAGES ".gz", packed, nbytes / 2);
  check_refused("mnist", GD_TRAIN, TRAIN_IMAGES ".gz", after);
  write_file(TRAIN_IMAGES ".gz", packed, nbytes - 1);  // all images are there, the checksum is incomplete
  check_refused("mnist", GD_TRAIN, TRAIN_IMAGES ".gz", after);
  packed[nbytes - 6] ^= 1;  // a bit of the checksum
  write_file(TRAIN_IMAGES ".gz", packed, nbytes);
  gd_dataset *dataset = NULL;
  assert_int_equal(read_split(&dataset, "mnist", 8, GD_TRAIN), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), TRAIN_IMAGES ".gz: damaged: "));
}

// ---- CIFAR-10: record i of a file has label (first + i) % 10; its planes hold i + 100 c + pixel number, as bytes

static uint8_t cifar_pixel(int i, int c, int p) {
  return (uint8_t)(i + 100 * c + p);
}

static void write_cifar(const char *name, int first, int n) {
  uint8_t *bytes = gd_alloc((size_t)n * RECORD);
  for (int i = 0; i < n; i++) {
    uint8_t *record = bytes + i * RECORD;
    record[0] = (uint8_t)((first + i) % 10);
    for (int j = 0; j < 3 * 1024; j++) record[1 + j] = cifar_pixel(i, j / 1024, j % 1024);
  }
  write_file(name, bytes, (size_t)n * RECORD);
  gd_free(bytes);
}

static void write_cifar_train(const char *below) {
  for (int b = 1; b <= 5; b++) {
    char *name = gd_format("%sdata_batch_%d.bin", below, b);
    write_cifar(name, 2 * b, 2);
    gd_free(name);
  }
}

static void check_cifar_train(void) {
  gd_dataset *dataset = NULL;
  assert_ok(read_split(&dataset, "cifar10", 32, GD_TRAIN));
  assert_int_equal(dataset->n, 10);
  assert_int_equal(dataset->channels, 3);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(dataset->labels[i], (2 + i) % 10);
    const uint8_t *image = dataset->images + i * 32 * 32 * 3;  // (32, 32, 3)
    for (int j = 0; j < 3 * 1024; j++) assert_int_equal(image[j], cifar_pixel(i % 2, j % 3, j / 3));
  }
  gd_dataset_destroy(&dataset);
}

static void cifar_train_and_test(void **state) {
  (void)state;
  write_cifar_train("");
  write_cifar("test_batch.bin", 5, 3);
  check_cifar_train();
  gd_dataset *dataset = NULL;
  assert_ok(read_split(&dataset, "cifar10", 16, GD_TEST));
  assert_int_equal(dataset->n, 3);
  assert_int_equal(dataset->size, 16);
  assert_int_equal(dataset->labels[2], 7);
  // pixels 0, 1, 32, 33 of image 0: their mean is 16.5, rounded up
  assert_int_equal(dataset->images[0], 17);
  assert_int_equal(dataset->images[1], 117);
  gd_dataset_destroy(&dataset);
}

static void cifar_in_the_folder_of_its_archive(void **state) {
  (void)state;
  if (test_comm->rank == 0) {
    char *path = gd_format("%s/cifar-10-batches-bin", test_folder);
    if (mkdir(path, 0700) != 0) gd_abort("%s: cannot make", path);
    gd_free(path);
  }
  MPI_Barrier(test_comm->mpi);
  write_cifar_train("cifar-10-batches-bin/");
  check_cifar_train();
  check_refused("cifar10", GD_TEST, "cifar-10-batches-bin/test_batch.bin",
                ": there is no such file, nor test_batch.bin.gz");
}

static void cifar_files_that_are_wrong(void **state) {
  (void)state;
  uint8_t *bytes = gd_alloc_zero(2 * RECORD);
  check_refused("cifar10", GD_TRAIN, "data_batch_1.bin", ": there is no such file, nor data_batch_1.bin.gz");
  write_cifar_train("");
  remove_file("data_batch_4.bin");
  check_refused("cifar10", GD_TRAIN, "data_batch_4.bin", ": there is no such file, nor data_batch_4.bin.gz");
  write_file("test_batch.bin", bytes, 2 * RECORD - 1);
  check_refused("cifar10", GD_TEST, "test_batch.bin",
                ": truncated, or with trailing bytes: 6145 bytes are no whole records of 3073");
  write_file("test_batch.bin", bytes, RECORD + 1);
  check_refused("cifar10", GD_TEST, "test_batch.bin",
                ": truncated, or with trailing bytes: 3074 bytes are no whole records of 3073");
  write_file("test_batch.bin", bytes, 0);
  check_refused("cifar10", GD_TEST, "test_batch.bin", ": is empty");
  bytes[RECORD] = 10;
  write_file("test_batch.bin", bytes, 2 * RECORD);
  check_refused("cifar10", GD_TEST, "test_batch.bin", ": label 10 of image 1 is out of range, must be 0 to 9");
  gd_free(bytes);
}

static void git_lfs_pointers_are_named(void **state) {
  (void)state;
  static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
  const char *after = ": a Git LFS pointer, not the file itself: fetch the file with 'git lfs pull'";
  write_file("test_batch.bin.gz", (const uint8_t *)pointer, sizeof pointer - 1);
  check_refused("cifar10", GD_TEST, "test_batch.bin.gz", after);
  write_file(TRAIN_IMAGES, (const uint8_t *)pointer, sizeof pointer - 1);
  check_refused("mnist", GD_TRAIN, TRAIN_IMAGES, after);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, test_folder_setup, test_folder_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_FOLDER(idx_plain_and_gzipped),          IN_FOLDER(idx_is_resized),
      IN_FOLDER(idx_images_that_are_wrong),      IN_FOLDER(idx_labels_that_are_wrong),
      IN_FOLDER(idx_files_that_are_missing),     IN_FOLDER(truncated_or_damaged_gzip),
      IN_FOLDER(cifar_train_and_test),           IN_FOLDER(cifar_in_the_folder_of_its_archive),
      IN_FOLDER(cifar_files_that_are_wrong),     IN_FOLDER(git_lfs_pointers_are_named),
      IN_FOLDER(ranks_of_a_node_see_one_memory),
  };
  return GD_TEST_MAIN(tests);
}
