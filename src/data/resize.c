/* Resizing of uint8 images: bilinear for enlarging, with Pillow's bits; area averages for shrinking.
 *
 * Bilinear follows Pillow's 8-bit resampling: separable, coefficients with 22 fractional bits, the
 * horizontal pass rounded to uint8 before the vertical one. */
#include "data/resize.h"

#include <string.h>

enum { FRACTION_BITS = 22 };

// An output pixel is the weighted sum of two neighbours; at the edges the second weight is 0.
typedef struct tap {
  int first, second;
  int32_t weight[2];
} tap;

static tap tap_at(int out, int n_in, int n_out) {
  double scale = (double)n_in / n_out, center = (out + 0.5) * scale;
  int begin = (int)(center - 1.0 + 0.5), end = (int)(center + 1.0 + 0.5);  // support 1 pixel
  if (center - 1.0 + 0.5 < 0) begin = 0;
  if (end > n_in) end = n_in;
  double weight[2] = {0, 0}, sum = 0;
  for (int i = 0; i < 2 && begin + i < end; i++) {
    double distance = begin + i - center + 0.5;
    if (distance < 0) distance = -distance;
    weight[i] = distance < 1.0 ? 1.0 - distance : 0.0;
    sum += weight[i];
  }
  tap t = {.first = begin, .second = begin + 1 < n_in ? begin + 1 : begin};
  for (int i = 0; i < 2; i++) t.weight[i] = (int32_t)(0.5 + weight[i] / sum * (1 << FRACTION_BITS));
  return t;
}

static uint8_t mix_pixels(tap t, uint8_t first, uint8_t second) {
  int64_t sum = (1 << (FRACTION_BITS - 1)) + (int64_t)first * t.weight[0] + (int64_t)second * t.weight[1];
  sum >>= FRACTION_BITS;
  return (uint8_t)(sum > 255 ? 255 : sum);
}

void gd_resize_bilinear(const uint8_t *in, int h_in, int w_in, int channels, uint8_t *out, int h_out, int w_out) {
  GD_REQUIRE(h_out >= h_in && w_out >= w_in);
  uint8_t *wide = gd_alloc((size_t)h_in * w_out * channels);  // (h_in, w_out, channels)
  for (int x = 0; x < w_out; x++) {
    tap t = tap_at(x, w_in, w_out);
    for (int y = 0; y < h_in; y++) {
      const uint8_t *row = in + (size_t)y * w_in * channels;
      uint8_t *to = wide + ((size_t)y * w_out + x) * channels;
      for (int c = 0; c < channels; c++)
        to[c] = mix_pixels(t, row[t.first * channels + c], row[t.second * channels + c]);
    }
  }
  size_t stride = (size_t)w_out * channels;
  for (int y = 0; y < h_out; y++) {
    tap t = tap_at(y, h_in, h_out);
    const uint8_t *first = wide + t.first * stride, *second = wide + t.second * stride;
    for (size_t i = 0; i < stride; i++) out[y * stride + i] = mix_pixels(t, first[i], second[i]);
  }
  gd_free(wide);
}

static int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// In units of 1/n_out pixel: input pixel j covers [j n_out, (j+1) n_out), output pixel i [i n_in, (i+1) n_in).
static int64_t overlap_of(int64_t i, int64_t j, int64_t n_in, int64_t n_out) {
  return min64((i + 1) * n_in, (j + 1) * n_out) - max64(i * n_in, j * n_out);
}

static uint8_t area_average(const uint8_t *in, int h_in, int w_in, int channels, int h_out, int w_out, int y, int x) {
  int64_t area = (int64_t)h_in * w_in, sum = area / 2;
  for (int64_t r = (int64_t)y * h_in / h_out; r * h_out < (int64_t)(y + 1) * h_in; r++)
    for (int64_t q = (int64_t)x * w_in / w_out; q * w_out < (int64_t)(x + 1) * w_in; q++)
      sum += overlap_of(y, r, h_in, h_out) * overlap_of(x, q, w_in, w_out) * in[(r * w_in + q) * channels];
  return (uint8_t)(sum / area);
}

void gd_resize_area(const uint8_t *in, int h_in, int w_in, int channels, uint8_t *out, int h_out, int w_out) {
  GD_REQUIRE(h_out <= h_in && w_out <= w_in && h_out > 0 && w_out > 0);
  for (int y = 0; y < h_out; y++)
    for (int x = 0; x < w_out; x++)
      for (int c = 0; c < channels; c++)
        out[((size_t)y * w_out + x) * channels + c] = area_average(in + c, h_in, w_in, channels, h_out, w_out, y, x);
}
