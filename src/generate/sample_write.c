/* Sample sets: every rank generates its chunks, the file is written collectively, rank 0 draws the picture. */
#include <string.h>

#include "gendistill/generate.h"

enum { GRID_IMAGES = 100, GRID_COLUMNS = 10, GRID_MIN_PIXELS = 64 };

// The first images of the set on rank 0; NULL elsewhere.
static uint8_t *gather_first(const gd_comm *comm, gd_range local, const uint8_t *images, int n, int64_t nbytes) {
  int *counts = GD_NEW_ARRAY(int, comm->size), *offsets = GD_NEW_ARRAY(int, comm->size);
  gd_range mine = {local.begin < n ? local.begin : n, local.end < n ? local.end : n};
  int count = (int)((mine.end - mine.begin) * nbytes), offset = (int)(mine.begin * nbytes);
  uint8_t *all = comm->rank == 0 ? gd_alloc_zero((size_t)n * (size_t)nbytes) : NULL;
  MPI_Gather(&count, 1, MPI_INT, counts, 1, MPI_INT, 0, comm->mpi);
  MPI_Gather(&offset, 1, MPI_INT, offsets, 1, MPI_INT, 0, comm->mpi);
  MPI_Gatherv(images, count, MPI_BYTE, all, counts, offsets, MPI_BYTE, 0, comm->mpi);
  gd_free(counts);
  gd_free(offsets);
  return all;
}

static gd_err write_picture(const gd_comm *comm, const gd_sample_set *set, const char *path) {
  gd_err err = GD_OK;
  int n = set->n_global < GRID_IMAGES ? (int)set->n_global : GRID_IMAGES;
  uint8_t *images = gather_first(comm, set->local, set->images, n, (int64_t)set->h * set->w * set->c);
  int zoom = set->w < GRID_MIN_PIXELS ? GRID_MIN_PIXELS / set->w : 1;
  if (images) err = gd_png_write_grid(path, images, n, set->h, set->w, set->c, GRID_COLUMNS, zoom);
  gd_free(images);
  return gd_comm_agree(comm, err);
}

// The images of this rank, and x_0 where that is wanted.
static gd_err generate_set(const gd_comm *comm, const gd_config *config, const gd_sample_order *order, uint8_t *images,
                           float *x_0) {
  gd_err err;
  gd_generator *generator = NULL;
  gd_schedule *schedule = NULL;
  gd_random key = {.seed = config->seed, .task = order->task};
  gd_sample_request request = {.sampling = &config->evaluation.sampling,
                               .shape = gd_net_shape(order->net, 0),
                               .start = key,
                               .noise = key,
                               .initial_noise = order->initial_noise,
                               .labels = &order->labels,
                               .first = order->first,
                               .n_global = config->evaluation.samples};
  int64_t n_done;
  const float **networks = GD_NEW_ARRAY(const float *, order->n_earlier + 1);
  gd_precision precision = gd_precision_agree(comm, config->training.precision);
  request.start.purpose = GD_RANDOM_SAMPLE_START;
  request.noise.purpose = GD_RANDOM_SAMPLE_NOISE;
  gd_schedule_create(&schedule, &config->diffusion);
  GD_TRY(gd_comm_agree(comm, gd_generator_create(&generator, order->net, schedule, GD_IMAGE_CHUNK, precision)));
  gd_generator_load(generator, order->params);
  for (int k = 0; k < order->n_earlier; k++) networks[k] = order->earlier[k];
  networks[order->n_earlier] = order->params;
  request.networks = networks;
  request.n_networks = order->n_earlier ? order->n_earlier + 1 : 0;
  err = gd_sample_images(comm, generator, &request, images, x_0, &n_done);
done:
  gd_free(networks);
  gd_generator_destroy(&generator);
  gd_schedule_destroy(&schedule);
  return err;
}

gd_err gd_sample_write(const gd_comm *comm, const gd_config *config, const gd_sample_order *order) {
  gd_err err;
  gd_shape shape = gd_net_shape(order->net, 0);
  gd_sample_set set = gd_sample_set_describe(&config->evaluation.sampling, shape, config->evaluation.samples,
                                             config->seed, order->digest);
  set.local = gd_range_images(comm, set.n_global);
  int64_t count = (set.local.end - set.local.begin) * shape.h * shape.w * shape.c;
  float *x_0 = order->initial_noise ? GD_NEW_ARRAY(float, count) : NULL;
  uint8_t *images = GD_NEW_ARRAY(uint8_t, count), *labels;
  gd_range numbers = {order->first + set.local.begin, order->first + set.local.end};
  set.images = images;
  set.labels = labels = gd_label_images(&order->labels, numbers);
  set.first_index = order->first;
  set.x_0 = x_0;
  GD_TRY(generate_set(comm, config, order, images, x_0));
  GD_TRY(gd_sample_set_write(comm, order->path, &set));
  if (order->png_path && set.n_global > 0) err = write_picture(comm, &set, order->png_path);
done:
  gd_free(x_0);
  gd_free(images);
  gd_free(labels);
  return err;
}
