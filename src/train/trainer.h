/* Inside of a trainer: one rank's replica, its state, plans and work arrays. */
#ifndef GD_TRAIN_TRAINER_H
#define GD_TRAIN_TRAINER_H

#include "gendistill/diffusion.h"
#include "gendistill/store.h"
#include "gendistill/train.h"
#include "train/loss.h"

/* Numbers that are summed over all slots and ranks with the gradient. */
enum { SUM_LOSS_DATA, SUM_LOSS_REPLAY, SUM_REPLAY_SECONDS, SUM_CHECKPOINT, SUM_STOP, SUM_BINS };
enum { N_HALVES = 2, N_STEP_SUMS = SUM_BINS + N_HALVES * 2 * GD_LOSS_BINS }; /* halves: data, replay */

/* All that a step draws, for the whole batch of all ranks. */
typedef struct gd_step_draws {
  const float *images;    /* x_0 (n, H, W, C), in place of the data set's */
  const float *noise;     /* (n, H, W, C) */
  const int *timesteps;   /* (n) */
  gd_replay_draws replay; /* of n_replay images; not used where none are made */
} gd_step_draws;

struct gd_trainer {
  const gd_comm *comm;
  const gd_config *config;
  const gd_dataset *dataset;
  uint64_t data_digest; /* of the dataset, for checkpoints; 0: not known */
  const gd_strategy *strategy;
  gd_precision precision; /* what this machine computes in */
  gd_schedule *schedule;
  gd_net *net;
  const gd_param_table *table;

  /* The state, one row each in state.c; (total). */
  float *params, *m, *v;
  float *teacher; /* NULL before the second task, and where the strategy has none */
  float *ema;     /* NULL where training.ema_decay is 0 */

  float *networks[GD_MAX_CLASSES];   /* (total) of earlier tasks, to sample with; NULL: there is none */
  gd_regularisation *regularisation; /* with arrays of state of its own; NULL: none */

  gd_learner *learner;
  int task;
  int64_t n_steps;       /* of the task */
  double replay_seconds; /* of the task so far, mean over the ranks; kept where replay.limit_seconds is on */
  gd_replay *replay;     /* NULL where nothing is replayed */

  /* Of a unit of work. The plan's rows: the current images, then the replay images unless they share rows. */
  int n_current;              /* maximum number of current images */
  gd_batch current, replayed; /* x and t are the plan's */
  const gd_step_draws *given; /* in place of what is drawn, for tests; otherwise NULL */
  int64_t n_elements;         /* of one image */

  gd_loss_bins bins[N_HALVES]; /* of the steps since they were set to zero */
  int64_t bins_steps;
};

/* Whether images are replayed at this task, and whether there is a teacher. */
bool gd_trainer_replays(const gd_trainer *trainer);
bool gd_trainer_has_teacher(const gd_trainer *trainer);

/* Whether any step of the task has moved the parameters, in this process or before a resume. Local. */
bool gd_trainer_has_learned(const gd_trainer *trainer);

/* ---- State ---- */

/* Allocates the arrays that the trainer needs at its task and does not have yet: zeros. Local. */
void gd_state_allocate(gd_trainer *trainer);
void gd_state_free(gd_trainer *trainer);

/* The arrays that there are, as they go into a checkpoint; returns their number, at most GD_MAX_ARRAYS. Local. */
int gd_state_list(const gd_trainer *trainer, gd_named_array *arrays);

/* Makes the state that of the checkpoint at `path`, task begun. Local. GD_ERR_INPUT naming a missing array. */
gd_err gd_state_restore(gd_trainer *trainer, const char *path, const gd_checkpoint *checkpoint);

/* ---- Networks of earlier tasks ---- */

/* Where each task has a network of its own: keeps that of the task before and makes a new one. Local. */
void gd_networks_begin_task(gd_trainer *trainer, int task);

/* Adds their arrays to the n that there are, as gd_named_array_add; returns how many there are then. Local. */
int gd_networks_list(const gd_trainer *trainer, gd_named_array *arrays, int n);

/* Takes those of the checkpoint at `path`. Local. GD_ERR_INPUT naming a missing array. */
gd_err gd_networks_restore(gd_trainer *trainer, const char *path, const gd_checkpoint *checkpoint);
void gd_networks_free(gd_trainer *trainer);

/* ---- Weights to begin with ---- */

/* The weights of training.init in a new array *params (gd_free), which must be NULL or what an earlier call has read;
 * NULL: there are none. Collective on comm. GD_ERR_INPUT naming the file. */
gd_err gd_weights_read(const gd_comm *comm, const gd_config *config, float **params);

/* Parameters and moving average become these. Local. */
void gd_trainer_take_weights(gd_trainer *trainer, const float *params);

/* ---- Checkpoints ---- */

/* The position of a run, written into every checkpoint. */
typedef struct gd_position {
  int task, epoch;
  int64_t step; /* of the task, done */
  int64_t global_step;
  bool task_done;
} gd_position;

/* How many tasks are learned in full. Local. */
static inline int gd_position_finished(const gd_position *position) {
  return position->task + position->task_done;
}

/* Writes a checkpoint of the trainer at `position`. Collective. GD_ERR_FAILED naming a rank whose arrays are not those
 * of rank 0, and nothing is written then; or naming the file. */
gd_err gd_trainer_save(gd_trainer *trainer, const gd_position *position, uint64_t *digest);

/* Finds the newest usable checkpoint in output.directory; *found says whether there was any. Collective.
 * GD_ERR_INPUT if there are checkpoints but none can be used, or the newest belongs to other settings. */
gd_err gd_trainer_restore(gd_trainer *trainer, gd_position *position, bool *found);

#endif
