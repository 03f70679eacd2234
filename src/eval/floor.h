/* What a perfect generator would get: real images measured as if they had been generated. */
#ifndef GD_EVAL_FLOOR_H
#define GD_EVAL_FLOOR_H

#include <jansson.h>

#include "eval/metric.h"

/* The numbers of the metrics that need only features (of_features), and "n", for as many training images of the classes
 * so far as images were generated, or for all of them where there are fewer; from the cache where they are there. New
 * reference; null where there are fewer than 2 images on either side. Collective. GD_ERR_FAILED naming the file. */
gd_err gd_floor_measure(gd_measurement *m, json_t **out);

#endif
