/* Data-parallel training of a classification network by cross entropy with soft or hard targets. */
#ifndef GD_EVAL_LEARNER_H
#define GD_EVAL_LEARNER_H

#include "gendistill/comm.h"
#include "gendistill/nn.h"

enum { GD_LEARNER_MAX_INPUTS = 4 };

/* One training image, filled in by the caller. */
typedef struct gd_learner_row {
  float *inputs[GD_LEARNER_MAX_INPUTS]; /* one image of each of the network's inputs */
  float *target;                        /* (n_classes) probabilities */
  double weight;                        /* of this row in the loss; 0 at first */
  double temperature;                   /* T; 1 at first */
} gd_learner_row;

/* Fills row `index` of the step's rows; called by several threads at once. */
typedef void (*gd_fill_row)(void *context, int64_t index, gd_learner_row *row);

/* Loss of one row, weight T^2 CE(target, softmax(logits / T)), and its gradient by the n logits. Local. */
double gd_learner_row_loss(const gd_learner_row *row, int n, const float *logits, float *gradient);

typedef struct gd_learner gd_learner;

/* A batch of at most n_rows rows is cut into n_slots slots (a power of two), which the first ranks share; ranks beyond
 * n_slots stay idle. The parameters start from `params`, or from `seed` where that is NULL. Keeps net. Collective on
 * comm. */
gd_err gd_learner_create(gd_learner **out, const gd_comm *comm, const gd_net *net, int n_slots, int64_t n_rows,
                         uint64_t seed, const float *params);
void gd_learner_destroy(gd_learner **learner); /* collective */

/* One Adam step on the rows 0 .. n_rows-1. The loss is the sum over rows of gd_learner_row_loss.
 * Slots that have fewer rows than others are padded with rows of weight zero, which batch normalisation would see: with
 * it, n_rows must be the n_rows of create and divide by n_slots. *loss is 0 on idle ranks. Collective among the ranks
 * that are not idle, so errors need an agreement afterwards. GD_ERR_FAILED where the loss is not finite; GD_STOPPED
 * where a rank was asked to stop. */
gd_err gd_learner_step(gd_learner *learner, double learning_rate, int64_t n_rows, gd_fill_row fill, void *context,
                       double *loss);

/* The parameters, the same on all ranks, idle ones too. Collective on comm. */
const float *gd_learner_params(gd_learner *learner);

#endif
