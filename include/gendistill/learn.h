/* One network that all ranks train together. The U-Net, the evaluation classifier and the solver share this step:
 * forward and backward of each slot, the sum of the slots' gradients, the check that it is finite, Adam. */
#ifndef GENDISTILL_LEARN_H
#define GENDISTILL_LEARN_H

#include "gendistill/comm.h"
#include "gendistill/data.h"
#include "gendistill/nn.h"

/* ---- The data-parallel step ---------------------------------------------------------------------- */

/* Rows 0 .. n-1 of a step that belong to these of the n_slots slots. Local. */
gd_range gd_slots_rows(gd_range slots, int n_slots, int64_t n);

/* Rows 0 .. n-1 of a step that belong to the slots of `rank` of `size`. Local. */
gd_range gd_rank_rows(int size, int rank, int n_slots, int64_t n);

typedef struct gd_learner gd_learner;

typedef struct gd_learner_settings {
  const gd_net *net;
  gd_precision precision;
  int n_slots;            /* a power of two; ranks beyond it are idle */
  gd_reduction reduction; /* tree: a unit of work is a slot; fast: all of a rank's slots */
  int n_sums;             /* numbers that are summed over the slots with the gradient */
  double gradient_clip;   /* maximum norm of the gradient; 0: off */
  double weight_decay;    /* of AdamW; 0: Adam */
  float *params, *m, *v;  /* (total) the caller's, equal on all ranks; m and v: Adam's, NULL on idle ranks */
} gd_learner_settings;

/* Keeps comm, the net and the arrays. Collective on comm. */
void gd_learner_create(gd_learner **out, const gd_comm *comm, const gd_learner_settings *settings);
void gd_learner_destroy(gd_learner **learner); /* collective */

/* Maximum number of rows that a unit of work of this rank has in a step of n rows; 0 on an idle rank. Local. */
int gd_learner_unit_rows(const gd_learner *learner, int n);

/* Makes the plan for units of n_rows rows, in place of the one before, and loads the parameters. Local. */
gd_err gd_learner_make_plan(gd_learner *learner, int n_rows);

/* NULL before it is made, and on idle ranks. */
gd_plan *gd_learner_plan(const gd_learner *learner);

/* Memory of this rank besides the caller's arrays. Local. */
size_t gd_learner_nbytes(const gd_learner *learner);

/* What is particular to a network. The functions are local. */
typedef struct gd_learner_work {
  void *context;
  /* Writes the inputs of the slots' rows into the plan. */
  void (*fill)(void *context, gd_range slots, gd_plan *plan);
  /* Writes the gradient of the loss by the output, all rows of the plan, and the slots' numbers into sums (n_sums). */
  void (*loss)(void *context, gd_range slots, const float *output, float *gradient, float *sums);
  /* The step's loss, from the sums over all slots. */
  double (*total)(void *context, const float *sums);
  /* Adds a gradient to the sum of all slots and returns its loss; the same on all ranks. NULL: none. */
  double (*penalty)(void *context, float *gradient);
} gd_learner_work;

typedef struct gd_learner_result {
  double loss, gradient_norm;
  const float *sums;        /* (n_sums) over all slots; valid until the next step */
  double seconds_reduction; /* that this rank waited for other ranks */
} gd_learner_result;

/* Adam step number `step` (from 1). Collective among the ranks that are not idle; an idle rank's result is zero, with
 * sums NULL. GD_ERR_FAILED on all of them where loss or gradient is not finite: nothing has changed then. */
gd_err gd_learner_step(gd_learner *learner, int64_t step, double learning_rate, const gd_learner_work *work,
                       gd_learner_result *out);

/* gd_comm_agree among the ranks that are not idle; GD_OK on an idle rank. */
gd_err gd_learner_agree(gd_learner *learner, gd_err local);

/* ---- Classifiers --------------------------------------------------------------------------------- */

enum { GD_CLASSIFICATION_MAX_INPUTS = 4, GD_CLASSIFICATION_MAX_CLASSES = 256 };

/* One training image, filled in by the caller. */
typedef struct gd_classification_row {
  float *inputs[GD_CLASSIFICATION_MAX_INPUTS]; /* one image of each of the network's inputs */
  float *target;                               /* (n_classes) probabilities; swapped: their logarithms */
  const uint8_t *active;                       /* (n_classes) 0: the class has no part in the softmax; NULL at first */
  bool swapped;                                /* cross entropy of the target under the output; false at first */
  double weight;                               /* of this row in the loss; 0 at first */
  double temperature;                          /* T; 1 at first */
} gd_classification_row;

/* Fills row `index` of the step's rows; called by several threads at once. */
typedef void (*gd_fill_row)(void *context, int64_t index, gd_classification_row *row);

/* Training of a network by cross entropy with soft or hard targets. */
typedef struct gd_classification gd_classification;

/* A batch of at most n_rows rows is cut into n_slots slots (a power of two), which the first ranks share; ranks beyond
 * n_slots are idle. The parameters start from `params`, or from `seed` where that is NULL. Keeps comm and net.
 * Collective on comm. */
gd_err gd_classification_create(gd_classification **out, const gd_comm *comm, const gd_net *net, int n_slots,
                                int64_t n_rows, uint64_t seed, const float *params);
void gd_classification_destroy(gd_classification **classification); /* collective */

/* A loss of the parameters alone, besides that of the rows. */
typedef struct gd_parameter_loss {
  void *context;
  double (*add)(void *context, const float *params, float *gradient); /* to the rows' gradient; returns the loss */
  void (*after_step)(void *context, const float *params);
} gd_parameter_loss;

/* Adds it to all later steps. No rank may be idle. Local. */
void gd_classification_penalise(gd_classification *classification, gd_parameter_loss loss);

/* One Adam step on the rows 0 .. n_rows-1. The loss is the sum over rows of
 * weight T^2 CE(target, softmax(logits / T)), or with the two swapped.
 * Slots that have fewer rows than others are padded with rows of weight zero, which batch normalisation would see: with
 * it, n_rows must be the n_rows of create and divide by n_slots. *loss is 0 on idle ranks. Collective among the ranks
 * that are not idle, so errors need an agreement afterwards. GD_ERR_FAILED where the loss is not finite; GD_STOPPED
 * where a rank was asked to stop. */
gd_err gd_classification_step(gd_classification *classification, double learning_rate, int64_t n_rows, gd_fill_row fill,
                              void *context, double *loss);

/* The parameters, the same on all ranks, idle ones too. Collective on comm. */
const float *gd_classification_params(gd_classification *classification);

/* ---- Outputs of a trained network ---------------------------------------------------------------- */

/* Runs `plan` (of `net`, inference, one input, batch GD_IMAGE_CHUNK) over n images, enlarged where the network's input
 * is larger, and writes the outputs (n, width). Chunks of fixed size and place: the same bits for any rank count, where
 * `images` starts at a whole chunk. Local. */
void gd_extract(gd_plan *plan, const gd_net *net, int64_t n, const gd_images *images, float *out);

/* Index of the largest of n values. */
int gd_largest(const float *values, int n);

#endif
