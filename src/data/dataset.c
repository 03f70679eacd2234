/* A data set on every rank: rank 0 reads and resizes, all receive. And one image of it as a network wants it. */
#include <string.h>

#include "data/read.h"

enum { N_CLASSES = 10 };  // of each data set there is

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

static gd_err read_local(gd_dataset *dataset, const gd_config *config, gd_split split) {
  gd_err err = GD_OK;
  gd_raw_images raw = {0};
  if (config->dataset.name == GD_CIFAR10)
    GD_TRY(gd_cifar10_read(&raw, config->dataset.path, split, N_CLASSES));
  else
    GD_TRY(gd_idx_read(&raw, config->dataset.path, split, N_CLASSES));
  GD_REQUIRE(raw.channels == dataset->channels);
  dataset->n = raw.n;
  size_t nbytes_in = image_nbytes(raw.size, raw.channels), nbytes_out = image_nbytes(dataset->size, raw.channels);
  dataset->images = gd_alloc((size_t)raw.n * nbytes_out);
  for (int64_t i = 0; i < raw.n; i++)
    gd_resize_image(raw.images + i * nbytes_in, raw.size, raw.channels, dataset->images + i * nbytes_out,
                    dataset->size);
  dataset->labels = raw.labels;
  raw.labels = NULL;
done:
  gd_raw_images_clear(&raw);
  return err;
}

gd_err gd_dataset_read(gd_dataset **out, const gd_comm *comm, const gd_config *config, gd_split split) {
  gd_err err = GD_OK;
  gd_dataset *dataset = GD_NEW(gd_dataset);
  *out = NULL;
  dataset->size = config->dataset.image_size;
  dataset->channels = gd_dataset_channels(config->dataset.name);
  dataset->n_classes = N_CLASSES;
  if (comm->rank == 0) err = read_local(dataset, config, split);
  GD_TRY(gd_comm_agree(comm, err));

  MPI_Bcast(&dataset->n, 1, MPI_INT64_T, 0, comm->mpi);
  size_t nbytes = (size_t)dataset->n * image_nbytes(dataset->size, dataset->channels);
  if (comm->rank != 0) {
    dataset->images = gd_alloc(nbytes);
    dataset->labels = gd_alloc((size_t)dataset->n);
  }
  gd_comm_broadcast(comm, dataset->images, (int64_t)nbytes, MPI_UINT8_T, 0);
  gd_comm_broadcast(comm, dataset->labels, dataset->n, MPI_UINT8_T, 0);
  *out = dataset;
  dataset = NULL;
done:
  gd_dataset_destroy(&dataset);
  return err;
}

void gd_dataset_destroy(gd_dataset **dataset) {
  if (!*dataset) return;
  gd_free((*dataset)->images);
  gd_free((*dataset)->labels);
  gd_free(*dataset);
  *dataset = NULL;
}

uint64_t gd_dataset_digest(const gd_dataset *dataset) {
  size_t nbytes = (size_t)dataset->n * image_nbytes(dataset->size, dataset->channels);
  return gd_digest(dataset->labels, (size_t)dataset->n, gd_digest(dataset->images, nbytes, 0));
}

void gd_pixels_normalise(const uint8_t *pixels, int64_t n, float *out) {
  // the reference's steps: to [0, 1], then normalised by mean and deviation 0.5
  for (int64_t i = 0; i < n; i++) out[i] = ((float)pixels[i] / 255.0f - 0.5f) / 0.5f;
}

const uint8_t *gd_dataset_bytes(const gd_dataset *dataset, int64_t index) {
  GD_REQUIRE(index >= 0 && index <= dataset->n);  // n: an empty part behind the last
  return dataset->images + (size_t)index * image_nbytes(dataset->size, dataset->channels);
}

void gd_dataset_image(const gd_dataset *dataset, int64_t index, bool flip, float *out) {
  GD_REQUIRE(index < dataset->n);
  int size = dataset->size, channels = dataset->channels;
  const uint8_t *image = gd_dataset_bytes(dataset, index);
  if (!flip) {
    gd_pixels_normalise(image, (int64_t)size * size * channels, out);
    return;
  }
  for (int y = 0; y < size; y++)
    for (int x = size - 1; x >= 0; x--, out += channels)
      gd_pixels_normalise(image + (y * size + x) * channels, channels, out);
}
