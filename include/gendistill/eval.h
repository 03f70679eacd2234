/* Measures of generated images: features, Fréchet distance, class balance, accuracy and forgetting.
 *
 * Matrices are double and block-cyclic over a ScaLAPACK process grid; images and their features are sharded over the
 * ranks in whole chunks. */
#ifndef GENDISTILL_EVAL_H
#define GENDISTILL_EVAL_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/data.h"
#include "gendistill/nn.h"
#include "gendistill/store.h"

/* ---- Process grid ------------------------------------------------------------------------------ */

/* A near-square BLACS grid over the first ranks of a communicator; ranks that do not fit it only give their rows. */
typedef struct gd_grid gd_grid;

/* Collective on comm (keeps it). n_ranks: ranks to use at most, 0 for all. */
void gd_grid_create(gd_grid **out, const gd_comm *comm, int n_ranks);
void gd_grid_destroy(gd_grid **grid); /* collective on comm; accepts NULL */

/* Ranks that are worth using for matrices of `width` columns: one up to 1024, so that narrow features give the same
 * bits on any number of ranks; all (0) beyond. Local. */
int gd_grid_ranks_for(int width);

/* Whether ScaLAPACK can take the covariance of features of this width on the grid: its counts are ints. Local, the same
 * on all ranks. GD_ERR_INPUT naming the width and the limit. */
gd_err gd_grid_check_width(const gd_grid *grid, int width);

/* ---- Fréchet distance -------------------------------------------------------------------------- */

/* Number of rows, mean (double, on all ranks) and covariance (with n-1, distributed) of a feature set. */
typedef struct gd_moments gd_moments;

/* Moments of the rows i with selected[i] (local rows; NULL: all). At least two rows must be selected over all ranks.
 * Collective on the grid's comm. */
void gd_moments_create(gd_moments **out, const gd_grid *grid, const gd_features *features, const bool *selected);
void gd_moments_destroy(gd_moments **moments);

typedef struct gd_frechet {
  double distance;  /* |m1-m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) */
  double mean_term; /* |m1-m2|^2 */
  double clipped;   /* sum of the negative eigenvalues that were set to zero, as a positive number */
  int64_t n_1, n_2; /* rows on either side */
} gd_frechet;

/* Fréchet distance of two normal distributions (Dowson and Landau 1982; Heusel et al. 2017), through the symmetric
 * form tr sqrt(S1^1/2 S2 S1^1/2); covariances may be rank-deficient. Collective on the grid's comm; the same on all
 * ranks. Both must be on the same grid and have the same width. GD_ERR_FAILED where the eigensolver fails, or
 * where the result is not finite. */
gd_err gd_frechet_distance(gd_frechet *out, const gd_moments *a, const gd_moments *b);

/* ---- Neighbours and kernel distance ------------------------------------------------------------- */

enum { GD_KID_SUBSETS = 10, GD_KID_SUBSET_MAXIMUM = 1000 };

/* Kernel Inception distance (Binkowski et al. 2018, equation 4): unbiased, with the kernel (x.y / width + 1)^3. */
typedef struct gd_kid {
  double value;           /* of the whole sets */
  double mean, deviation; /* over GD_KID_SUBSETS pairs of disjoint subsets; NAN: too few rows */
  int64_t subset_size;    /* rows per subset; 0: too few rows */
} gd_kid;

typedef struct gd_prdc {
  double precision, recall, density, coverage;
} gd_prdc;

enum { GD_N_NEIGHBOURHOODS = 2 };
extern const int gd_neighbourhoods[GD_N_NEIGHBOURHOODS]; /* the k of the k-th nearest neighbour: 3, 5 */

typedef struct gd_neighbours {
  gd_prdc prdc[GD_N_NEIGHBOURHOODS]; /* NAN where a set has k rows or fewer */
  gd_kid kid;
  double coverage_by_class[GD_MAX_CLASSES]; /* with the largest k; NAN for classes without real rows */
} gd_neighbours;

/* Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of generated rows by the
 * distances to the k-th nearest neighbour within a set, a row not being its own; and the KID, from the same pairs. Both
 * sets have at least 2 rows and the same width. The same bits on any number of ranks. Collective on comm. */
