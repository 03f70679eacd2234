/* Precision, recall, density and coverage: what the distances to nearest neighbours say of two sets. */
#ifndef GD_EVAL_NEIGHBOURS_H
#define GD_EVAL_NEIGHBOURS_H

#include "eval/kid.h"
#include "eval/pairs.h"
#include "gendistill/data.h"

enum { GD_N_NEIGHBOURHOODS = 2 };

/* The k of the k-th nearest neighbour: 3 and 5. */
extern const int gd_neighbourhoods[GD_N_NEIGHBOURHOODS];

typedef struct gd_prdc {
  double precision, recall, density, coverage;
} gd_prdc;

typedef struct gd_neighbours {
  gd_prdc prdc[GD_N_NEIGHBOURHOODS]; /* NAN where a set has k rows or fewer */
  gd_kid kid;
  double coverage_by_class[GD_MAX_CLASSES]; /* with the largest k; NAN for classes without real rows */
} gd_neighbours;

/* Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of generated rows by the
 * distances to the k-th nearest neighbour within a set, a row not being its own; and the KID, from the same pairs.
 * labels: classes of the real rows (n of `real`). Both sets have at least 2 rows. The same bits on any number of ranks.
 * Collective on the points' comm. */
gd_neighbours gd_neighbours_measure(const gd_points *real, const gd_points *generated, const uint8_t *labels);

#endif
