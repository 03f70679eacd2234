/* How a run keeps what it has learnt: the table of strategies, what they replay, and what that costs. */
#ifndef GENDISTILL_STRATEGY_H
#define GENDISTILL_STRATEGY_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/data.h"
#include "gendistill/diffusion.h"
#include "gendistill/generate.h"
#include "gendistill/nn.h"
#include "gendistill/store.h"

/* ---- Strategies ---------------------------------------------------------------------------------- */

typedef struct gd_replay_source gd_replay_source; /* strategy/source.h */

/* What the network should answer for a replay image. */
typedef enum gd_replay_target {
  GD_TARGET_OBJECTIVE, /* what the objective asks for, as for the current images */
  GD_TARGET_TEACHER    /* what the teacher answers */
} gd_replay_target;

typedef struct gd_strategy {
  gd_data_scope data;
  bool replays_generated;         /* replays images of the teacher, from the source that key replay.source names */
  const gd_replay_source *replay; /* another source; NULL: none */
  gd_replay_target target;        /* of replay images */
  bool isolates;                  /* each task has a network of its own */
  gd_regulariser_id regulariser;  /* GD_NO_REGULARISER: that of key strategy.regulariser, if any */
} gd_strategy;

const gd_strategy *gd_strategy_get(gd_strategy_id id);

/* Number of tasks that a run has: 1 where all tasks' data come at once, else tasks.count. Local. */
int gd_strategy_n_tasks(const gd_config *config);

/* Tasks whose classes a run has seen after task `task` (from 0). Local. */
int gd_strategy_tasks_seen(const gd_config *config, int task);

/* Indices of the images to train on at task `task` (from 0), as gd_task_indices. New array, gd_free. Local. */
uint32_t *gd_strategy_images(const gd_config *config, const gd_dataset *dataset, const gd_task_split *split, int task,
                             int64_t *n_out);

/* The classes of the first n_tasks tasks, in `classes` (GD_MAX_CLASSES); returns how many. Local. */
int gd_strategy_classes(const gd_config *config, int n_tasks, int *classes);

/* Labels for images of the classes of the first n_tasks tasks; none where the network is not conditional. Local. */
gd_label_cycle gd_strategy_labels(const gd_config *config, int n_tasks);

/* Whether the strategy replays from the second task on, and whether it has a teacher then. Local. */
bool gd_strategy_replays(const gd_config *config);
bool gd_strategy_has_teacher(const gd_config *config);

/* Whether the strategy keeps real images of the earlier tasks. Local. */
bool gd_strategy_has_buffer(const gd_config *config);

/* ---- What replay costs --------------------------------------------------------------------------- */

typedef struct gd_replay_cost {
  int64_t images;      /* replay images; of a pool: those generated */
  int64_t evaluations; /* of the teacher, for one image each (NFE) */
  double seconds;
} gd_replay_cost;

/* Maximum number of replay images of a step, in task `task` (from 0) of n_steps > 0 steps. Local. */
int gd_replay_max_images(const gd_config *config, int task, int64_t n_steps);

/* Teacher evaluations for n replay images of a step, or their mean where it varies: generating them, unless they are
 * from a pool, and their targets. Local. */
int64_t gd_replay_evaluations(const gd_config *config, int64_t n);

/* ---- Replay -------------------------------------------------------------------------------------- */

/* Rows of a network's input with what it should answer. */
typedef struct gd_batch {
  int n;
  int64_t n_elements; /* of one image */
  float *x;           /* (n, H, W, C) */
  float *t;           /* (n) the time that the network sees */
  float *label;       /* (n) class or null class; NULL: the network is not conditional */
  int *timesteps;     /* (n) */
  double *weights;    /* (n) of the squared errors in the loss */
  float *target;      /* (n, H, W, C) */
} gd_batch;

/* From x_0 in x, eps in `target` and the timesteps: x_t, times, weights and the objective's target. Local. */
void gd_batch_add_noise(gd_batch *batch, const gd_schedule *schedule);

