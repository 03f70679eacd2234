/* Numbers in an evaluation's JSON. Local. */
#ifndef GD_EVAL_JSON_H
#define GD_EVAL_JSON_H

#include <jansson.h>
#include <math.h>

enum { GD_JSON_DIGITS = 10 }; /* of the numbers in files and output */

/* The number, or null where it is NAN: there were no test images to measure by. New reference. */
static inline json_t *gd_real_or_null(double value) {
  return isnan(value) ? json_null() : json_real(value);
}

#endif
