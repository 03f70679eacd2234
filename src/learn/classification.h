/* The loss of classifiers. */
#ifndef GD_LEARN_CLASSIFICATION_H
#define GD_LEARN_CLASSIFICATION_H

#include "gendistill/learn.h"

/* Loss of one row, weight T^2 CE(target, softmax(logits / T)), and its gradient by the n logits. Local. */
double gd_classification_row_loss(const gd_classification_row *row, int n, const float *logits, float *gradient);

#endif
