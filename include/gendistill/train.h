/* Training: one data-parallel step, the run over all tasks, resume. */
#ifndef GENDISTILL_TRAIN_H
#define GENDISTILL_TRAIN_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/data.h"
#include "gendistill/nn.h"
#include "gendistill/replay.h"

/* ---- Loss of one batch of rows ------------------------------------------------------------------- */

/* What the halves of the loss count for: L = L_data / data_divisor + replay L_replay. */
typedef struct gd_loss_weights {
  double data_divisor, replay;
} gd_loss_weights;

/* At task `task` (from 1) L = L_data / task + (1 - 1 / task) lambda L_replay; L = L_data where nothing is replayed.
 * Local. Source: Masip et al. 2024. */
gd_loss_weights gd_loss_weigh(int task, bool replays, double lambda);
double gd_loss_total(gd_loss_weights weights, double loss_data, double loss_replay);

/* Rows of a student batch: current images stand in rows 0 .. n_current-1, replay images in rows replay_row ..
 * replay_row+n_replay-1 (replay_row is 0 where the replay input is the current batch itself). */
typedef struct gd_loss_rows {
  int n_current, n_replay, replay_row;
  int n_rows;                  /* of the plan; rows that are neither get no gradient */
  int64_t n_elements;          /* of one image */
  const float *target_current; /* (n_current, H, W, C) */
  const float *target_replay;  /* (n_replay, H, W, C) */
  double weight_current;       /* of the sum of squares: 1 / task / (batch elements) */
  double weight_replay;        /* (1 - 1 / task) lambda / (replay elements) */
} gd_loss_rows;

/* Writes d loss / d output (n_rows, H, W, C) and the two sums of squared errors. Local. */
void gd_loss_gradient(const gd_loss_rows *rows, const float *output, float *gradient, double *squares_current,
                      double *squares_replay);

/* ---- Trainer ------------------------------------------------------------------------------------- */

typedef struct gd_trainer gd_trainer;

/* What ranks may ask for with a step; all of them hear of it at its end. */
enum { GD_REQUEST_CHECKPOINT = 1, GD_REQUEST_STOP = 2 };

/* What one step measured; the same on all ranks but for the seconds, which are this rank's. */
typedef struct gd_step_metrics {
  double loss, loss_data, loss_replay, gradient_norm;
  gd_replay_cost replay; /* of all ranks, but for the seconds: this rank's */
  double seconds_compute, seconds_reduction;
  unsigned requests; /* those of any rank */
  bool skipped;      /* loss or gradient was not finite, and training.nonfinite is skip: nothing was learnt */
} gd_step_metrics;

/* Whether the configuration fits the rank count, as gd_trainer_create asks for. Collective on comm. GD_ERR_INPUT. */
gd_err gd_trainer_check(const gd_comm *comm, const gd_config *config);

/* Parameters, optimiser, teacher and plans of one rank. Keeps comm, config and dataset. Collective on comm.
 * GD_ERR_INPUT if the configuration does not fit the rank count or the data. */
gd_err gd_trainer_create(gd_trainer **out, const gd_comm *comm, const gd_config *config, const gd_dataset *dataset);
void gd_trainer_destroy(gd_trainer **trainer);

/* Starts task `task` (from 0): the teacher becomes a copy of the parameters, the optimiser state is reset. Local, but
 * every rank must do the same. */
void gd_trainer_begin_task(gd_trainer *trainer, int task);

/* Makes the begun task's plans; it has n_steps steps. Where replay images come from a pool, takes that from `folder` or
 * generates it there: *pool says what it cost (zeros: there is none). folder NULL: no pool and no steps, for a look at
 * the memory. Collective on comm. GD_STOPPED and GD_ERR_FAILED as gd_pool_create. */
gd_err gd_trainer_prepare(gd_trainer *trainer, int64_t n_steps, const char *folder, gd_replay_cost *pool);

/* Step `step` of the task (from 1) on the images `indices` (n, of the dataset; the whole batch of all ranks).
 * requests: this rank's, GD_REQUEST_... added up. Collective on comm. GD_ERR_FAILED where loss or gradient is not
 * finite and the step is not to be skipped; parameters and optimiser state are unchanged either way. */
gd_err gd_trainer_step(gd_trainer *trainer, int64_t step, const uint32_t *indices, int n, unsigned requests,
                       gd_step_metrics *out);

const gd_net *gd_trainer_net(const gd_trainer *trainer);
size_t gd_trainer_nbytes(const gd_trainer *trainer); /* memory this rank holds */

/* The student's plan and the teacher, for their profiles; NULL before the first task, and without a teacher. */
gd_plan *gd_trainer_plan(const gd_trainer *trainer);
gd_generator *gd_trainer_generator(const gd_trainer *trainer);

/* ---- Run ----------------------------------------------------------------------------------------- */

/* What is to be done with a task (from 0) once its sample set is written: *json is a new string, one JSON object on one
 * line, which goes into metrics.jsonl. Collective on comm. */
typedef gd_err (*gd_after_task)(void *context, int task, char **json);

/* One writer of a run's folder. */
typedef struct gd_run gd_run;

/* Checks that a run can begin - enough slots for the ranks, enough images for the slots - and takes output.directory
 * for this job until gd_run_destroy. Without `resume` the folder must hold no run. Keeps comm and config. Collective on
 * comm. GD_ERR_INPUT: bad data, a folder in use or with a run in it; GD_ERR_FAILED naming the folder; GD_STOPPED. */
gd_err gd_run_create(gd_run **out, const gd_comm *comm, const gd_config *config, bool resume);
/* Collective on comm. Accepts NULL, sets NULL. */
void gd_run_destroy(gd_run **run);

/* The whole continual run: tasks, checkpoints, sample sets, metrics.jsonl. A resumed run goes on from the newest whole
 * checkpoint, and makes those sample sets and measures of earlier tasks again that are of other settings than the
 * configuration's. after_task may be NULL. Collective on comm. On success *digest is the final parameter digest.
 * GD_STOPPED where a rank was asked to stop (gd_stop_check): after the step, with a checkpoint.
 * GD_ERR_INPUT: checkpoints that cannot be used, or are of other settings or data. */
gd_err gd_run_train(gd_run *run, gd_after_task after_task, void *context, uint64_t *digest);

/* Puts `n` evaluations (one line each) into RUN/metrics.jsonl in place of those that are there. Local, for the job that
 * holds the folder's lock; the file appears whole. GD_ERR_FAILED naming the file. */
gd_err gd_metrics_replace_evaluations(const char *run, int n, char *const *lines);

/* Generates a sample set from `params` and writes PATH.h5 and, on rank 0, a picture of the first images to PNG_PATH
 * (NULL: none). `initial_noise`: (samples, C, H, W) or NULL. Collective on comm. */
gd_err gd_sample_write(const gd_comm *comm, const gd_config *config, const gd_net *net, const float *params,
                       uint32_t task, uint64_t digest, const float *initial_noise, const char *path,
                       const char *png_path);

#endif
