/* What a frozen network is used for: the table of strategies, replay batches from a teacher, sample sets. */
#ifndef GENDISTILL_REPLAY_H
#define GENDISTILL_REPLAY_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/diffusion.h"
#include "gendistill/nn.h"

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

/* Samples n <= batch images in place: x holds x_T, then x_0; (n, H, W, C). `noise` is asked where eta > 0. Local. */
void gd_generator_sample(gd_generator *generator, const gd_config_sampling *sampling, int n, gd_sampling_noise noise,
                         void *noise_context, float *x);

/* The network's output for n <= batch images x (n, H, W, C), each at its own t (n); valid until the next call. Local.
 */
const float *gd_generator_predict(gd_generator *generator, const float *x, const float *t, int n);

/* ---- Replay ------------------------------------------------------------------------------------ */

/* The random numbers of n replay images; also the place where a test may put its own. */
typedef struct gd_replay_draws {
  float *start;   /* x_T, or the whole input for `gaussian`; (n, H, W, C) */
  int *timesteps; /* (n) */
  float *noise;   /* (n, H, W, C) */
} gd_replay_draws;

/* Makes the replay input and target of n images: x, target (n, H, W, C) and t (n). For GD_INPUT_CURRENT, x and t hold
 * the current batch's on entry and stay. Sampler noise (eta > 0) is keyed by `key` and first_index. Local. */
void gd_replay_make(gd_strategy_id strategy, gd_generator *teacher, const gd_schedule *schedule,
                    const gd_config_sampling *sampling, gd_random key, uint64_t first_index, int64_t n_elements,
                    const gd_replay_draws *draws, int n, float *x, float *t, float *target);

/* Fills the draws of the replay images first_index .. first_index + n - 1 of a step; key.purpose is ignored. Local. */
void gd_replay_draw(gd_strategy_id strategy, gd_random key, uint64_t first_index, int timesteps, int64_t n_elements,
                    int n, const gd_replay_draws *out);

/* ---- Sample sets --------------------------------------------------------------------------------- */

/* Generates the images `range` of a sample set keyed by (seed, image number): x (range, H, W, C) float32. The starting
 * noise is taken from `initial_noise` (n_global, C, H, W) where that is not NULL. The generator's batch must be
 * GD_IMAGE_CHUNK. Local. */
void gd_sample_images(gd_generator *generator, const gd_config_sampling *sampling, gd_shape shape, uint64_t seed,
                      uint32_t task, gd_range range, const float *initial_noise, float *x);

/* [-1, 1] to 0 .. 255, rounded and clipped. Local. */
void gd_images_to_bytes(const float *x, int64_t n, uint8_t *out);

#endif
