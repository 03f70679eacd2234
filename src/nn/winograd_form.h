/* Winograd's minimal filtering F(m x m, 3 x 3) (Lavin and Gray 2016), the transforms: of vectors down the columns of a
 * tile and then along its rows. With x the m + 2 pixels an output tile's m windows look at, w a window and y the
 * output,
 *
 *   y = A^T ((G w) * (B^T x)),   dx = B ((G w) * (A dy)),   dw = G^T ((B^T x) * (A dy)),
 *
 * where * goes element by element: m + 2 products in place of 3 m, of which there are m + 2 positions. */
#ifndef GD_NN_WINOGRAD_FORM_H
#define GD_NN_WINOGRAD_FORM_H

#include <stdint.h>

enum { GD_WINOGRAD_MAX_SIDE = 6 };

/* Vectors of which every element is an array of n floats: what goes in is anywhere, what comes out lies `stride` floats
 * apart. */
typedef void gd_winograd_transform(const float *const in[], int n, float *out, int64_t stride);

typedef struct gd_winograd_form {
  int tile, side;                         /* m, m + 2 */
  gd_winograd_transform *input;           /* B^T: side to side */
  gd_winograd_transform *output;          /* A^T: side to tile */
  gd_winograd_transform *output_gradient; /* A: tile to side */
  gd_winograd_transform *window;          /* G: 3 to side */
  gd_winograd_transform *window_gradient; /* G^T: side to 3 */
  int turned[GD_WINOGRAD_MAX_SIDE];       /* of the window turned round, position i is this one of the window */
} gd_winograd_form;

/* m = 2: rounds as a direct sum does, near 5e-7 of the largest element; m = 4 three to five times as much. */
extern const gd_winograd_form gd_winograd_2, gd_winograd_4;

#endif
