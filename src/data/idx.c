/* IDX files, the format of MNIST and its relatives: a big-endian header, then bytes.
 *
 * Images 0x803, n, rows, columns; labels 0x801, n. Other element types and shapes are refused. */
#include <inttypes.h>
#include <string.h>

#include "data/read.h"

enum { MAX_SIDE = 1024 };

static uint32_t big_endian(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

// Header of n_words words, the first `magic`; then exactly the product of the others in bytes.
static gd_err check_header(const char *path, const uint8_t *bytes, size_t nbytes, uint32_t magic, int n_words,
                           uint32_t words[4]) {
  size_t header = 4 * (size_t)n_words, content = 1;
  if (nbytes < header) return gd_error(GD_ERR_INPUT, "%s: truncated: %zu bytes are no header", path, nbytes);
  for (int i = 0; i < n_words; i++) words[i] = big_endian(bytes + 4 * i);
  if (words[0] != magic)
    return gd_error(GD_ERR_INPUT, "%s: wrong magic number 0x%08" PRIx32 ", must be 0x%08" PRIx32, path, words[0],
                    magic);
  for (int i = 2; i < n_words; i++)
    if (words[i] < 1 || words[i] > MAX_SIDE)
      return gd_error(GD_ERR_INPUT, "%s: images of %" PRIu32 " x %" PRIu32 " pixels, must be 1 to %d a side", path,
                      words[2], words[3], MAX_SIDE);
  for (int i = 1; i < n_words; i++) content *= words[i];  // below 2^32 * 2^20
  if (content == 0) return gd_error(GD_ERR_INPUT, "%s: is empty", path);
  if (nbytes - header < content)
    return gd_error(GD_ERR_INPUT, "%s: truncated: the header announces %zu bytes, %zu follow", path, content,
                    nbytes - header);
  if (nbytes - header > content)
    return gd_error(GD_ERR_INPUT, "%s: %zu bytes too many after what the header announces", path,
                    nbytes - header - content);
  return GD_OK;
}

// The content without its header, in a new array.
static uint8_t *content_of(const uint8_t *bytes, size_t nbytes, size_t header) {
  return memcpy(gd_alloc(nbytes - header), bytes + header, nbytes - header);
}

static gd_err read_images(gd_raw_images *out, const char *folder, const char *name) {
  gd_err err = GD_OK;
  char *path = NULL;
  uint8_t *bytes = NULL;
  size_t nbytes = 0;
  uint32_t words[4] = {0};
  GD_TRY(gd_file_read(folder, name, &path, &bytes, &nbytes));
  GD_TRY(check_header(path, bytes, nbytes, 0x803, 4, words));
  if (words[2] != words[3])
    GD_TRY(gd_error(GD_ERR_INPUT, "%s: images of %" PRIu32 " x %" PRIu32 " pixels, must be square", path, words[2],
                    words[3]));
  out->n = words[1];
  out->size = (int)words[2];
  out->channels = 1;
  out->images = content_of(bytes, nbytes, 16);
done:
  gd_free(bytes);
  gd_free(path);
  return err;
}

static gd_err read_labels(gd_raw_images *out, const char *folder, const char *name, const char *images, int n_classes) {
  gd_err err = GD_OK;
  char *path = NULL;
  uint8_t *bytes = NULL;
  size_t nbytes = 0;
  uint32_t words[4] = {0};
  GD_TRY(gd_file_read(folder, name, &path, &bytes, &nbytes));
  GD_TRY(check_header(path, bytes, nbytes, 0x801, 2, words));
  if (words[1] != out->n)
    GD_TRY(gd_error(GD_ERR_INPUT, "%s: %" PRIu32 " labels for the %" PRId64 " images of %s", path, words[1], out->n,
                    images));
  for (uint32_t i = 0; i < words[1]; i++)
    if (bytes[8 + i] >= n_classes)
      GD_TRY(gd_error(GD_ERR_INPUT, "%s: label %d of image %" PRIu32 " is out of range, must be 0 to %d", path,
                      bytes[8 + i], i, n_classes - 1));
  out->labels = content_of(bytes, nbytes, 8);
done:
  gd_free(bytes);
  gd_free(path);
  return err;
}

// FOLDER/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]
static gd_err idx_read(gd_raw_images *out, const char *folder, gd_split split, int n_classes) {
  gd_err err = GD_OK;
  const char *images = split == GD_TRAIN ? "train-images-idx3-ubyte" : "t10k-images-idx3-ubyte";
  const char *labels = split == GD_TRAIN ? "train-labels-idx1-ubyte" : "t10k-labels-idx1-ubyte";
  *out = (gd_raw_images){0};
  GD_TRY(read_images(out, folder, images));
  GD_TRY(read_labels(out, folder, labels, images, n_classes));
done:
  if (err) gd_raw_images_clear(out);
  return err;
}

/* ---- The data sets in this format ---- */

static const char *const fashion_classes[] = {"T-shirt", "Trouser", "Pullover", "Dress", "Coat",
                                              "Sandal",  "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
static const char *const digits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

// The only one of them that is a package of a distribution.
const gd_dataset_kind gd_dataset_fashion_mnist = {.n_classes = 10,
                                                  .class_names = fashion_classes,
                                                  .channels = 1,
                                                  .path = "/usr/share/datasets/fashion-mnist",
                                                  .mirrors = true,
                                                  .read = idx_read};

// A mirrored digit is no digit.
const gd_dataset_kind gd_dataset_mnist = {
    .n_classes = 10, .class_names = digits, .channels = 1, .mirrors = false, .read = idx_read};
