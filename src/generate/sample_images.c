/* Images of a sample set or a pool, in chunks of a fixed size that does not depend on the numbers of ranks and images.
 */
#include <math.h>
#include <string.h>

#include "gendistill/generate.h"

// Image number `index` of (n, C, H, W), as (H, W, C).
static void take_noise(const float *noise, int64_t index, gd_shape shape, float *out) {
  int64_t pixels = (int64_t)shape.h * shape.w;
  for (int c = 0; c < shape.c; c++)
    for (int64_t p = 0; p < pixels; p++) out[p * shape.c + c] = noise[(index * shape.c + c) * pixels + p];
}

// The images `range`, at most a chunk of them: x (range, H, W, C).
static gd_err sample_chunk(gd_generator *generator, const gd_sample_request *request, gd_range range, float *x) {
  gd_shape shape = request->shape;
  int64_t n_elements = (int64_t)shape.h * shape.w * shape.c;
  gd_sampler_noise noise = {.key = request->noise, .first = range.begin};
  for (int64_t i = range.begin; i < range.end; i++) {
    float *image = x + (i - range.begin) * n_elements;
    if (request->initial_noise)
      take_noise(request->initial_noise, i, shape, image);
    else
      gd_random_normal(request->start, (uint64_t)i, (size_t)n_elements, image);
  }
  gd_nonfinite_sample nonfinite =
      gd_generator_sample(generator, request->sampling, (int)(range.end - range.begin), &noise, x);
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
    if (n > 0) err = sample_chunk(generator, request, range, x);
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

gd_sample_set gd_sample_set_describe(const gd_sampling *sampling, gd_shape shape, int64_t n, uint64_t seed,
                                     uint64_t checkpoint_digest) {
  gd_sample_set set = {.n_global = n,
                       .h = shape.h,
                       .w = shape.w,
                       .c = shape.c,
                       .steps = sampling->steps,
                       .eta = sampling->eta,
                       .seed = seed,
                       .checkpoint_digest = checkpoint_digest};
  snprintf(set.sampler, sizeof set.sampler, "%s", gd_sampler_name(sampling->sampler));
  return set;
}

bool gd_sample_set_is_like(const gd_sample_set *set, const gd_sample_set *other) {
  return set->h == other->h && set->w == other->w && set->c == other->c && set->steps == other->steps &&
         set->eta == other->eta && set->seed == other->seed && set->checkpoint_digest == other->checkpoint_digest &&
         strcmp(set->sampler, other->sampler) == 0;
}
