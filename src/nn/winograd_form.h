/* The transforms of Winograd's minimal filtering F(m x m, 3 x 3) (Lavin and Gray 2016), in one dimension: a tile is
 * transformed down its columns and then along its rows. With y the m output pixels of a tile, x the m + 2 input pixels
 * that they depend on and w the 3 elements of a filter,
 *
 *   y = A^T ((G w) * (B^T x)),   dx = B ((G w) * (A dy)),   dw = G^T ((B^T x) * (A dy)),
 *
 * where * multiplies element by element: m + 2 products in the Winograd domain instead of 3 m. */
#ifndef GD_NN_WINOGRAD_FORM_H
#define GD_NN_WINOGRAD_FORM_H

#include <stdint.h>

enum { GD_WINOGRAD_MAX_SIDE = 6 };

/* Transforms a vector whose elements are arrays of n floats: in[i] is element i of the input, out + i stride element i
 * of the output. */
typedef void gd_winograd_transform(const float *const in[], int n, float *out, int64_t stride);

typedef struct gd_winograd_form {
  int tile, side;                         /* m, m + 2 */
  gd_winograd_transform *input;           /* B^T: side to side */
  gd_winograd_transform *output;          /* A^T: side to tile */
  gd_winograd_transform *output_gradient; /* A: tile to side */
  gd_winograd_transform *filter;          /* G: 3 to side */
  gd_winograd_transform *filter_gradient; /* G^T: side to 3 */
  int reversed[GD_WINOGRAD_MAX_SIDE];     /* element i of the reversed filter's transform is this one of the filter's */
} gd_winograd_form;

/* m = 2: rounding errors like those of a direct sum, near 5e-7 of the largest element; m = 4: 3 to 5 times as large. */
extern const gd_winograd_form gd_winograd_2, gd_winograd_4;

#endif
