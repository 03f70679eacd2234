/* Images as bytes through an inference plan, chunk by chunk. */
#include <string.h>

#include "gendistill/learn.h"
#include "gendistill/store.h"

void gd_extract(gd_plan *plan, const gd_net *net, int64_t n, const gd_images *images, float *out) {
  GD_REQUIRE(gd_plan_batch(plan) == GD_IMAGE_CHUNK);
  gd_shape shape = gd_net_input_shape(net, 0);
  int64_t width = gd_net_output_shape(net).c, n_elements = (int64_t)shape.h * shape.w * shape.c;
  float *input = gd_plan_input(plan, 0);
  for (int64_t first = 0; first < n; first += GD_IMAGE_CHUNK) {
    int count = (int)(n - first < GD_IMAGE_CHUNK ? n - first : GD_IMAGE_CHUNK);
#pragma omp parallel for
    for (int i = 0; i < count; i++) {
      uint8_t *image = gd_images_get(images, first + i, shape.h);
      gd_pixels_normalise(image, n_elements, input + i * n_elements);
      gd_free(image);
    }
    memcpy(out + first * width, gd_plan_forward(plan), (size_t)count * (size_t)width * sizeof(float));
  }
}

int gd_largest(const float *values, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (values[i] > values[best]) best = i;
  return best;
}
