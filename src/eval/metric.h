/* What a metric is computed from: one sample set, and the test images of the tasks so far. */
#ifndef GD_EVAL_METRIC_H
#define GD_EVAL_METRIC_H

#include "eval/json.h"
#include "eval/pairs.h"
#include "eval/solver_training.h"
#include "gendistill/eval.h"

struct gd_measurement {
  gd_evaluator *evaluator;
  const gd_comm *comm;
  const gd_config *config;
  const gd_task_split *split;
  gd_solver_training *solver; /* NULL: none, or the sample set is not of the run itself */
  json_t *const *earlier;     /* evaluations of the run's earlier tasks, NULL where there is none; NULL: as above */
  int n_classes;
  int task;    /* from 0 */
  int n_tasks; /* seen after it */

  gd_sample_set set;
  uint8_t *labels;                /* (local) by the evaluation classifier; NULL for real images */
  gd_features features;           /* (local) */
  gd_neighbours neighbours;       /* what gd_metric_neighbours has found */
  int64_t counts[GD_MAX_CLASSES]; /* generated images of each class, over all ranks */

  bool wanted[GD_MAX_CLASSES]; /* the classes of the tasks seen */
  int64_t n_real;              /* their test images, and of each class */
  int64_t real_counts[GD_MAX_CLASSES];
};

/* Adds the classes of a task. Local. */
void gd_measurement_mark(const gd_measurement *m, int task, bool wanted[GD_MAX_CLASSES]);

/* Test images of the wanted classes: adds to counts, returns their number. Local. */
int64_t gd_measurement_count_real(const gd_measurement *m, const bool *wanted, int64_t *counts);

/* Which local generated images are labelled as of the wanted classes; new array, gd_free. Local. */
bool *gd_measurement_select(const gd_measurement *m, const bool *wanted);

/* Rows of the test images of the wanted classes (gd_points_clear), and their classes (new array, gd_free). The first is
 * collective, the second local. */
gd_points gd_measurement_real_points(gd_measurement *m, const bool *wanted);
uint8_t *gd_measurement_real_labels(const gd_measurement *m, const bool *wanted);

/* Distance of the selected local generated images (NULL: all) from the test images of the wanted classes; at least two
 * on either side. Collective. GD_ERR_FAILED as gd_frechet_distance. */
gd_err gd_measurement_frechet(gd_measurement *m, const bool *wanted, const bool *selected, gd_frechet *out);

/* What a distance of these features is called: fid for Inception-v3's, else frechet_<extractor>; new string, gd_free.
 */
char *gd_frechet_name(gd_extractor extractor);

const gd_metric *gd_metric_get(gd_metric_id id);

#endif
