/* Training: one data-parallel step, the run over all tasks, resume. */
#ifndef GENDISTILL_TRAIN_H
#define GENDISTILL_TRAIN_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/data.h"
#include "gendistill/learn.h"
#include "gendistill/nn.h"
#include "gendistill/strategy.h"

/* ---- Trainer ------------------------------------------------------------------------------------- */

typedef struct gd_trainer gd_trainer;

/* What ranks may ask for with a step; all of them learn of it at its end. */
enum { GD_REQUEST_CHECKPOINT = 1, GD_REQUEST_STOP = 2 };

/* What one step measured; the same on all ranks but for the seconds, which are this rank's. */
typedef struct gd_step_metrics {
  double loss, loss_data, loss_replay, loss_penalty, gradient_norm;
  gd_replay_cost replay; /* of all ranks, but for the seconds: this rank's */
  double seconds_compute, seconds_reduction;
  unsigned requests; /* those of any rank */
  bool skipped;      /* loss or gradient was not finite, and training.nonfinite is skip: nothing was learned */
} gd_step_metrics;

/* Whether the configuration fits the rank count, as gd_trainer_create asks for. Collective on comm. GD_ERR_INPUT. */
gd_err gd_trainer_check(const gd_comm *comm, const gd_config *config);

/* Parameters, optimiser state, teacher and plans of one rank. Keeps comm, config and dataset. Collective on comm.
 * GD_ERR_INPUT if the configuration does not fit the rank count or the data. */
gd_err gd_trainer_create(gd_trainer **out, const gd_comm *comm, const gd_config *config, const gd_dataset *dataset);
void gd_trainer_destroy(gd_trainer **trainer);

/* Starts task `task` (from 0): the teacher becomes a copy of the parameters, the optimiser state is reset. Local, but
 * every rank must do the same. */
void gd_trainer_begin_task(gd_trainer *trainer, int task);

/* Makes the plans of the task, which has n_steps steps, and what its replay needs before the first of them, in
 * `folder`: *prepared says what that cost (zeros: nothing). folder NULL: plans only, to see the memory. Collective on
 * comm. GD_STOPPED and GD_ERR_FAILED as gd_replay_prepare. */
gd_err gd_trainer_prepare(gd_trainer *trainer, int64_t n_steps, const char *folder, gd_replay_cost *prepared);

/* Comes before the steps of epoch `epoch` (from 0); *cost as gd_replay_begin_epoch. Collective on comm. */
gd_err gd_trainer_begin_epoch(gd_trainer *trainer, int epoch, gd_replay_cost *cost);

/* Step `step` of the task (from 1) on the images `indices` (n, of the dataset; the whole batch of all ranks).
 * requests: this rank's, GD_REQUEST_... added up. Collective on comm. GD_ERR_FAILED where loss or gradient is not
 * finite and the step is not to be skipped; parameters and optimiser state are unchanged either way. */
gd_err gd_trainer_step(gd_trainer *trainer, int64_t step, const uint32_t *indices, int n, unsigned requests,
                       gd_step_metrics *out);

/* Ends the task, whose images these are in the data set: the regulariser takes what it needs. *n_gradients: images
 * whose gradients that took. Collective on comm. GD_ERR_FAILED where a gradient is not finite. */
gd_err gd_trainer_end_task(gd_trainer *trainer, const uint32_t *images, int64_t n_images, int64_t *n_gradients);

const gd_net *gd_trainer_net(const gd_trainer *trainer);
size_t gd_trainer_nbytes(const gd_trainer *trainer);             /* memory of this rank without the data set */
int64_t gd_trainer_checkpoint_nbytes(const gd_trainer *trainer); /* of a checkpoint's arrays */

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

/* The checkpoint at the end of task `task` (from 0) of the run in `directory`: its path (new string; NULL: not there)
 * and header (gd_checkpoint_clear). Collective on comm. GD_ERR_FAILED where the folder cannot be read. */
gd_err gd_run_end_of_task(const gd_comm *comm, const char *directory, int task, char **path, gd_checkpoint *header);

/* Puts `n` evaluations (one line each) into RUN/metrics.jsonl in place of those that are there. Local, for the job that
 * holds the folder's lock; the file appears whole. GD_ERR_FAILED naming the file. */
gd_err gd_metrics_replace_evaluations(const char *run, int n, char *const *lines);

/* The newest evaluation of task `task` (from 0) in RUN/metrics.jsonl: new string, or NULL where there is none. Local.
 */
char *gd_metrics_find_evaluation(const char *run, int task);

#endif
