/* Patches of a convolution, float32 and bfloat16: see patches.h. */
#include "nn/patches.h"

#include <string.h>

#include "nn/bfloat16.h"

static int filter_pixels(const gd_op *op) {
  return op->node->attributes.kernel[0] * op->node->attributes.kernel[1];
}

int gd_patch_columns(const gd_op *op) {
  return op->in[0].c * filter_pixels(op);
}

size_t gd_patches_nbytes(const gd_op *op) {
  size_t rows = (size_t)op->batch * (size_t)op->out.h * (size_t)op->out.w;
  return rows * (size_t)gd_patch_columns(op) * gd_element_nbytes(op->x_type[0]);
}

// The input pixel (h, w) of an image; NULL in the padding.
static const void *input_pixel(const gd_op *op, int64_t image, int h, int w) {
  gd_shape in = op->in[0];
  if (h < 0 || h >= in.h || w < 0 || w >= in.w) return NULL;
  return gd_element(op->x_type[0], op->x[0], ((image * in.h + h) * in.w + w) * in.c);
}

static void gather_patch(const gd_op *op, int64_t row, void *patch) {
  const gd_attributes *a = &op->node->attributes;
  int channels = op->in[0].c;
  size_t nbytes = (size_t)channels * gd_element_nbytes(op->x_type[0]);
  int64_t image = row / (op->out.h * op->out.w);
  int top = (int)(row / op->out.w % op->out.h) * a->stride - a->pad[0];
  int left = (int)(row % op->out.w) * a->stride - a->pad[1];
  for (int tap = 0; tap < filter_pixels(op); tap++) {
    const void *from = input_pixel(op, image, top + tap / a->kernel[1], left + tap % a->kernel[1]);
    void *to = gd_element(op->x_type[0], patch, (int64_t)tap * channels);
    if (from)
      memcpy(to, from, nbytes);
    else
      memset(to, 0, nbytes);
  }
}

void gd_patches_gather(const gd_op *op, void *patches) {
  int64_t rows = (int64_t)op->batch * op->out.h * op->out.w;
#pragma omp parallel for
  for (int64_t r = 0; r < rows; r++) gather_patch(op, r, gd_element(op->x_type[0], patches, r * gd_patch_columns(op)));
}

void gd_patches_spread(const gd_op *op, const void *patches) {
  int stride = op->node->attributes.stride, c = op->in[0].c;
  int64_t rows = (int64_t)op->batch * op->in[0].h;
  gd_precision type = op->x_type[0];
  size_t nbytes = (size_t)c * gd_element_nbytes(type);
#pragma omp parallel for
  for (int64_t r = 0; r < rows; r++) {
    int64_t image = r / op->in[0].h, h = r % op->in[0].h, from = (image * op->out.h + h / stride) * op->out.w;
    memset(gd_element(type, op->dx[0], r * op->in[0].w * c), 0, (size_t)op->in[0].w * nbytes);
    for (int w = 0; w < op->out.w && h % stride == 0; w++)
      memcpy(gd_element(type, op->dx[0], (r * op->in[0].w + (int64_t)w * stride) * c),
             gd_element(type, patches, (from + w) * c), nbytes);
  }
}
