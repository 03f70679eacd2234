/* Images of a sample set, in chunks of a fixed size that no rank count and no image count changes. */
#include <math.h>
#include <string.h>

#include "gendistill/replay.h"

typedef struct noise_context {
  gd_random key;  // step: the sampling step
  int64_t first, n_elements;
} noise_context;

static void sampler_noise(void *context, int k, int image, float *z) {
  const noise_context *c = context;
  gd_random key = c->key;
  key.step = (uint32_t)k;
  gd_random_normal(key, (uint64_t)(c->first + image), (size_t)c->n_elements, z);
}

// Image number `index` of (n, C, H, W), as (H, W, C).
static void take_noise(const float *noise, int64_t index, gd_shape shape, float *out) {
  int64_t pixels = (int64_t)shape.h * shape.w;
  for (int c = 0; c < shape.c; c++)
    for (int64_t p = 0; p < pixels; p++) out[p * shape.c + c] = noise[(index * shape.c + c) * pixels + p];
}

void gd_sample_images(gd_generator *generator, const gd_config_sampling *sampling, gd_shape shape, uint64_t seed,
                      uint32_t task, gd_range range, const float *initial_noise, float *x) {
  int64_t n_elements = (int64_t)shape.h * shape.w * shape.c;
  gd_random start = {.seed = seed, .purpose = GD_RANDOM_SAMPLE_START, .task = task};
  noise_context context = {.key = start, .n_elements = n_elements};
  context.key.purpose = GD_RANDOM_SAMPLE_NOISE;
  for (int64_t first = range.begin; first < range.end; first += GD_IMAGE_CHUNK) {
    int n = (int)(range.end - first < GD_IMAGE_CHUNK ? range.end - first : GD_IMAGE_CHUNK);
    float *images = x + (first - range.begin) * n_elements;
    for (int i = 0; i < n; i++) {
      if (initial_noise)
        take_noise(initial_noise, first + i, shape, images + i * n_elements);
      else
        gd_random_normal(start, (uint64_t)(first + i), (size_t)n_elements, images + i * n_elements);
    }
    context.first = first;
    gd_generator_sample(generator, sampling, n, sampler_noise, &context, images);
  }
}

void gd_images_to_bytes(const float *x, int64_t n, uint8_t *out) {
  for (int64_t i = 0; i < n; i++) {
    float value = rintf((x[i] + 1.0f) * 127.5f);
    out[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}
