/* What a frozen network is used for: the table of strategies, replay batches from a teacher, sample sets. */
#ifndef GENDISTILL_REPLAY_H
#define GENDISTILL_REPLAY_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/diffusion.h"
#include "gendistill/nn.h"
#include "gendistill/store.h"

/* ---- Strategies ------------------------------------------------------------------------------ */

typedef enum gd_data_scope {
  GD_DATA_TASK,   /* the current task's images */
  GD_DATA_SO_FAR, /* those of all tasks up to the current one */
  GD_DATA_ALL     /* all tasks' at once: a single task */
} gd_data_scope;

typedef enum gd_replay_input {
  GD_INPUT_NONE,
  GD_INPUT_SAMPLES, /* DDIM images of the teacher, noised to a random t */
  GD_INPUT_CURRENT, /* the current batch's own x_t and t */
  GD_INPUT_NOISE    /* standard normal numbers with a random t */
} gd_replay_input;

typedef enum gd_replay_target {
  GD_TARGET_NONE,
  GD_TARGET_NOISE,  /* the noise that was added */
  GD_TARGET_TEACHER /* what the teacher predicts for the same input */
} gd_replay_target;

/* One row of DESIGN 4's table. */
typedef struct gd_strategy {
  gd_data_scope data;
  gd_replay_input input;
  gd_replay_target target;
} gd_strategy;

const gd_strategy *gd_strategy_get(gd_strategy_id id);

/* Number of tasks that a run has: 1 for `joint`, else tasks.count. Local. */
int gd_strategy_n_tasks(const gd_config *config);

/* ---- Generator: a frozen network behind a sampler ----------------------------------------------- */

typedef struct gd_generator gd_generator;

/* Makes an inference plan of `net` for `batch` images; keeps net and schedule. Local. */
gd_err gd_generator_create(gd_generator **out, const gd_net *net, const gd_schedule *schedule, int batch,
                           gd_precision precision);
void gd_generator_destroy(gd_generator **generator);
size_t gd_generator_nbytes(const gd_generator *generator);
gd_plan *gd_generator_plan(gd_generator *generator); /* for its profile */

/* Takes in parameters; they must stay where they are. Local. */
void gd_generator_load(gd_generator *generator, const float *params);

/* Samples n <= batch images in place: x holds x_T, then x_0; (n, H, W, C). `noise` is asked where eta > 0. Local.
 * The result as that of gd_sample. */
gd_nonfinite_sample gd_generator_sample(gd_generator *generator, const gd_config_sampling *sampling, int n,
                                        gd_sampling_noise noise, void *noise_context, float *x);

/* The network's output for n <= batch images x (n, H, W, C), each at its own t (n); valid until the next call. Local.
 */
const float *gd_generator_predict(gd_generator *generator, const float *x, const float *t, int n);

/* ---- Replay ------------------------------------------------------------------------------------ */

/* The random numbers of n replay images; also the place where a test may put its own. */
typedef struct gd_replay_draws {
  float *start;   /* x_T, or x_0 from a pool, or the whole input for `gaussian`; (n, H, W, C) */
  int *timesteps; /* (n) */
  float *noise;   /* (n, H, W, C) */
} gd_replay_draws;

/* Makes the replay input and target of n images: x, target (n, H, W, C) and t (n). For GD_INPUT_CURRENT, x and t hold
 * the current batch's on entry and stay. Sampler noise (eta > 0) is keyed by `key` and first_index. sampling NULL:
 * draws->start holds finished images. Local. */
void gd_replay_make(gd_strategy_id strategy, gd_generator *teacher, const gd_schedule *schedule,
                    const gd_config_sampling *sampling, gd_random key, uint64_t first_index, int64_t n_elements,
                    const gd_replay_draws *draws, int n, float *x, float *t, float *target);

/* Fills the draws of the replay images first_index .. first_index + n - 1 of a step; key.purpose is ignored. Without
 * `start` where that comes from a pool. Local. */
void gd_replay_draw(gd_strategy_id strategy, gd_random key, uint64_t first_index, int timesteps, int64_t n_elements,
                    int n, bool start, const gd_replay_draws *out);

/* ---- What replay costs ------------------------------------------------------------------------- */

typedef struct gd_replay_cost {
  int64_t images;      /* replay images; of a pool: those generated */
  int64_t evaluations; /* runs of the teacher, for one image each */
  double seconds;
} gd_replay_cost;

