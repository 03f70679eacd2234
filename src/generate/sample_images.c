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

// The images `range` of the set, at most a chunk of them: x (range, H, W, C).
static gd_err sample_chunk(gd_generator *generator, const gd_sample_request *request, gd_range range, float *x) {
  gd_shape shape = request->shape;
  int64_t n_elements = (int64_t)shape.h * shape.w * shape.c;
  gd_sampler_noise noise = {.key = request->noise, .first = range.begin};
  float labels[GD_IMAGE_CHUNK];
  gd_generator_input in = {.n = (int)(range.end - range.begin), .x = x, .label = request->labels->n ? labels : NULL};
  for (int64_t i = range.begin; i < range.end; i++) {
    float *image = x + (i - range.begin) * n_elements;
    if (request->initial_noise)
      take_noise(request->initial_noise, i, shape, image);
    else
      gd_random_normal(request->start, (uint64_t)i, (size_t)n_elements, image);
    if (in.label) labels[i - range.begin] = (float)gd_label_at(request->labels, i);
  }
  gd_nonfinite_sample nonfinite = gd_generator_sample(generator, request->sampling, &in, &noise);
  if (nonfinite.image < 0) return GD_OK;
  return gd_error(
      GD_ERR_FAILED,
      "generated image %lld is not finite after sampling step %d (timestep %d): the network's parameters do "
      "not suit these images, or the training has diverged",
      (long long)(range.begin + nonfinite.image), nonfinite.step + 1, nonfinite.timestep);
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

gd_err gd_sample_images(const gd_comm *comm, gd_generator *generator, const gd_sample_request *request, uint8_t *images,
                        float *x_0, int64_t *n_done) {
  gd_err err = GD_OK;
  gd_shape shape = request->shape;
  int64_t n_elements = (int64_t)shape.h * shape.w * shape.c, n_global = request->n_global;
  gd_range local = gd_range_images(comm, n_global);
  int64_t longest = gd_range_chunks(n_global, GD_IMAGE_CHUNK, comm->size, 0).end;  // the first rank's
  float *x = GD_NEW_ARRAY(float, GD_IMAGE_CHUNK *n_elements);
  double start = gd_seconds();
  *n_done = 0;
  for (int64_t first = 0; first < longest && !time_is_over(comm, start, request->seconds); first += GD_IMAGE_CHUNK) {
    gd_range range = {local.begin + first, local.begin + first + GD_IMAGE_CHUNK};
    if (range.end > local.end) range.end = local.end;
    int64_t n = range.end - range.begin;
    gd_range numbers = {request->first + range.begin, request->first + range.end};
    if (n > 0) err = sample_chunk(generator, request, numbers, x);
    if (n > 0 && err == GD_OK) {
      to_bytes(x, n * n_elements, images + first * n_elements);
      if (x_0) channels_first(x, n, shape, x_0 + first * n_elements);
      *n_done += n;
    }
    GD_TRY(gd_comm_agree(comm, err == GD_OK ? gd_stop_check() : err));
  }
done:
  gd_free(x);
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
