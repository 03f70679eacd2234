/* Checks of the strategy, its replay and the solver that take several keys together. */
#include <string.h>

#include "config/keys.h"

// Whether the strategy replays images that the teacher has sampled, from the source that replay.source names.
static bool samples_images(const gd_config *config) {
  gd_strategy_id name = config->strategy.name;
  return name == GD_STRATEGY_generative_distillation || name == GD_STRATEGY_generative_replay;
}

static gd_err check_replay_limit(const gd_config_reader *reader) {
  int limit = reader->config->replay.limit_evaluations;
  int evaluations = gd_sampling_evaluations(&reader->config->replay.sampling);
  if (limit == 0 || limit / 2 >= evaluations) return GD_OK;
  return gd_config_clash(reader, "replay.limit_evaluations", "replay.steps",
                         "must be 0 or at least twice the evaluations per image of replay.steps (%d), is '%d'",
                         evaluations, limit);
}

static gd_err check_coupling(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (!config->replay.coupled) return GD_OK;
  if (!gd_path_get(config->diffusion.path)->is_straight)
    return gd_config_clash(reader, "replay.coupled", NULL, "is for diffusion.path flow, not %s",
                           gd_path_name(config->diffusion.path));
  if (config->replay.limit_seconds > 0)
    return gd_config_clash(reader, "replay.coupled", NULL, "cannot be combined with replay.limit_seconds");
  return GD_OK;
}

static gd_err check_isolated(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->strategy.name != GD_STRATEGY_isolated) return GD_OK;
  if (config->solver.replay == GD_SOLVER_FRESH)
    return gd_config_clash(reader, "solver.replay", NULL,
                           "must be sample_set for strategy isolated, which has several generators");
  if (config->model.conditional)
    return gd_config_clash(reader, "model.conditional", NULL,
                           "must be false for strategy isolated: its networks know their tasks");
  if (strcmp(config->training.init, "none") != 0)
    return gd_config_clash(reader, "training.init", NULL,
                           "must be none for strategy isolated, which begins anew with each task");
  if (config->strategy.regulariser != GD_NO_REGULARISER)
    return gd_config_clash(reader, "strategy.regulariser", NULL,
                           "must be none for strategy isolated, whose networks have nothing to keep");
  return GD_OK;
}

// Strategies that take images a part of the sampler's way.
static gd_err check_partial(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  gd_strategy_id name = config->strategy.name;
  const gd_sampling *sampling = &config->replay.sampling;
  if (name != GD_STRATEGY_trajectory_distillation && name != GD_STRATEGY_partial_distillation) return GD_OK;
  const char *strategy = gd_strategy_name(name);
  if (!gd_sampler_is_simple(sampling->sampler))
    return gd_config_clash(
        reader, "replay.sampler", "strategy.name",
        "must evaluate the network once per step for strategy %s: %s does not, or takes all timesteps", strategy,
        gd_sampler_name(sampling->sampler));
  if (sampling->guidance > 0)
    return gd_config_clash(reader, "replay.guidance", NULL, "must be 0 for strategy %s", strategy);
  if (config->replay.source != GD_GENERATED_SOURCE_online)
    return gd_config_clash(reader, "replay.source", NULL, "must be online for strategy %s", strategy);
  if (name == GD_STRATEGY_partial_distillation && sampling->n_timesteps > 0)
    return gd_config_clash(reader, "replay.timesteps", NULL, "is not for strategy %s, which goes to random timesteps",
                           strategy);
  return GD_OK;
}

static gd_err check_pool_targets(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (!config->replay.pool_targets) return GD_OK;
  if (config->strategy.name != GD_STRATEGY_generative_distillation || config->replay.source != GD_GENERATED_SOURCE_pool)
    return gd_config_clash(reader, "replay.pool_targets", NULL,
                           "is for generative_distillation with replay.source pool");
  if (config->model.conditional)
    return gd_config_clash(reader, "replay.pool_targets", NULL, "cannot be combined with model.conditional");
  return GD_OK;
}

static bool has_pool(const gd_config *config) {
  return samples_images(config) && config->replay.source == GD_GENERATED_SOURCE_pool;
}

static gd_err check_refresh(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->replay.pool_refresh == 0) return GD_OK;
  if (!has_pool(config)) return gd_config_clash(reader, "replay.pool_refresh", NULL, "is for replay.source pool");
  if (config->replay.limit_seconds > 0)
    return gd_config_clash(reader, "replay.pool_refresh", NULL, "cannot be combined with replay.limit_seconds");
  if (config->replay.pool_balance != GD_BALANCE_NONE)
    return gd_config_clash(reader, "replay.pool_refresh", NULL, "cannot be combined with replay.pool_balance");
  return GD_OK;
}

