/* What the evaluation classifier gives for images. */
#ifndef GD_EVAL_CLASSIFIER_H
#define GD_EVAL_CLASSIFIER_H

#include "gendistill/eval.h"

int gd_classifier_width(const gd_classifier *classifier);       /* of its features */
uint64_t gd_classifier_digest(const gd_classifier *classifier); /* of its parameters */

/* Labels (local) and features of images, of which this rank holds gd_range_chunks(n_global, GD_IMAGE_CHUNK, size,
 * rank); either may be NULL; features->values is new (gd_features_clear). An image has the same bits on any number of
 * ranks. Local. */
void gd_classifier_extract(gd_classifier *classifier, int64_t n_global, const gd_images *images, uint8_t *labels,
                           gd_features *features);

#endif
