/* Grids of images as PNG.
 *
 * libpng reports an error by longjmp. write_image is the only function that it jumps into, and owns nothing that would
 * have to be freed. */
#include <png.h>
#include <stdio.h>
#include <string.h>

#include "gendistill/store.h"

enum { GAP = 2, BACKGROUND = 255 };

typedef struct grid {
  const uint8_t *images;  // (n, h, w, c)
  int n, h, w, c, columns, zoom;
  int64_t width, height;  // of the picture, in pixels
} grid;

static int64_t grid_extent(int64_t cells, int64_t pixels) {
  return cells * pixels + (cells - 1) * GAP;
}

// Line `y` of the picture.
static void draw_line(const grid *g, int64_t y, uint8_t *line) {
  memset(line, BACKGROUND, (size_t)g->width * (size_t)g->c);
  int64_t cell_h = (int64_t)g->h * g->zoom, cell_w = (int64_t)g->w * g->zoom;
  int64_t row = y / (cell_h + GAP), inside = y % (cell_h + GAP);
  if (inside >= cell_h) return;
  for (int column = 0; column < g->columns; column++) {
    int64_t i = row * g->columns + column;
    if (i >= g->n) return;
    const uint8_t *from = g->images + (size_t)((i * g->h + inside / g->zoom) * g->w) * (size_t)g->c;
    uint8_t *to = line + (size_t)(column * (cell_w + GAP)) * (size_t)g->c;
    for (int64_t x = 0; x < cell_w; x++)
      for (int k = 0; k < g->c; k++) to[x * g->c + k] = from[x / g->zoom * g->c + k];
  }
}

static void on_png_error(png_structp png, png_const_charp text) {
  snprintf(png_get_error_ptr(png), 128, "%s", text);
  png_longjmp(png, 1);
}

static void on_png_warning(png_structp png, png_const_charp text) {
  (void)png;
  gd_log(GD_LOG_WARN, "libpng: %s", text);
}

static bool write_image(png_structp png, png_infop info, FILE *file, const grid *g, uint8_t *line) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_init_io(png, file);
  png_set_IHDR(png, info, (png_uint_32)g->width, (png_uint_32)g->height, 8,
               g->c == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  for (int64_t y = 0; y < g->height; y++) {
    draw_line(g, y, line);
    png_write_row(png, line);
  }
  png_write_end(png, info);
  return true;
}

static gd_err write_png(FILE *file, const char *path, const grid *g) {
  char reason[128] = "";
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, reason, on_png_error, on_png_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) gd_out_of_memory("for libpng");
  uint8_t *line = gd_alloc((size_t)g->width * (size_t)g->c);
  bool ok = write_image(png, info, file, g, line);
  gd_free(line);
  png_destroy_write_struct(&png, &info);
  return ok ? GD_OK : gd_error(GD_ERR_FAILED, "%s: cannot write the picture: %s", path, reason);
}

gd_err gd_png_write_grid(const char *path, const uint8_t *images, int n, int h, int w, int c, int columns, int zoom) {
  GD_REQUIRE(n >= 0 && h > 0 && w > 0 && (c == 1 || c == 3) && columns > 0 && zoom > 0);
  grid g = {images, n, h, w, c, columns, zoom, .width = grid_extent(columns, (int64_t)w * zoom)};
  g.height = grid_extent(((int64_t)n + columns - 1) / columns, (int64_t)h * zoom);
  if (n == 0) return gd_error(GD_ERR_FAILED, "%s: cannot write the picture: there are no images", path);
  if (g.width > PNG_UINT_31_MAX || g.height > PNG_UINT_31_MAX)
    return gd_error(GD_ERR_FAILED, "%s: cannot write the picture: it would be too large", path);
  gd_err err;
  FILE *file = gd_file_begin(path, &err);
  return file ? gd_file_end(file, path, write_png(file, path, &g)) : err;
}
