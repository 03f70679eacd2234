/* What an evaluator keeps from one sample set to the next. */
#ifndef GD_EVAL_EVALUATOR_H
#define GD_EVAL_EVALUATOR_H

#include <jansson.h>

#include "eval/classifier.h"
#include "eval/inception.h"
#include "eval/solver_training.h"
#include "gendistill/eval.h"

struct gd_evaluator {
  const gd_comm *comm;
  const gd_config *config;
  gd_dataset *train, *test;
  gd_task_split split;
  gd_classifier *classifier;
  gd_inception *inception;  // NULL where the classifier's own features are asked for
  gd_grid *grid;
  gd_features real;     // of all test images; values NULL until they are needed
  gd_moments *moments;  // of the test images that were measured last; NULL: none
  uint64_t moments_key;
  gd_solver_training *solver;
  json_t *evaluations[GD_MAX_CLASSES];  // of the run's tasks, as in metrics.jsonl; NULL: not known yet
};

int gd_evaluator_width(const gd_evaluator *evaluator);       /* of the features */
uint64_t gd_evaluator_digest(const gd_evaluator *evaluator); /* of the network that extracts them */

/* Features of this rank's images (gd_features_clear), and the evaluation classifier's labels (local) where `labels` is
 * not NULL. Local. */
void gd_evaluator_extract(gd_evaluator *evaluator, int64_t n_global, const gd_images *images, uint8_t *labels,
                          gd_features *features);

#endif
