/* CIFAR-10, binary version: records of one label byte and 32 x 32 pixels, red plane first, then green and
 * blue. The planes are interleaved here, to (size, size, 3). */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "data/read.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE };

static void interleave_planes(const uint8_t *planes, uint8_t *pixels) {
  for (int i = 0; i < PLANE; i++)
    for (int c = 0; c < 3; c++) pixels[3 * i + c] = planes[c * PLANE + i];
}

static void *extend_array(void *old, size_t nbytes, size_t more) {
  void *new = gd_alloc(nbytes + more);
  if (nbytes > 0) memcpy(new, old, nbytes);
  gd_free(old);
  return new;
}

static gd_err append_file(gd_raw_images *out, const char *folder, const char *name, int n_classes) {
  gd_err err = GD_OK;
  char *path = NULL;
  uint8_t *bytes = NULL;
  size_t nbytes = 0;
  GD_TRY(gd_file_read(folder, name, &path, &bytes, &nbytes));
  if (nbytes == 0) GD_TRY(gd_error(GD_ERR_INPUT, "%s: is empty", path));
  if (nbytes % RECORD != 0)
    GD_TRY(gd_error(GD_ERR_INPUT, "%s: truncated, or with trailing bytes: %zu bytes are no whole records of %d", path,
                    nbytes, RECORD));
  size_t n = nbytes / RECORD, had = (size_t)out->n;
  out->images = extend_array(out->images, had * 3 * PLANE, n * 3 * PLANE);
  out->labels = extend_array(out->labels, had, n);
  for (size_t i = 0; i < n; i++) {
    const uint8_t *record = bytes + i * RECORD;
    if (record[0] >= n_classes)
      GD_TRY(gd_error(GD_ERR_INPUT, "%s: label %d of image %zu is out of range, must be 0 to %d", path, record[0], i,
                      n_classes - 1));
    out->labels[had + i] = record[0];
    interleave_planes(record + 1, out->images + (had + i) * 3 * PLANE);
  }
  out->n += (int64_t)n;
done:
  gd_free(bytes);
  gd_free(path);
  return err;
}

// data_batch_1.bin ..., test_batch.bin in FOLDER or FOLDER/cifar-10-batches-bin
static gd_err cifar10_read(gd_raw_images *out, const char *folder, gd_split split, int n_classes) {
  static const char *const train[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                      "data_batch_5.bin"};
  gd_err err = GD_OK;
  struct stat status;
  char *below = gd_format("%s/cifar-10-batches-bin", folder);  // as the archive unpacks
  if (stat(below, &status) == 0 && S_ISDIR(status.st_mode)) folder = below;
  *out = (gd_raw_images){.size = SIDE, .channels = 3};
  if (split == GD_TEST) GD_TRY(append_file(out, folder, "test_batch.bin", n_classes));
  for (int i = 0; split == GD_TRAIN && i < 5; i++) GD_TRY(append_file(out, folder, train[i], n_classes));
done:
  if (err) gd_raw_images_clear(out);
  gd_free(below);
  return err;
}

static const char *const cifar10_classes[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                              "dog",      "frog",       "horse", "ship", "truck"};

const gd_dataset_kind gd_dataset_cifar10 = {
    .n_classes = 10, .class_names = cifar10_classes, .channels = 3, .mirrors = true, .read = cifar10_read};
