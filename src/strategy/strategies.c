/* The table of strategies, and those that need no code of their own. */
#include "strategy/source.h"

#define STRATEGY_DECLARATION(name) extern const gd_strategy gd_strategy_##name;
#define STRATEGY_ROW(name)         &gd_strategy_##name,
GD_STRATEGIES(STRATEGY_DECLARATION)
static const gd_strategy *const strategies[GD_N_STRATEGIES] = {GD_STRATEGIES(STRATEGY_ROW)};

/* ---- The current task alone, and all that the paper compares with ---- */

const gd_strategy gd_strategy_finetune = {.data = GD_DATA_TASK};

const gd_strategy gd_strategy_joint = {.data = GD_DATA_ALL};

const gd_strategy gd_strategy_cumulative = {.data = GD_DATA_SO_FAR};

const gd_strategy gd_strategy_isolated = {.data = GD_DATA_TASK, .isolates = true};

/* ---- Replay (Masip et al. 2024) ---- */

const gd_strategy gd_strategy_generative_replay = {
    .data = GD_DATA_TASK, .replays_generated = true, .target = GD_TARGET_OBJECTIVE};

const gd_strategy gd_strategy_generative_distillation = {
    .data = GD_DATA_TASK, .replays_generated = true, .target = GD_TARGET_TEACHER};

/* ---- Replay of real images ---- */

const gd_strategy gd_strategy_experience_replay = {
    .data = GD_DATA_TASK, .replay = &gd_source_buffer, .target = GD_TARGET_OBJECTIVE};

const gd_strategy gd_strategy_experience_distillation = {
    .data = GD_DATA_TASK, .replay = &gd_source_buffer, .target = GD_TARGET_TEACHER};

/* ---- Distillation on other images ---- */

const gd_strategy gd_strategy_lwf = {.data = GD_DATA_TASK, .replay = &gd_source_current, .target = GD_TARGET_TEACHER};

const gd_strategy gd_strategy_gaussian = {
    .data = GD_DATA_TASK, .replay = &gd_source_noise, .target = GD_TARGET_TEACHER};

/* ---- Regularisation alone ---- */

const gd_strategy gd_strategy_ewc = {.data = GD_DATA_TASK, .regulariser = GD_REGULARISER_ewc};

const gd_strategy gd_strategy_ewc_rank1 = {.data = GD_DATA_TASK, .regulariser = GD_REGULARISER_ewc_rank1};

const gd_strategy gd_strategy_si = {.data = GD_DATA_TASK, .regulariser = GD_REGULARISER_si};

/* ---- Of a configuration ---- */

const gd_strategy *gd_strategy_get(gd_strategy_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_STRATEGIES);
  return strategies[id];
}

static gd_data_scope scope_of(const gd_config *config) {
  return gd_strategy_get(config->strategy.name)->data;
}

int gd_strategy_n_tasks(const gd_config *config) {
  return scope_of(config) == GD_DATA_ALL ? 1 : config->tasks.count;
}

int gd_strategy_tasks_seen(const gd_config *config, int task) {
  return scope_of(config) == GD_DATA_ALL ? config->tasks.count : task + 1;
}

uint32_t *gd_strategy_images(const gd_config *config, const gd_dataset *dataset, const gd_task_split *split, int task,
                             int64_t *n_out) {
  gd_task_choice choice = {.scope = scope_of(config), .limit = config->dataset.limit, .seed = config->seed};
  return gd_task_indices(dataset, split, choice, task, n_out);
}

int gd_strategy_classes(const gd_config *config, int n_tasks, int *classes) {
  gd_task_split split;
  int n_classes = gd_dataset_kind_get(config->dataset.name)->n_classes;
  gd_err err = gd_task_split_make(&split, &config->tasks, config->seed, n_classes);
  GD_REQUIRE(err == GD_OK);  // the configuration is valid
  return gd_task_split_classes(&split, n_tasks, classes);
}

gd_label_cycle gd_strategy_labels(const gd_config *config, int n_tasks) {
  gd_label_cycle labels = {.n = 0};
  if (config->model.conditional) labels.n = gd_strategy_classes(config, n_tasks, labels.classes);
  return labels;
}

bool gd_strategy_replays(const gd_config *config) {
  return gd_replay_source_of(config) != NULL;
}

bool gd_strategy_has_teacher(const gd_config *config) {
  const gd_strategy *strategy = gd_strategy_get(config->strategy.name);
  const gd_replay_source *source = gd_replay_source_of(config);
  return source && (source->generates || strategy->target == GD_TARGET_TEACHER);
}

bool gd_strategy_has_buffer(const gd_config *config) {
  return gd_replay_source_of(config) == &gd_source_buffer;
}