static gd_err check_balance(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->replay.pool_balance == GD_BALANCE_NONE) return GD_OK;
  if (!has_pool(config)) return gd_config_clash(reader, "replay.pool_balance", NULL, "is for replay.source pool");
  if (config->model.conditional)
    return gd_config_clash(reader, "replay.pool_balance", NULL,
                           "must be none for model.conditional, whose pools are balanced by their labels");
  if (!config->evaluation.measures || config->solver.epochs == 0)
    return gd_config_clash(reader, "replay.pool_balance", NULL,
                           "needs the solver: evaluation.measures true and solver.epochs above 0");
  if (config->solver.method != GD_SOLVER_GENERATED)
    return gd_config_clash(reader, "replay.pool_balance", "solver.method",
                           "needs the solver with solver.method generated");
  return GD_OK;
}

// What a task may take must be enough for one image of the pool.
static gd_err check_pool_limits(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (!has_pool(config)) return GD_OK;
  double made = config->replay.pool_balance == GD_BALANCE_NONE ? 1 : config->replay.pool_candidates;
  made += config->replay.pool_refresh * (config->training.epochs - 1);
  int images = config->replay.limit_images, evaluations = config->replay.limit_evaluations;
  if (images && images < made)
    return gd_config_clash(reader, "replay.limit_images", NULL,
                           "must be 0 or at least the images made for each image of the pool (%g), is '%d'", made,
                           images);
  int per_image = gd_sampling_evaluations(&config->replay.sampling) + config->replay.pool_targets;
  if (evaluations && evaluations < 2 * per_image * made)
    return gd_config_clash(reader, "replay.limit_evaluations", NULL,
                           "must be 0 or at least twice the evaluations for an image of the pool (%g), is '%d'",
                           per_image * made, evaluations);
  return GD_OK;
}

static gd_err check_amount(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->replay.growing && config->strategy.name == GD_STRATEGY_lwf)
    return gd_config_clash(reader, "replay.growing", NULL, "is not for strategy lwf, which replays the current batch");
  if (config->replay.skip_snr == 0) return GD_OK;
  if (!samples_images(config) || config->replay.source != GD_GENERATED_SOURCE_online)
    return gd_config_clash(reader, "replay.skip_snr", NULL,
                           "is for generative_distillation and generative_replay with replay.source online");
  if (config->replay.coupled)
    return gd_config_clash(reader, "replay.skip_snr", NULL, "cannot be combined with replay.coupled");
  return GD_OK;
}

// A strategy of a regulariser's name has that one; where all tasks come at once there is nothing to keep.
static gd_err check_regulariser(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  gd_strategy_id name = config->strategy.name;
  gd_regulariser_id given = config->strategy.regulariser, own = GD_NO_REGULARISER;
  if (name == GD_STRATEGY_ewc) own = GD_REGULARISER_ewc;
  if (name == GD_STRATEGY_ewc_rank1) own = GD_REGULARISER_ewc_rank1;
  if (name == GD_STRATEGY_si) own = GD_REGULARISER_si;
  if (given == GD_NO_REGULARISER) return GD_OK;
  if (name == GD_STRATEGY_joint)
    return gd_config_clash(reader, "strategy.regulariser", NULL, "must be none for strategy joint, which has one task");
  if (own && own != given)
    return gd_config_clash(reader, "strategy.regulariser", NULL, "must be none for strategy %s, which is one itself",
                           gd_strategy_name(name));
  return GD_OK;
}

static int classes_of_tasks(const gd_config *config) {
  int n = 0;
  if (config->tasks.seeded) return gd_dataset_kind_get(config->dataset.name)->n_classes;
  for (int t = 0; t < config->tasks.count; t++) n += config->tasks.n_classes[t];
  return n;
}

static gd_err check_buffer(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  int n_classes = classes_of_tasks(config);
  if (config->replay.buffer_per == GD_BUFFER_PER_CLASS || config->replay.buffer_images >= n_classes) return GD_OK;
  return gd_config_clash(reader, "replay.buffer_images", NULL, "must be at least the number of classes (%d), is '%d'",
                         n_classes, config->replay.buffer_images);
}

static gd_err check_solver(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->solver.method == GD_SOLVER_GENERATED || config->strategy.name != GD_STRATEGY_joint) return GD_OK;
  return gd_config_clash(reader, "solver.method", NULL, "must be generated for strategy joint, which has one task");
}

gd_err gd_config_validate_strategy(const gd_config_reader *reader) {
  static gd_err (*const checks[])(const gd_config_reader *reader) = {
      check_replay_limit, check_coupling,     check_buffer,  check_regulariser, check_isolated, check_partial,
      check_amount,       check_pool_targets, check_refresh, check_balance,     check_solver,   check_pool_limits};
  gd_err err = GD_OK;
  for (size_t i = 0; i < sizeof checks / sizeof *checks && err == GD_OK; i++) err = checks[i](reader);
  return err;
}
