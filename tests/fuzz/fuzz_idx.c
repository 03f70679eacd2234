/* The IDX reader: two bytes give the length of the file of images, the rest is the file of labels. Either may be
 * gzipped. Small images are also resized, as in training. */
#include <string.h>
#include <zlib.h>

#include "data/read.h"
#include "data/resize.h"
#include "fuzz_support.h"

static void resize(const gd_raw_images *raw) {
  uint8_t out[32 * 32];
  if (raw->size <= 64)
    for (int64_t i = 0; i < raw->n && i < 8; i++)
      gd_resize_image(raw->images + i * raw->size * raw->size, raw->size, 1, out, 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  if (nbytes < 2) return 0;
  size_t n_images = data[0] | (size_t)data[1] << 8, rest = nbytes - 2;
  if (n_images > rest) n_images = rest;
  fuzz_write("train-images-idx3-ubyte", data + 2, n_images);
  fuzz_write("train-labels-idx1-ubyte", data + 2 + n_images, rest - n_images);
  gd_raw_images raw;
  gd_err err = gd_dataset_kind_get(GD_DATASET_fashion_mnist)->read(&raw, fuzz_folder(), GD_TRAIN, 10);
  fuzz_check(err, "idx");
  if (err == GD_OK) resize(&raw);
  gd_raw_images_clear(&raw);
  return 0;
}

static void seed(const char *name, const uint8_t *images, size_t n_images, const uint8_t *labels, size_t n_labels) {
  uint8_t *bytes = gd_alloc(2 + n_images + n_labels);
  bytes[0] = (uint8_t)n_images, bytes[1] = (uint8_t)(n_images >> 8);
  memcpy(bytes + 2, images, n_images);
  memcpy(bytes + 2 + n_images, labels, n_labels);
  fuzz_seed(name, bytes, 2 + n_images + n_labels);
  gd_free(bytes);
}

static size_t pack(const uint8_t *bytes, size_t nbytes, const char *name, uint8_t **out) {
  gzFile file = gzopen(fuzz_path(name), "wb");
  if (!file || gzwrite(file, bytes, (unsigned)nbytes) != (int)nbytes || gzclose(file) != Z_OK)
    gd_abort("cannot write %s", name);
  size_t n;
  *out = fuzz_read(fuzz_path(name), &n);
  return n;
}

void fuzz_make_seeds(void) {
  static const uint8_t images[16 + 3 * 16] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 4, 255, 1, 2};
  static const uint8_t labels[8 + 3] = {0, 0, 8, 1, 0, 0, 0, 3, 9, 0, 4};
  static const uint8_t huge[16 + 3] = {0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 4, 0, 0, 0, 4, 0};
  uint8_t *packed_images, *packed_labels;
  size_t n_images = pack(images, sizeof images, "a.gz", &packed_images);
  size_t n_labels = pack(labels, sizeof labels, "b.gz", &packed_labels);
  seed("plain", images, sizeof images, labels, sizeof labels);
  seed("packed", packed_images, n_images, packed_labels, n_labels);
  seed("mixed", images, sizeof images, packed_labels, n_labels);
  seed("huge", huge, sizeof huge, labels, sizeof labels);
  gd_free(packed_images);
  gd_free(packed_labels);
}