gd_neighbours gd_neighbours_compare(const gd_comm *comm, const gd_features *real, const gd_features *generated);

/* ---- Evaluation classifier ----------------------------------------------------------------------- */

/* A ResNet-18 trained on all the real classes: labels images and gives their features. Trained once: found again in
 * the folder evaluation.cache by the digest of its settings and training images. */
typedef struct gd_classifier gd_classifier;

/* Reads the classifier that `config` asks for from the cache, or trains it on `train`, measures it on `test` and stores
 * it. Collective on comm (kept). GD_ERR_INPUT or GD_ERR_FAILED naming the file. */
gd_err gd_classifier_obtain(gd_classifier **out, const gd_comm *comm, const gd_config *config, gd_dataset *train,
                            gd_dataset *test);
void gd_classifier_destroy(gd_classifier **classifier);

double gd_classifier_accuracy(const gd_classifier *classifier);  /* share of the test images that it labels right */
const char *gd_classifier_path(const gd_classifier *classifier); /* its checkpoint */

/* ---- Metrics ------------------------------------------------------------------------------------- */

/* All metrics by name, in the order of an evaluation. A new one is one word here, and a gd_metric gd_metric_<name> in
 * src/eval. */
#define GD_METRICS(ROW) ROW(frechet) ROW(class_balance) ROW(neighbours) ROW(tasks) ROW(solver)

#define GD_METRIC_ID(name) GD_METRIC_##name,
typedef enum gd_metric_id { GD_METRICS(GD_METRIC_ID) GD_N_METRICS } gd_metric_id;

/* A number of an evaluation that tables and pictures show. */
typedef struct gd_reported {
  const char *key, *title; /* key: "kld"; inside an object "solver.forgetting" */
  double factor;           /* from the stored number to the one shown */
  int digits;              /* behind the point; -1: four significant ones */
  bool higher_is_better;
  bool drawn; /* in pictures too */
} gd_reported;

enum { GD_MAX_REPORTED = 5 };

typedef struct gd_measurement gd_measurement; /* eval/metric.h */
struct json_t;

typedef struct gd_metric {
  /* Puts its numbers into the evaluation's JSON object. Collective. */
  gd_err (*measure)(gd_measurement *measurement, struct json_t *out);
  bool of_features;                      /* needs nothing but features: real images are measured in the same way */
  gd_reported reported[GD_MAX_REPORTED]; /* ends with a key of NULL, or full */
} gd_metric;

/* Reported number `number` (from 0) of all metrics in their order, and of those that are drawn; NULL: there are fewer.
 * Local. */
const gd_reported *gd_reported_get(int number);
const gd_reported *gd_reported_drawn(int number);

/* ---- Evaluation of a run ------------------------------------------------------------------------- */

/* What does not change from task to task: data, classifier, statistics of real images, the present solver. */
typedef struct gd_evaluator gd_evaluator;

/* Trains the classifier if it is not in the cache. Collective on comm; keeps comm and config. GD_ERR_INPUT or
 * GD_ERR_FAILED naming key or file. */
gd_err gd_evaluator_create(gd_evaluator **out, const gd_comm *comm, const gd_config *config);
void gd_evaluator_destroy(gd_evaluator **evaluator); /* collective */

/* Measures the sample set `path` against the test images of the tasks seen after task `task` (from 0). *json: a new
 * string (gd_free), one object on one line: the numbers and the protocol behind them. Collective on comm. GD_ERR_INPUT
 * naming the file. */
gd_err gd_evaluator_samples(gd_evaluator *evaluator, int task, const char *path, char **json);

/* The same for task `task` of the run in output.directory, and its solver (solver.epochs > 0), which goes on from the
 * solver of the task before. Tasks come in ascending order. Collective on comm. */
gd_err gd_evaluator_task(gd_evaluator *evaluator, int task, char **json);

/* ---- The solver alone ---------------------------------------------------------------------------- */

/* Trains the solver on one task after the other by solver.method, which is not `generated`, or takes those stored in
 * output.directory; gives each task's accuracy and forgetting to `each` as a line of JSON, on all ranks. Collective on
 * comm. GD_ERR_INPUT naming key or file; GD_STOPPED. */
gd_err gd_solver_course(const gd_comm *comm, const gd_config *config, void (*each)(const char *line));

#endif