/* Gives the null class to a share training.label_dropout of the rows, which are images first .. of the step; nothing
 * without labels. key: of the step, with the purpose. Local. */
void gd_batch_drop_labels(gd_batch *batch, const gd_config *config, gd_random key, int64_t first);

/* Arrays for max_n rows, but for x, t and label, which are the network's. gd_batch_clear frees them. Local. */
gd_batch gd_batch_make(int max_n, int64_t n_elements);
void gd_batch_clear(gd_batch *batch);

/* A test's random numbers for all replay images of a step. */
typedef struct gd_replay_draws {
  const float *start;   /* x_T, or the whole input where that is noise; (n, H, W, C) */
  const int *timesteps; /* (n) */
  const float *noise;   /* (n, H, W, C) */
} gd_replay_draws;

/* The replay of one task. */
typedef struct gd_replay gd_replay;

typedef struct gd_replay_setting {
  const gd_comm *comm;
  const gd_config *config;
  const gd_dataset *dataset; /* for a buffer of real images; otherwise it may be NULL */
  const gd_schedule *schedule;
  const gd_net *net;
  gd_precision precision;
  const float *teacher; /* parameters, which stay where they are; NULL where the strategy has no teacher */
  int task;             /* from 0 */
  int64_t n_steps;      /* of the task */
} gd_replay_setting;

/* Whether the replay images are the rows of the current batch themselves. Local. */
bool gd_replay_shares_rows(const gd_config *config);

/* The folder inside a run's in which its files are; NULL: it has none. Local. */
const char *gd_replay_folder(const gd_config *config);

/* Makes the teacher's plan for gd_replay_fill of at most max_n images at once. Keeps what the setting points to. Local.
 * GD_ERR_FAILED where the network cannot be compiled. */
gd_err gd_replay_create(gd_replay **out, const gd_replay_setting *setting, int max_n);
void gd_replay_destroy(gd_replay **replay);

/* Makes what is needed before the first step, in `folder`; *cost says what that took. Collective on comm. GD_STOPPED
 * and GD_ERR_FAILED as gd_sample_images and gd_sample_set_write. */
gd_err gd_replay_prepare(gd_replay *replay, const char *folder, gd_replay_cost *cost);

/* Comes before the steps of epoch `epoch` (from 0), also after a resume within it. *cost, where a pool was brought to
 * that epoch: the seconds of this, but the images and evaluations of the whole task up to there. Collective on comm.
 * Errors as gd_replay_prepare. */
gd_err gd_replay_begin_epoch(gd_replay *replay, int epoch, gd_replay_cost *cost);

/* A step of a task as its replay sees it. */
typedef struct gd_replay_step {
  int64_t number;          /* from 1 */
  int n_current;           /* current images over all ranks */
  const uint32_t *current; /* (n_current) which they are in the data set, for replay.skip_snr */
  double seconds;          /* that have gone into the replay of the task's steps so far */
} gd_replay_step;

/* Begins a step. Returns the number of its replay images over all ranks. Collective on comm. */
int gd_replay_begin_step(gd_replay *replay, const gd_replay_step *step);

/* Teacher evaluations for the step, over all ranks. Local. */
int64_t gd_replay_step_evaluations(const gd_replay *replay);

/* Replay images `images` of the step, which are of this rank's slots: x, t, labels and targets. Where the rows are
 * shared, x, t, labels, timesteps and weights are the current batch's already. Local. */
void gd_replay_fill(gd_replay *replay, gd_range images, gd_batch *batch);

/* Takes the step's random numbers from `draws` until they are NULL again, for tests. Local. */
void gd_replay_give(gd_replay *replay, const gd_replay_draws *draws);

gd_generator *gd_replay_teacher(const gd_replay *replay); /* for its profile; NULL: none */
size_t gd_replay_nbytes(const gd_replay *replay);

/* ---- Regularisers: penalties that keep parameters near those of earlier tasks ---------------------- */

