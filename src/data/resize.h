/* Resizing of images. Local. */
#ifndef GD_DATA_RESIZE_H
#define GD_DATA_RESIZE_H

#include "gendistill/base.h"

/* Bilinear resize with half-pixel centres, rounded to uint8, as Pillow does for enlarging. Local.
 * in: (h_in, w_in, channels), out: (h_out, w_out, channels), h_out >= h_in. */
void gd_resize_bilinear(const uint8_t *in, int h_in, int w_in, int channels, uint8_t *out, int h_out, int w_out);

/* One square image resized as gd_dataset_read does: bilinear to a larger size, area averages to a smaller one. Local.
 */
void gd_resize_image(const uint8_t *in, int size_in, int channels, uint8_t *out, int size_out);

/* Shrinks by area averages: each output pixel is the mean of what it covers, input pixels covered in part
 * weighted by their overlap (28 -> 16 too), rounded to nearest. Local.
 * in: (h_in, w_in, channels), out: (h_out, w_out, channels), h_out <= h_in. */
void gd_resize_area(const uint8_t *in, int h_in, int w_in, int channels, uint8_t *out, int h_out, int w_out);

#endif
