/* What a replay source is made of, and what it may use. */
#ifndef GD_STRATEGY_SOURCE_H
#define GD_STRATEGY_SOURCE_H

#include "gendistill/strategy.h"

/* Where replay images come from. Functions may be NULL where there is nothing to do. */
struct gd_replay_source {
  bool shares_rows;                                     /* the images are the rows of the current batch */
  bool generates;                                       /* the teacher samples the images: limits hold */
  const char *folder;                                   /* for its files, inside the run's; NULL: none */
  int64_t (*evaluations)(const gd_config *config);      /* of the teacher, to make one image of a step, or their mean */
  int64_t (*step_evaluations)(const gd_replay *replay); /* for all images of the present step; NULL: as evaluations */
  void (*create)(gd_replay *replay);                    /* replay->own */
  /* Generates images before a task, for which half of the limits are. Collective. */
  gd_err (*prepare)(gd_replay *replay, const char *folder, gd_replay_cost *cost);
  /* Brings what was generated to epoch `epoch` (from 0): its seconds, but all the task's images and evaluations up to
   * there. Collective. */
  gd_err (*begin_epoch)(gd_replay *replay, int epoch, gd_replay_cost *cost);
  void (*begin_step)(gd_replay *replay);                             /* collective */
  void (*fill)(gd_replay *replay, gd_range images, gd_batch *batch); /* all but a teacher's target */
  size_t (*nbytes)(const gd_replay *replay);
  void (*release)(gd_replay *replay); /* replay->own */
};

struct gd_replay {
  gd_replay_setting of;
  const gd_strategy *strategy;
  const gd_replay_source *source;
  gd_shape shape;
  gd_generator *teacher; /* (max_n) images; NULL: none */
  const gd_replay_draws *given;

  gd_replay_step step;   /* the present one */
  gd_random key;         /* of it; purpose is filled in at each use */
  int n_images;          /* of the present step, over all ranks */
  int64_t n_before;      /* images of the task's earlier steps, at most */
  gd_label_cycle labels; /* of the earlier tasks' classes */
  void *own;             /* the source's */
};

extern const gd_replay_source gd_source_current, gd_source_noise, gd_source_buffer;

/* The source of a configuration's strategy; NULL: it replays nothing. Local. */
const gd_replay_source *gd_replay_source_of(const gd_config *config);

/* ---- For sources ---- */

/* Times and weights, for x that is noised already. Local. */
void gd_batch_set_times(gd_batch *batch, const gd_schedule *schedule);

/* The labels of a conditional network, all old classes in turn. Local. */
void gd_replay_draw_labels(const gd_replay *replay, gd_range images, gd_batch *batch);

/* Normal numbers to start from in x; random timesteps, of one image and of several; noise added to the x_0 in x: new
 * noise, or what a source has written into target where replay.coupled is on. Each image's numbers follow from its
 * place in the step. Local. */
void gd_replay_draw_start(const gd_replay *replay, gd_range images, gd_batch *batch);
int gd_replay_timestep(const gd_replay *replay, int64_t image);
void gd_replay_draw_timesteps(const gd_replay *replay, gd_range images, gd_batch *batch);
void gd_replay_draw_noise(const gd_replay *replay, gd_range images, gd_batch *batch);

/* ---- Limits ---- */

/* Replay images of step `step` (from 1) of a task, of whose steps' replay `seconds` have been spent so far. Where
 * images are generated, limits hold: the images that replay.limit_images and replay.limit_evaluations allow a task are
 * spread evenly over its steps, and a step that finds more than its share of replay.limit_seconds spent has none. Half
 * of the limits of evaluations and seconds are for the pool, where there is one. Local. */
int gd_replay_images(const gd_replay_setting *of, int64_t step, double seconds);

/* Teacher evaluations for an image of the pool, with its target where the pool keeps that. Local. */
int64_t gd_replay_pool_evaluations(const gd_config *config);

/* Images of a pool that are drawn, those generated before the task, of which these are chosen, and how long that may
 * take at most, 0: any time. Local. */
int64_t gd_replay_pool_images(const gd_config *config);
int64_t gd_replay_pool_candidates(const gd_config *config);
double gd_replay_pool_seconds(const gd_config *config);

/* Images of a pool of n that have been made anew by the beginning of epoch `epoch` (from 0). Local. */
int64_t gd_replay_pool_refreshed(const gd_config *config, int64_t n, int epoch);

#endif
