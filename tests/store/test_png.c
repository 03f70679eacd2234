/* Grids of images: libpng reads them back with every pixel in its place. */
#include <png.h>

#include "store_small.h"

// The pixels of a PNG; gd_free.
static uint8_t *read_png(const char *path, int format, int *width, int *height) {
  png_image image = {.version = PNG_IMAGE_VERSION};
  if (!png_image_begin_read_from_file(&image, path)) fail_msg("%s: %s", path, image.message);
  assert_int_equal(image.format, format);
  uint8_t *pixels = gd_alloc(PNG_IMAGE_SIZE(image));
  if (!png_image_finish_read(&image, NULL, pixels, 0, NULL)) fail_msg("%s: %s", path, image.message);
  *width = (int)image.width;
  *height = (int)image.height;
  return pixels;
}

// The expected value of pixel (x, y) of the grid.
static int expected(const uint8_t *images, int n, int h, int w, int c, int columns, int zoom, int x, int y, int k) {
  int column = x / (w * zoom + 2), row = y / (h * zoom + 2);
  int inside_x = x - column * (w * zoom + 2), inside_y = y - row * (h * zoom + 2), i = row * columns + column;
  if (i >= n || inside_x >= w * zoom || inside_y >= h * zoom) return 255;
  return images[((i * h + inside_y / zoom) * w + inside_x / zoom) * c + k];
}

static void check_grid(int n, int h, int w, int c, int columns, int zoom, int good_width, int good_height) {
  char *folder = test_folder_create(), *path = gd_format("%s/grid.png", folder), *tmp = gd_format("%s.tmp", path);
  int count = n * h * w * c, width, height;
  uint8_t *images = gd_alloc((size_t)count);
  for (int i = 0; i < count; i++) images[i] = (uint8_t)(i * 31 % 251);
  assert_ok(gd_png_write_grid(path, images, n, h, w, c, columns, zoom));
  assert_false(file_exists(tmp));
  uint8_t *pixels = read_png(path, c == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY, &width, &height);
  assert_int_equal(width, good_width);
  assert_int_equal(height, good_height);
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      for (int k = 0; k < c; k++)
        assert_int_equal(pixels[(y * width + x) * c + k], expected(images, n, h, w, c, columns, zoom, x, y, k));
  gd_free(pixels);
  gd_free(images);
  gd_free(tmp);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_grey_grid(void **state) {
  (void)state;
  check_grid(6, 4, 5, 1, 3, 1, 3 * 5 + 2 * 2, 2 * 4 + 2);
}

static void test_colour_grid_with_an_unfinished_row(void **state) {
  (void)state;
  check_grid(5, 4, 3, 3, 2, 3, 2 * 9 + 2, 3 * 12 + 2 * 2);
}

static void test_one_image_alone(void **state) {
  (void)state;
  check_grid(1, 8, 8, 1, 1, 2, 16, 16);
}

static void test_errors_name_the_file(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/none/a.png", folder), *tmp = gd_format("%s.tmp", folder);
  const uint8_t image[4] = {0};
  assert_int_equal(gd_png_write_grid(path, image, 1, 2, 2, 1, 1, 1), GD_ERR_FAILED);
  assert_message("/none/a.png: cannot create the file: No such file or directory");
  assert_int_equal(gd_png_write_grid(path, image, 0, 2, 2, 1, 1, 1), GD_ERR_FAILED);
  assert_message("/none/a.png: cannot write the picture: there are no images");
  assert_int_equal(gd_png_write_grid(folder, image, 1, 2, 2, 1, 1, 1), GD_ERR_FAILED);
  assert_message("cannot give the file its final name");
  assert_false(file_exists(tmp));
  assert_int_equal(gd_png_write_grid(folder, image, 1, 2, 2, 1, 1, 1000000), GD_ERR_FAILED);
  assert_message("cannot write the picture: Invalid IHDR data");  // libpng's limit on the size
  assert_false(file_exists(tmp));
  gd_free(tmp);
  gd_free(path);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_grey_grid),
      cmocka_unit_test(test_colour_grid_with_an_unfinished_row),
      cmocka_unit_test(test_one_image_alone),
      cmocka_unit_test(test_errors_name_the_file),
  };
  return GD_TEST_MAIN(tests);
}
