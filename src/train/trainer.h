/* Inside of a trainer: one rank's replica, teacher, plans and work arrays. */
#ifndef GD_TRAIN_TRAINER_H
#define GD_TRAIN_TRAINER_H

#include "gendistill/diffusion.h"
#include "gendistill/model.h"
#include "gendistill/store.h"
#include "gendistill/train.h"

/* What travels behind the gradient in each slot's array, and so is summed over all slots and ranks. */
enum { TAIL_LOSS_DATA, TAIL_LOSS_REPLAY, TAIL_REPLAY_SECONDS, TAIL_CHECKPOINT, TAIL_STOP, N_TAIL };

/* All that a step draws, for the whole batch of all ranks. */
typedef struct gd_step_draws {
  const float *images;    /* x_0 (n, H, W, C), in place of the data set's */
  const float *noise;     /* (n, H, W, C) */
  const int *timesteps;   /* (n) */
  gd_replay_draws replay; /* of n_replay images; not looked at where none are made */
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
  float *params, *m, *v;
  float *teacher; /* NULL before the second task, and where the strategy has none */
  float *ema;     /* NULL where training.ema_decay is 0 */
  gd_slot_sum *sum;

  int task;
  int64_t n_steps;         /* of the task */
  double replay_seconds;   /* of the task so far, mean over the ranks; kept where replay.limit_seconds is on */
  gd_pool *pool;           /* NULL where replay images are made for each step, and without replay */
  int n_current, n_replay; /* most current and replay images of one unit of work */
  gd_plan *plan;           /* student: n_current rows, then n_replay (none for lwf, which shares the rows) */
  gd_generator *generator; /* teacher: n_replay rows */

  /* Work arrays of a unit. */
  float *noise_current;       /* (n_current, H, W, C) the current images' eps */
  float *target_replay;       /* (n_replay, H, W, C) */
  gd_replay_draws draws;      /* (n_replay) */
  const gd_step_draws *given; /* in place of what is drawn, for tests; otherwise NULL */
  uint8_t *drawn;             /* (images of the step on this rank, H, W, C) from the pool */
  int64_t n_elements;         /* of one image */
};

/* Whether the replay half is there at this task. */
bool gd_trainer_replays(const gd_trainer *trainer);

/* Images of 0 .. n-1 that a rank works on: those of its slots. */
gd_range gd_trainer_images(const gd_trainer *trainer, int rank, int64_t n);

/* Whether any step of the task has moved the parameters, in this process or before a resume. Local. */
bool gd_trainer_has_learned(const gd_trainer *trainer);

/* Where a run stands; written into every checkpoint. */
typedef struct gd_position {
  int task, epoch;
  int64_t step; /* of the task, done */
  int64_t global_step;
  bool task_done;
} gd_position;

/* Writes a checkpoint of the trainer at `position`. Collective. GD_ERR_FAILED naming a rank whose arrays are not those
 * of rank 0, and nothing is written then; or naming the file. */
gd_err gd_trainer_save(gd_trainer *trainer, const gd_position *position, uint64_t *digest);

/* Finds the newest usable checkpoint in output.directory; *found says whether there was any. Collective.
 * GD_ERR_INPUT if there are checkpoints but none can be used, or the newest belongs to other settings. */
gd_err gd_trainer_restore(gd_trainer *trainer, gd_position *position, bool *found);

#endif
