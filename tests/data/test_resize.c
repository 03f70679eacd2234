/* Resizing: Pillow's bits for enlarging, exact area averages for shrinking. */
#include <string.h>

#include "data/resize.h"
#include "support.h"

static uint8_t *golden_bytes(const char *dataset, int64_t n) {
  float *values = golden("resize.h5", dataset, n);
  uint8_t *bytes = gd_alloc((size_t)n);
  for (int64_t i = 0; i < n; i++) bytes[i] = (uint8_t)values[i];
  gd_free(values);
  return bytes;
}

static void bilinear_equals_pillow(void **state) {
  (void)state;
  uint8_t *in = golden_bytes("images28", 8 * 28 * 28), *expected = golden_bytes("images32", 8 * 32 * 32);
  uint8_t out[32 * 32];
  for (int i = 0; i < 8; i++) {
    gd_resize_bilinear(in + i * 28 * 28, 28, 28, 1, out, 32, 32);
    assert_memory_equal(out, expected + i * 32 * 32, sizeof out);
  }
  gd_free(in);
  gd_free(expected);
}

static void bilinear_works_each_channel_alone(void **state) {
  (void)state;
  uint8_t *in = golden_bytes("images28", 8 * 28 * 28), *expected = golden_bytes("images32", 8 * 32 * 32);
  uint8_t pixels[28 * 28 * 3], out[32 * 32 * 3];
  for (int i = 0; i < 28 * 28 * 3; i++) pixels[i] = in[i % 3 * 28 * 28 + i / 3];
  gd_resize_bilinear(pixels, 28, 28, 3, out, 32, 32);
  for (int i = 0; i < 32 * 32 * 3; i++) assert_int_equal(out[i], expected[i % 3 * 32 * 32 + i / 3]);
  gd_free(in);
  gd_free(expected);
}

static void bilinear_keeps_an_image_of_the_same_size(void **state) {
  (void)state;
  const uint8_t in[] = {0, 255, 17, 3, 90, 128};
  uint8_t out[6];
  gd_resize_bilinear(in, 2, 3, 1, out, 2, 3);
  assert_memory_equal(out, in, 6);
}

static void bilinear_interpolates_by_hand(void **state) {
  (void)state;
  const uint8_t in[] = {0, 100}, one[] = {7};
  const uint8_t expected[] = {0, 25, 75, 100};
  uint8_t out[12];
  gd_resize_bilinear(in, 1, 2, 1, out, 1, 4);
  assert_memory_equal(out, expected, 4);
  gd_resize_bilinear(one, 1, 1, 1, out, 3, 4);
  for (int i = 0; i < 12; i++) assert_int_equal(out[i], 7);
}

static void area_averages_whole_blocks(void **state) {
  (void)state;
  const uint8_t in[] = {1, 2, 10, 20, 3, 5, 30, 41};  // means 2.75 and 25.25
  uint8_t out[2];
  gd_resize_area(in, 2, 4, 1, out, 1, 2);
  assert_int_equal(out[0], 3);
  assert_int_equal(out[1], 25);
}

static void area_weights_parts_of_pixels(void **state) {
  (void)state;
  // 3 -> 2: half of the middle pixel belongs to either side: (2*10 + 40)/3 and (40 + 2*100)/3
  const uint8_t in[] = {10, 40, 100};
  uint8_t out[2];
  gd_resize_area(in, 1, 3, 1, out, 1, 2);
  assert_int_equal(out[0], 20);
  assert_int_equal(out[1], 80);
}

// The same mean over a grid so fine that no cell is cut: 28 = 7 * 4 and 16 = 4 * 4.
static void area_equals_a_fine_grid(void **state) {
  (void)state;
  uint8_t *in = golden_bytes("images28", 8 * 28 * 28);
  uint8_t out[16 * 16];
  gd_resize_area(in, 28, 28, 1, out, 16, 16);
  for (int y = 0; y < 16; y++) {
    for (int x = 0; x < 16; x++) {
      int sum = 0;  // each input pixel is 4 x 4 cells, each output pixel 7 x 7
      for (int v = 7 * y; v < 7 * y + 7; v++)
        for (int u = 7 * x; u < 7 * x + 7; u++) sum += in[v / 4 * 28 + u / 4];
      assert_int_equal(out[y * 16 + x], (int)(sum / 49.0 + 0.5));
    }
  }
  gd_free(in);
}

static void area_keeps_what_is_even(void **state) {
  (void)state;
  uint8_t in[9 * 7 * 3], out[4 * 5 * 3];
  for (int i = 0; i < 9 * 7 * 3; i++) in[i] = (uint8_t)(i % 3 == 0 ? 255 : i % 3);
  gd_resize_area(in, 9, 7, 3, out, 4, 5);
  for (int i = 0; i < 4 * 5 * 3; i++) assert_int_equal(out[i], i % 3 == 0 ? 255 : i % 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bilinear_equals_pillow),
      cmocka_unit_test(bilinear_works_each_channel_alone),
      cmocka_unit_test(bilinear_keeps_an_image_of_the_same_size),
      cmocka_unit_test(bilinear_interpolates_by_hand),
      cmocka_unit_test(area_averages_whole_blocks),
      cmocka_unit_test(area_weights_parts_of_pixels),
      cmocka_unit_test(area_equals_a_fine_grid),
      cmocka_unit_test(area_keeps_what_is_even),
  };
  return GD_TEST_MAIN(tests);
}
