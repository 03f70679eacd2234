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

/* A near-square BLACS grid over the first ranks of a communicator; ranks that do not fit it only hand their rows in. */
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
int64_t gd_moments_n(const gd_moments *moments); /* rows */
int gd_moments_width(const gd_moments *moments);

/* Statistics of real data are cached: /mean (width), /covariance (width, width), attribute n. Collective. The reader
 * gives GD_ERR_INPUT naming file and object: damaged, or another width than `width`. */
gd_err gd_moments_write(const gd_moments *moments, const char *path);
gd_err gd_moments_read(gd_moments **out, const gd_grid *grid, const char *path, int width);

typedef struct gd_frechet {
  double distance;  /* |m1-m2|^2 + tr(S1 + S2 - 2 sqrt(S1 S2)) */
  double mean_term; /* |m1-m2|^2 */
  double clipped;   /* sum of the negative eigenvalues that were set to zero, as a positive number */
  int64_t n_1, n_2; /* rows on either side */
} gd_frechet;

/* Fréchet distance of two normal distributions (Dowson and Landau 1982; Heusel et al. 2017), through the symmetric
 * form tr sqrt(S1^1/2 S2 S1^1/2); covariances may be rank-deficient. Collective on the grid's comm; the same on all
 * ranks. Both must stand on the same grid and have the same width. GD_ERR_FAILED where the eigensolver fails, or
 * where the result is not finite. */
gd_err gd_frechet_distance(gd_frechet *out, const gd_moments *a, const gd_moments *b);

/* What a distance of these features is called: fid for Inception-v3's, else frechet_<extractor>; new string, gd_free.
 */
char *gd_frechet_name(gd_extractor extractor);

/* ---- Class balance and forgetting --------------------------------------------------------------- */

typedef struct gd_balance {
  double kld;                       /* sum_c p_c (ln p_c - ln q_c) */
  double absolute_ratio_difference; /* sum_c |p_c - q_c|, from 0 to 2 */
} gd_balance;

/* p: frequencies of `true_counts`, q: of `generated_counts`; for the divergence both plus 1e-8, as in the paper's
 * reference implementation. Local. */
gd_balance gd_class_balance(int n_classes, const int64_t *true_counts, const int64_t *generated_counts);

/* Mean over the n tasks of best[i] - last[i], where best is the highest accuracy that the task ever had before the last
 * task; 0 for n < 1 (Chaudhry et al. 2018). Tasks whose last accuracy is NAN are left out; NAN where all are. Local. */
double gd_forgetting(int n, const double *best, const double *last);

/* ---- Evaluation classifier ----------------------------------------------------------------------- */

/* A ResNet-18 trained on all the real classes: labels images and gives their features. Trained once: found again in
 * the folder evaluation.cache by the digest of its settings and training images. */
typedef struct gd_classifier gd_classifier;

/* Reads the classifier that `config` asks for from the cache, or trains it on `train`, measures it on `test` and stores
 * it. Collective on comm (kept). GD_ERR_INPUT or GD_ERR_FAILED naming the file. */
gd_err gd_classifier_obtain(gd_classifier **out, const gd_comm *comm, const gd_config *config, gd_dataset *train,
                            gd_dataset *test);
void gd_classifier_destroy(gd_classifier **classifier);

int gd_classifier_width(const gd_classifier *classifier);        /* of its features */
double gd_classifier_accuracy(const gd_classifier *classifier);  /* share of the test images that it labels right */
uint64_t gd_classifier_digest(const gd_classifier *classifier);  /* of its parameters */
const char *gd_classifier_path(const gd_classifier *classifier); /* its checkpoint */

/* Labels (local) and features of images, of which this rank holds gd_range_chunks(n_global, GD_IMAGE_CHUNK, size,
 * rank); either may be NULL; features->values is new (gd_features_clear). An image has the same bits on any number of
 * ranks. Local. */
void gd_classifier_look(gd_classifier *classifier, int64_t n_global, const gd_images *images, uint8_t *labels,
                        gd_features *features);

/* ---- Evaluation of a run ------------------------------------------------------------------------- */

/* Tasks whose classes a run has seen after task `task` (from 0): task + 1, or all of them for `joint`. Local. */
int gd_tasks_seen(const gd_config *config, int task);

/* What does not change from task to task: data, classifier, statistics of real images, the solver as it stands. */
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

#endif
