/* Images of a sample set or a pool, in chunks of a fixed size that does not depend on the numbers of ranks and images.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gendistill/generate.h"

int gd_label_at(const gd_label_cycle *labels, int64_t image) {
  return labels->classes[image % labels->n];
}

uint8_t *gd_label_images(const gd_label_cycle *labels, gd_range images) {
  if (labels->n == 0) return NULL;
  uint8_t *out = GD_NEW_ARRAY(uint8_t, images.end - images.begin + 1);
  for (int64_t i = images.begin; i < images.end; i++) out[i - images.begin] = (uint8_t)gd_label_at(labels, i);
  return out;
}

// Image number `index` of (n, C, H, W), as (H, W, C).
static void take_noise(const float *noise, int64_t index, gd_shape shape, float *out) {
  int64_t pixels = (int64_t)shape.h * shape.w;
  for (int c = 0; c < shape.c; c++)
    for (int64_t p = 0; p < pixels; p++) out[p * shape.c + c] = noise[(index * shape.c + c) * pixels + p];
}

// Images of the set, at most a chunk of them.
typedef struct sample_chunk {
  int n;
  int rows[GD_IMAGE_CHUNK];  // their places among this rank's
  int64_t first;             // number of this rank's first image
} sample_chunk;

// x (n, H, W, C)
static gd_err generate_chunk(gd_generator *generator, const gd_sample_request *request, const sample_chunk *chunk,
                             float *x) {
  gd_shape shape = request->shape;
  int64_t n_elements = (int64_t)shape.h * shape.w * shape.c;
  gd_sampler_noise noise = {.key = request->noise, .first = chunk->first, .rows = chunk->rows};
  float labels[GD_IMAGE_CHUNK];
  gd_generator_input in = {.n = chunk->n, .x = x, .label = request->labels->n ? labels : NULL};
  for (int i = 0; i < chunk->n; i++) {
    float *image = x + i * n_elements;
    int64_t number = chunk->first + chunk->rows[i];
    if (request->initial_noise)
      take_noise(request->initial_noise, number, shape, image);
    else
      gd_random_normal(request->start, (uint64_t)number, (size_t)n_elements, image);
    if (in.label) labels[i] = (float)gd_label_at(request->labels, number);
  }
  gd_nonfinite_sample nonfinite = gd_generator_sample(generator, request->sampling, &in, &noise);
  if (nonfinite.image < 0) return GD_OK;
  return gd_error(
      GD_ERR_FAILED,
      "generated image %lld is not finite after sampling step %d (timestep %d): the network's parameters do "
      "not suit these images, or the training has diverged",
      (long long)(chunk->first + chunk->rows[nonfinite.image]), nonfinite.step + 1, nonfinite.timestep);
}

// (n, H, W, C) -> (n, C, H, W)
static void channels_first(const float *x, int64_t n, gd_shape shape, float *out) {
  int64_t pixels = (int64_t)shape.h * shape.w;
  for (int64_t i = 0; i < n; i++)
    for (int64_t p = 0; p < pixels; p++)
      for (int c = 0; c < shape.c; c++) out[(i * shape.c + c) * pixels + p] = x[(i * pixels + p) * shape.c + c];
}

// [-1, 1] to 0 .. 255, rounded and clipped.
static void to_bytes(const float *x, int64_t n, uint8_t *out) {
  for (int64_t i = 0; i < n; i++) {
    float value = rintf((x[i] + 1.0f) * 127.5f);
    out[i] = (uint8_t)(value > 0 ? fminf(value, 255) : 0);  // also defined for what is not a number
  }
}

static bool time_is_over(const gd_comm *comm, double start, double seconds) {
  if (seconds <= 0) return false;
  double passed = gd_seconds() - start;
  MPI_Allreduce(MPI_IN_PLACE, &passed, 1, MPI_DOUBLE, MPI_MAX, comm->mpi);
  return passed >= seconds;
}

static bool is_wanted(const gd_sample_request *request, int64_t row) {
  return !request->keep || !request->keep[row];
}

// The rows from `row` on of this rank's n that network `network` makes, at most a chunk; returns the row behind them.
static int64_t next_chunk(const gd_sample_request *request, int network, int64_t row, int64_t n, sample_chunk *chunk) {
  int n_networks = request->n_networks > 0 ? request->n_networks : 1;
  chunk->n = 0;
  for (; row < n && chunk->n < GD_IMAGE_CHUNK; row++)
    if ((chunk->first + row) % n_networks == network && is_wanted(request, row)) chunk->rows[chunk->n++] = (int)row;
  return row;
}

typedef struct sample_output {
  uint8_t *images;
  float *x_0;  // or NULL
} sample_output;

static void store_chunk(const gd_sample_request *request, const sample_chunk *chunk, const float *x,
                        sample_output out) {
  int64_t n_elements = (int64_t)request->shape.h * request->shape.w * request->shape.c;
  for (int i = 0; i < chunk->n; i++) {
    int64_t at = chunk->rows[i] * n_elements;
    to_bytes(x + i * n_elements, n_elements, out.images + at);
    if (out.x_0) channels_first(x + i * n_elements, 1, request->shape, out.x_0 + at);
  }
}

// All images of one network.
static gd_err sample_network(const gd_comm *comm, gd_generator *generator, const gd_sample_request *request,
                             int network, sample_output out, int64_t *n_done) {
  gd_err err = GD_OK;
  gd_range local = gd_range_images(comm, request->n_global);
  sample_chunk chunk = {.first = request->first + local.begin};
  float *x = GD_NEW_ARRAY(float, GD_IMAGE_CHUNK *(int64_t)request->shape.h * request->shape.w * request->shape.c);
  double start = gd_seconds();
  int64_t row = 0, n = local.end - local.begin;
  for (bool more = true; more && !time_is_over(comm, start, request->seconds);) {
    row = next_chunk(request, network, row, n, &chunk);
    if (chunk.n > 0) err = generate_chunk(generator, request, &chunk, x);
    if (chunk.n > 0 && err == GD_OK) {
      store_chunk(request, &chunk, x, out);
      *n_done += chunk.n;
    }
    GD_TRY(gd_comm_agree(comm, err == GD_OK ? gd_stop_check() : err));
    more = row < n;
    MPI_Allreduce(MPI_IN_PLACE, &more, 1, MPI_C_BOOL, MPI_LOR, comm->mpi);
  }
done:
  gd_free(x);
  return err;
}

gd_err gd_sample_images(const gd_comm *comm, gd_generator *generator, const gd_sample_request *request, uint8_t *images,
                        float *x_0, int64_t *n_done) {
  gd_err err = GD_OK;
  sample_output out = {images, x_0};
  *n_done = 0;
  for (int k = 0; k < (request->n_networks > 0 ? request->n_networks : 1) && err == GD_OK; k++) {
    if (request->n_networks > 0) gd_generator_load(generator, request->networks[k]);
    err = sample_network(comm, generator, request, k, out, n_done);
  }
  return err;
}

// "899, 499"
static void print_timesteps(const gd_sampling *sampling, size_t size, char *out) {
  size_t length = 0;
  for (int i = 0; i < sampling->n_timesteps; i++) {
    length += (size_t)snprintf(out + length, size - length, "%s%d", i ? ", " : "", sampling->timesteps[i]);
    GD_REQUIRE(length < size);
  }
}

gd_sample_set gd_sample_set_describe(const gd_sampling *sampling, gd_shape shape, int64_t n, uint64_t seed,
                                     uint64_t checkpoint_digest) {
  gd_sample_set set = {.n_global = n,
                       .h = shape.h,
                       .w = shape.w,
                       .c = shape.c,
                       .steps = sampling->steps,
                       .eta = sampling->eta,
                       .guidance = sampling->guidance,
                       .evaluations = gd_sampling_evaluations(sampling),
                       .seed = seed,
                       .checkpoint_digest = checkpoint_digest};
  snprintf(set.sampler, sizeof set.sampler, "%s", gd_sampler_name(sampling->sampler));
  print_timesteps(sampling, sizeof set.timesteps, set.timesteps);
  return set;
}

bool gd_sample_set_is_like(const gd_sample_set *set, const gd_sample_set *other) {
  return set->h == other->h && set->w == other->w && set->c == other->c && set->steps == other->steps &&
         set->eta == other->eta && set->guidance == other->guidance && set->seed == other->seed &&
         set->checkpoint_digest == other->checkpoint_digest && strcmp(set->sampler, other->sampler) == 0 &&
         strcmp(set->timesteps, other->timesteps) == 0;
}
