/* Precision, recall, density and coverage: what the distances to nearest neighbours say of two sets. */
#ifndef GD_EVAL_NEIGHBOURS_H
#define GD_EVAL_NEIGHBOURS_H

#include "eval/pairs.h"
#include "gendistill/eval.h"

/* As gd_neighbours_compare, with coverage by class. labels: classes of the real rows (n of `real`), or NULL. Collective
 * on the points' comm. */
gd_neighbours gd_neighbours_measure(const gd_points *real, const gd_points *generated, const uint8_t *labels);

#endif
