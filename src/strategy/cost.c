/* What replay costs, and how limits are spread over the steps of a task. */
#include "strategy/source.h"

static bool generates_images(const gd_config *config) {
  const gd_replay_source *source = gd_replay_source_of(config);
  return source && source->generates;
}

static bool has_pool(const gd_config *config) {
  const gd_replay_source *source = gd_replay_source_of(config);
  return source && source->prepare;
}

// Of a step.
static int evaluations_per_target(const gd_config *config) {
  return gd_strategy_replays(config) && gd_strategy_get(config->strategy.name)->target == GD_TARGET_TEACHER &&
         !config->replay.pool_targets;
}

int64_t gd_replay_pool_evaluations(const gd_config *config) {
  return gd_sampling_evaluations(&config->replay.sampling) + config->replay.pool_targets;
}

// Of the teacher, for one replay image of a step.
static int64_t evaluations_per_image(const gd_config *config) {
  const gd_replay_source *source = gd_replay_source_of(config);
  return (source && source->evaluations ? source->evaluations(config) : 0) + evaluations_per_target(config);
}

int64_t gd_replay_evaluations(const gd_config *config, int64_t n) {
  return n * evaluations_per_image(config);
}

static int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* ---- Limits ---- */

// Images that the teacher makes before the task for each one that is drawn.
static int candidates(const gd_config *config) {
  return config->replay.pool_balance == GD_BALANCE_NONE ? 1 : config->replay.pool_candidates;
}

// Images of a pool, of which the teacher may make `limit` in the whole task.
static int64_t pool_within(const gd_config *config, int64_t limit) {
  int later_epochs = config->training.epochs - 1;
  return (int64_t)((double)limit / (candidates(config) + config->replay.pool_refresh * later_epochs));
}

int64_t gd_replay_pool_images(const gd_config *config) {
  int64_t n = config->replay.pool_images, evaluations = config->replay.limit_evaluations;
  if (config->replay.limit_images) n = lesser(n, pool_within(config, config->replay.limit_images));
  if (evaluations && evaluations_per_target(config)) evaluations /= 2;  // the other half is for the targets
  return evaluations ? lesser(n, pool_within(config, evaluations / gd_replay_pool_evaluations(config))) : n;
}

int64_t gd_replay_pool_candidates(const gd_config *config) {
  return gd_replay_pool_images(config) * candidates(config);
}

int64_t gd_replay_pool_refreshed(const gd_config *config, int64_t n, int epoch) {
  return (int64_t)(config->replay.pool_refresh * epoch * (double)n);
}

// In the whole task.
static int64_t pool_images_made(const gd_config *config) {
  int64_t n = gd_replay_pool_candidates(config);
  return n + gd_replay_pool_refreshed(config, n, config->training.epochs - 1);
}

double gd_replay_pool_seconds(const gd_config *config) {
  return config->replay.limit_seconds / 2;
}

// Replay images that all steps of a task may have.
static int64_t images_of_task(const gd_config *config) {
  int64_t n = INT64_MAX, evaluations = config->replay.limit_evaluations, per_image = evaluations_per_image(config);
  if (!generates_images(config)) return n;
  if (config->replay.limit_images && !has_pool(config)) n = config->replay.limit_images;
  if (!evaluations || per_image == 0) return n;
  if (has_pool(config)) evaluations -= pool_images_made(config) * gd_replay_pool_evaluations(config);
  return lesser(n, evaluations / per_image);
}

int gd_replay_max_images(const gd_config *config, int task, int64_t n_steps) {
  GD_REQUIRE(n_steps > 0);
  int64_t n = images_of_task(config), batch = config->replay.batch ? config->replay.batch : config->training.batch_size;
  if (config->replay.growing && task > 1) batch *= task;
  return (int)lesser(n / n_steps + (n % n_steps > 0), batch);
}

// Of n images spread evenly over n_steps steps, those of the steps up to `step`; n % n_steps * step fits.
static int64_t share_of_steps(int64_t n, int64_t step, int64_t n_steps) {
  return n / n_steps * step + n % n_steps * step / n_steps;
}

int gd_replay_images(const gd_replay_setting *of, int64_t step, double seconds) {
  const gd_config *config = of->config;
  int64_t n_steps = of->n_steps, n = images_of_task(config), maximum = gd_replay_max_images(config, of->task, n_steps);
  double limit = generates_images(config) ? config->replay.limit_seconds : 0;
  if (has_pool(config)) limit -= gd_replay_pool_seconds(config);
  if (limit > 0 && seconds > limit * (double)(step - 1) / (double)n_steps) return 0;
  if (n / n_steps >= maximum) return (int)maximum;
  return (int)(share_of_steps(n, step, n_steps) - share_of_steps(n, step - 1, n_steps));
}
