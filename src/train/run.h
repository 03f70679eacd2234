/* Inside of a run: what its files share. */
#ifndef GD_TRAIN_RUN_H
#define GD_TRAIN_RUN_H

#include "train/metrics.h"
#include "train/trainer.h"

struct gd_run {
  const gd_comm *comm;
  const gd_config *config;
  bool resume;
  gd_folder_lock *lock; /* of output.directory */
  gd_dataset *dataset;
  float *weights; /* of training.init, until they are taken; NULL: none */
  gd_task_split split;
  int64_t n_steps; /* of all tasks */
  gd_trainer *trainer;
  gd_metrics *metrics;
  gd_position position;
  int n_skipped;                    /* steps up to the last one, in a row */
  uint64_t digest;                  /* of the newest checkpoint */
  bool is_outdated[GD_MAX_CLASSES]; /* finished tasks whose results are missing or of other settings */
  double last_checkpoint;           /* when */
  double seconds_io;                /* on files since the last line of metrics */
  gd_after_task after_task;
  void *after_task_context;
};

/* Takes the run's folder for this job, and refuses it where it holds a run that is not to be resumed. Collective.
 * GD_ERR_INPUT, GD_ERR_FAILED and GD_STOPPED as gd_folder_lock_take. */
gd_err gd_run_take_folder(gd_run *run);

/* Refuses a folder that holds results of finished tasks, where it has no checkpoints. Collective. GD_ERR_INPUT. */
gd_err gd_run_refuse_lost_checkpoints(const gd_run *run);

/* Makes the folders, and writes down the configuration; says which keys have changed. Collective. GD_ERR_FAILED. */
gd_err gd_run_prepare_folder(const gd_run *run);

/* The configuration that is written down in the folder; NULL where there is none or it cannot be read. Local. */
gd_config *gd_run_recorded_config(const gd_run *run);

/* Sample set and measures of the task that was finished just now. Collective. */
gd_err gd_run_conclude_task(gd_run *run);

/* Finds the finished tasks whose sample sets or measures are missing or of other settings than the configuration's:
 * run->is_outdated. Collective. GD_ERR_FAILED where the folder cannot be read. */
gd_err gd_run_find_outdated(gd_run *run);

/* Makes those, from the checkpoints at the end of the tasks. Collective. */
gd_err gd_run_renew_outdated(gd_run *run);

#endif