typedef struct gd_regulariser gd_regulariser;       /* strategy/regulariser.h */
typedef struct gd_regularisation gd_regularisation; /* its state in a run */

typedef struct gd_regulariser_settings {
  gd_regulariser_id id;
  double lambda;
  int fisher_images; /* of a task, for the Fisher information */
  gd_fisher_terms fisher_terms;
  double fisher_gamma, si_xi;
  int n_tasks;
} gd_regulariser_settings;

/* Those of the keys of `strategy`. Local. */
gd_regulariser_settings gd_regulariser_settings_of(const gd_config *config);

/* The losses of single images, numbered from 0, with `context`. The functions are local. */
typedef struct gd_image_loss {
  void (*open)(void *context, const gd_net *net, gd_plan *plan); /* a training plan; its batch are the most rows */
  void (*fill)(void *context, gd_range images);                  /* into the plan's first rows */
  void (*gradient)(void *context, int n_rows,
                   const float *output); /* of the sum of their losses by the plan's output */
  void (*close)(void *context);
} gd_image_loss;

/* What the gradients of single images are taken of: the first n_images, of the network at these parameters. */
typedef struct gd_image_gradients {
  const gd_comm *comm;
  const gd_net *net;
  gd_precision precision;
  const float *params;
  int n_slots;
  int64_t n_images;
  const gd_image_loss *loss;
  void *context;
} gd_image_gradients;

/* The context of gd_diffusion_loss: images of a task in a random order, each with a random timestep and noise. */
typedef struct gd_diffusion_images {
  const gd_config *config;
  const gd_dataset *dataset;
  const gd_schedule *schedule;
  int task;               /* from 0 */
  const uint32_t *images; /* (n_images) of the task, in the data set */
  int64_t n_images;
  const gd_batch *given; /* in place of what is drawn, for tests: noised; otherwise NULL */
  gd_plan *plan;         /* from here on work space */
  gd_batch batch;
  uint32_t *order;
} gd_diffusion_images;

extern const gd_image_loss gd_diffusion_loss; /* the mean squared error of an image */

/* For parameters of `table`; NULL where the settings have no regulariser. Local. */
void gd_regularisation_create(gd_regularisation **out, const gd_regulariser_settings *settings,
                              const gd_param_table *table);
void gd_regularisation_destroy(gd_regularisation **r); /* local; accepts NULL */

/* Begins task `task` (from 0) with these parameters; allocates what its tasks before need: zeros. Local. */
void gd_regularisation_begin_task(gd_regularisation *r, int task, const float *params);

/* Adds the penalty's gradient to that of a step (total) and returns the penalty. The same on all ranks. Local. */
double gd_regularisation_penalty(gd_regularisation *r, const float *params, float *gradient);

/* A step has been made from where gd_regularisation_penalty was called. Local. */
void gd_regularisation_after_step(gd_regularisation *r, const float *params);

/* Takes what the later tasks need at the end of a task, before its checkpoint; nothing at the end of the last. *n: the
 * images whose gradients were computed, each counted as often as that. Collective. GD_ERR_FAILED as
 * gd_image_gradients_sum. */
gd_err gd_regularisation_end_task(gd_regularisation *r, const gd_image_gradients *gradients, int64_t *n);

/* Its arrays of state are added to the n that there are, as gd_named_array_add; returns how many there are then. Local.
 */
int gd_regularisation_list(const gd_regularisation *r, gd_named_array *arrays, int n);

/* Its numbers go into a checkpoint, and with the arrays come from one. Local. GD_ERR_INPUT naming a missing array. */
void gd_regularisation_save(const gd_regularisation *r, gd_checkpoint *checkpoint);
gd_err gd_regularisation_restore(gd_regularisation *r, const char *path, const gd_checkpoint *checkpoint);

size_t gd_regularisation_nbytes(const gd_regularisation *r); /* work arrays, besides the state */

#endif
