/* What replay costs, and how much of it a task and a step may have. */
#include "gendistill/replay.h"

static bool generates(const gd_config *config) {
  return gd_strategy_get(config->strategy.name)->input == GD_INPUT_SAMPLES;
}

bool gd_replay_has_pool(const gd_config *config) {
  return generates(config) && config->replay.source == GD_REPLAY_POOL;
}

static int runs_for_target(const gd_config *config) {
  return gd_strategy_get(config->strategy.name)->target == GD_TARGET_TEACHER;
}

// Runs of the teacher for one replay image of a step.
static int runs_an_image(const gd_config *config) {
  bool makes_it = generates(config) && config->replay.source == GD_REPLAY_ONLINE;
  return (makes_it ? config->replay.sampling.steps : 0) + runs_for_target(config);
}

int64_t gd_replay_evaluations(const gd_config *config, int64_t n) {
  return n * runs_an_image(config);
}

static int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* ---- Limits ---- */

int64_t gd_replay_pool_images(const gd_config *config) {
  int64_t n = config->replay.pool_images, evaluations = config->replay.limit_evaluations;
  if (config->replay.limit_images) n = lesser(n, config->replay.limit_images);
  if (evaluations && runs_for_target(config)) evaluations /= 2;  // the other half is for the targets
  return evaluations ? lesser(n, evaluations / config->replay.sampling.steps) : n;
}

double gd_replay_pool_seconds(const gd_config *config) {
  return config->replay.limit_seconds / 2;
}

// Replay images that all steps of a task may have.
static int64_t task_images(const gd_config *config) {
  int64_t n = INT64_MAX, evaluations = config->replay.limit_evaluations, runs = runs_an_image(config);
  if (!generates(config)) return n;
  bool has_pool = gd_replay_has_pool(config);
  if (config->replay.limit_images && !has_pool) n = config->replay.limit_images;
  if (!evaluations || runs == 0) return n;
  if (has_pool) evaluations -= gd_replay_pool_images(config) * config->replay.sampling.steps;
  return lesser(n, evaluations / runs);
}

int gd_replay_most(const gd_config *config, int64_t n_steps) {
  GD_REQUIRE(n_steps > 0);
  int64_t n = task_images(config), batch = config->replay.batch ? config->replay.batch : config->training.batch_size;
  return (int)lesser(n / n_steps + (n % n_steps > 0), batch);
}

// Of n images spread evenly over n_steps steps, those of the steps up to `step`; n % n_steps * step fits.
static int64_t share(int64_t n, int64_t step, int64_t n_steps) {
  return n / n_steps * step + n % n_steps * step / n_steps;
}

int gd_replay_images(const gd_config *config, int64_t step, int64_t n_steps, double seconds) {
  int64_t n = task_images(config), most = gd_replay_most(config, n_steps);
  double limit = generates(config) ? config->replay.limit_seconds : 0;
  if (gd_replay_has_pool(config)) limit -= gd_replay_pool_seconds(config);
  if (limit > 0 && seconds > limit * (double)(step - 1) / (double)n_steps) return 0;
  if (n / n_steps >= most) return (int)most;
  return (int)(share(n, step, n_steps) - share(n, step - 1, n_steps));
}