/* Replay images of step `step` (from 1) of the n_steps of a task, of which `seconds` have gone into its steps' replay
 * so far. Where images are generated, limits hold: the images that replay.limit_images and replay.limit_evaluations
 * allow a task are spread evenly over its steps, and a step that finds more than its share of replay.limit_seconds
 * spent has none. Half of the limits of evaluations and seconds are for the pool, where there is one. Local. */
int gd_replay_images(const gd_config *config, int64_t step, int64_t n_steps, double seconds);

/* Most that gd_replay_images gives; n_steps > 0. Local. */
int gd_replay_most(const gd_config *config, int64_t n_steps);

/* Runs of the teacher for n replay images of a step: generating them, unless they are from a pool, and their targets.
 * Local. */
int64_t gd_replay_evaluations(const gd_config *config, int64_t n);

/* Whether replay images are drawn from a pool; how many it has, and how long they may take at most, 0: any. Local. */
bool gd_replay_has_pool(const gd_config *config);
int64_t gd_replay_pool_images(const gd_config *config);
double gd_replay_pool_seconds(const gd_config *config);

/* ---- Pool: images that the teacher generates once, before a task ---------------------------------- */

typedef struct gd_pool gd_pool;

/* Takes the pool of task `task` (from 0) from the sample set at `path` if that is the one wanted, or else generates it
 * there: gd_replay_pool_images, or as many as gd_replay_pool_seconds allow. `teacher` must have a batch of
 * GD_IMAGE_CHUNK, digest is that of its parameters. Each rank holds its chunks as bytes. *cost: what generating took,
 * on the slowest rank; seconds 0 where the pool was there. Keeps comm. Collective on comm. GD_STOPPED between two
 * images where a rank was asked to stop; GD_ERR_FAILED naming the file. */
gd_err gd_pool_create(gd_pool **out, const gd_comm *comm, const gd_config *config, gd_generator *teacher,
                      gd_shape shape, int task, uint64_t digest, const char *path, gd_replay_cost *cost);
void gd_pool_destroy(gd_pool **pool);

/* "pool-task02.h5" (task from 1) in `folder`; new string, gd_free. Local. */
char *gd_pool_path(const char *folder, int task);

size_t gd_pool_nbytes(const gd_pool *pool); /* memory of this rank */

/* Draws number first .. first + n - 1 of the task; this rank gets those `mine` of 0 .. n-1, as bytes (mine, H, W, C).
 * Each pass over the pool has an order of its own, which follows from the seed, so that what is drawn does not depend
 * on ranks. Collective on comm: images travel from the ranks that hold them; the ranks' ranges are those that
 * `ranges` (size) gives. */
void gd_pool_draw(gd_pool *pool, int64_t first, int n, const gd_range *ranges, uint8_t *out);

/* ---- Sample sets --------------------------------------------------------------------------------- */

/* Images to generate; every number of image i follows from the keys and i. */
typedef struct gd_sample_request {
  const gd_config_sampling *sampling;
  gd_shape shape;
  gd_random start, noise;     /* keys of x_T, and of z where eta > 0 (its step is the sampling step) */
  const float *initial_noise; /* x_T (n_global, C, H, W), or NULL */
  int64_t n_global;
  double seconds; /* begin no more images after so long; 0: no limit */
} gd_sample_request;

/* Generates the images gd_range_images(comm, n_global), rounded to bytes, in `images` (local, H, W, C), and before
 * rounding in `x_0` (local, C, H, W) unless that is NULL; *n_done: how many of them. The generator's batch must be
 * GD_IMAGE_CHUNK. Collective on comm. GD_STOPPED where a rank was asked to stop; GD_ERR_FAILED naming an image that is
 * not finite. */
gd_err gd_sample_images(const gd_comm *comm, gd_generator *generator, const gd_sample_request *request, uint8_t *images,
                        float *x_0, int64_t *n_done);

/* What a sample set says of n images sampled so; the images themselves are left to fill in. Local. */
gd_sample_set gd_sample_set_describe(const gd_config_sampling *sampling, gd_shape shape, int64_t n, uint64_t seed,
                                     uint64_t checkpoint_digest);

/* Whether two sample sets are of the same parameters, sampler, seed and shape; the numbers of images may differ. Local.
 */
bool gd_sample_set_is_like(const gd_sample_set *set, const gd_sample_set *other);

/* [-1, 1] to 0 .. 255, rounded and clipped. Local. */
void gd_images_to_bytes(const float *x, int64_t n, uint8_t *out);

#endif
