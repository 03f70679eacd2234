/* A data set on every node: rank 0 reads and shrinks, all receive. And one image of it as a network wants it. */
#include <string.h>

#include "data/read.h"
#include "data/resize.h"

void gd_resize_image(const uint8_t *in, int size_in, int channels, uint8_t *out, int size_out) {
  if (size_out == size_in)
    memcpy(out, in, (size_t)size_in * size_in * channels);
  else if (size_out > size_in)
    gd_resize_bilinear(in, size_in, size_in, channels, out, size_out, size_out);
  else
    gd_resize_area(in, size_in, size_in, channels, out, size_out, size_out);
}

static size_t image_nbytes(int size, int channels) {
  return (size_t)size * size * channels;
}

static int held_size(const gd_dataset *dataset) {
  return dataset->enlarged_from ? dataset->enlarged_from : dataset->size;
}

static size_t held_nbytes(const gd_dataset *dataset) {
  return (size_t)dataset->n * image_nbytes(held_size(dataset), dataset->channels);
}

// `out`: (n, size, size, channels)
static void hold_images(const gd_raw_images *raw, int size, uint8_t *out) {
  size_t nbytes_in = image_nbytes(raw->size, raw->channels), nbytes_out = image_nbytes(size, raw->channels);
  for (int64_t i = 0; i < raw->n; i++)
    gd_resize_image(raw->images + i * nbytes_in, raw->size, raw->channels, out + i * nbytes_out, size);
}

// Where the images and labels are, once their number and size are known.
static void place_content(gd_dataset *dataset, const gd_comm *comm) {
  gd_node_array_create(&dataset->memory, comm, held_nbytes(dataset) + (size_t)dataset->n);
  dataset->images = gd_node_array_data(dataset->memory);
  dataset->labels = dataset->images + held_nbytes(dataset);
}

gd_err gd_dataset_read(gd_dataset **out, const gd_comm *comm, const gd_dataset_config *config, gd_split split) {
  gd_err err = GD_OK;
  const gd_dataset_kind *kind = gd_dataset_kind_get(config->name);
  gd_raw_images raw = {0};
  gd_dataset *dataset = NULL;
  *out = NULL;
  if (comm->rank == 0) err = kind->read(&raw, config->path, split, kind->n_classes);
  GD_TRY(gd_comm_agree(comm, err));
  GD_REQUIRE(comm->rank != 0 || raw.channels == kind->channels);

  dataset = GD_NEW(gd_dataset);
  *dataset = (gd_dataset){.n = raw.n,
                          .size = config->image_size,
                          .enlarged_from = raw.size < config->image_size ? raw.size : 0,
                          .channels = kind->channels,
                          .n_classes = kind->n_classes};
  MPI_Bcast(&dataset->n, 1, MPI_INT64_T, 0, comm->mpi);
  MPI_Bcast(&dataset->enlarged_from, 1, MPI_INT, 0, comm->mpi);
  place_content(dataset, comm);
  if (comm->rank == 0) {
    hold_images(&raw, held_size(dataset), dataset->images);
    memcpy(dataset->labels, raw.labels, (size_t)raw.n);
  }
  gd_node_array_publish(dataset->memory);
  *out = dataset;
done:
  gd_raw_images_clear(&raw);
  return err;
}

void gd_dataset_destroy(gd_dataset **dataset) {
  if (!*dataset) return;
  gd_node_array_destroy(&(*dataset)->memory);
  gd_free(*dataset);
  *dataset = NULL;
}

size_t gd_dataset_nbytes(const gd_dataset *dataset) {
  return gd_node_array_nbytes(dataset->memory);
}

// Of all images in their size, some of them at a time.
static uint64_t digest_images(const gd_dataset *dataset) {
  enum { BLOCK = 64 };
  if (!dataset->enlarged_from) return gd_digest(dataset->images, held_nbytes(dataset), 0);
  gd_digest_stream *stream = gd_digest_begin(0);
  gd_images images = gd_dataset_images(dataset, 0);
  for (int64_t first = 0; first < dataset->n; first += BLOCK) {
    int n = (int)(dataset->n - first < BLOCK ? dataset->n - first : BLOCK);
    uint8_t *block[BLOCK];
#pragma omp parallel for
    for (int i = 0; i < n; i++) block[i] = gd_images_get(&images, first + i, dataset->size);
    for (int i = 0; i < n; i++) {
      gd_digest_add(stream, block[i], image_nbytes(dataset->size, dataset->channels));
      gd_free(block[i]);
    }
  }
  return gd_digest_end(stream);
}

uint64_t gd_dataset_digest(gd_dataset *dataset) {
  if (!dataset->has_digest) dataset->digest = gd_digest(dataset->labels, (size_t)dataset->n, digest_images(dataset));
  dataset->has_digest = true;
  return dataset->digest;
}

void gd_pixels_normalise(const uint8_t *pixels, int64_t n, float *out) {
  // the reference's steps: to [0, 1], then normalised by mean and deviation 0.5
  for (int64_t i = 0; i < n; i++) out[i] = ((float)pixels[i] / 255.0f - 0.5f) / 0.5f;
}

gd_images gd_dataset_images(const gd_dataset *dataset, int64_t first) {
  GD_REQUIRE(first >= 0 && first <= dataset->n);  // n: an empty part behind the last
  int held = held_size(dataset);
  return (gd_images){.held = dataset->images + (size_t)first * image_nbytes(held, dataset->channels),
                     .held_size = held,
                     .size = dataset->size,
                     .channels = dataset->channels};
}

static uint8_t *resized_image(const uint8_t *image, int size_in, int channels, int size_out) {
  uint8_t *out = gd_alloc(image_nbytes(size_out, channels));
  gd_resize_image(image, size_in, channels, out, size_out);
  return out;
}

uint8_t *gd_images_get(const gd_images *images, int64_t i, int size) {
  const uint8_t *held = images->held + (size_t)i * image_nbytes(images->held_size, images->channels);
  uint8_t *image = resized_image(held, images->held_size, images->channels, images->size);
  if (size == images->size) return image;
  uint8_t *out = resized_image(image, images->size, images->channels, size);
  gd_free(image);
  return out;
}

void gd_dataset_image(const gd_dataset *dataset, int64_t index, bool flip, float *out) {
  GD_REQUIRE(index < dataset->n);
  int size = dataset->size, channels = dataset->channels;
  gd_images images = gd_dataset_images(dataset, index);
  uint8_t *enlarged = images.held_size == size ? NULL : gd_images_get(&images, 0, size);
  const uint8_t *image = enlarged ? enlarged : images.held;
  if (!flip) gd_pixels_normalise(image, (int64_t)size * size * channels, out);
  for (int y = 0; flip && y < size; y++)
    for (int x = size - 1; x >= 0; x--, out += channels)
      gd_pixels_normalise(image + (y * size + x) * channels, channels, out);
  gd_free(enlarged);
}
