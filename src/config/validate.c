/* Checks that take several keys together, and the values that follow from others.
 *
 * Types and ranges of single values are checked while reading (value.c). */
#include <stdio.h>
#include <string.h>

#include "config/keys.h"

static int row_of_key(const char *path) {
  int k = gd_key_find(path);
  GD_REQUIRE(k >= 0);
  return k;
}

static bool is_given(const gd_config_reader *reader, const char *path) {
  return reader->where[row_of_key(path)] != NULL;
}

// Names `path`; the place is where it was given or, for a default, where the key it clashes with was.
static gd_err __attribute__((format(printf, 4, 5)))
clash(const gd_config_reader *reader, const char *path, const char *other, const char *format, ...) {
  char detail[512];
  va_list args;
  va_start(args, format);
  vsnprintf(detail, sizeof detail, format, args);
  va_end(args);
  const char *where = reader->where[row_of_key(path)];
  if (!where && other) where = reader->where[row_of_key(other)];
  if (!where) where = reader->file ? reader->file : "default";
  return gd_error(GD_ERR_INPUT, "%s: key '%s': %s", where, path, detail);
}

static gd_err check_channels(const gd_config_reader *reader) {
  static const char *const channels = "model.block_out_channels", *const head = "model.attention_head_dim";
  const gd_unet_config *model = &reader->config->model;
  if (model->block_out_channels[0] % 2 != 0)
    return clash(reader, channels, NULL, "the first must be even, for the time embedding, is '%d'",
                 model->block_out_channels[0]);
  for (int i = 0; i < model->n_levels; i++) {
    int n = model->block_out_channels[i];
    if (n % model->norm_num_groups != 0)
      return clash(reader, "model.norm_num_groups", channels, "must divide every channel count, %d does not divide %d",
                   model->norm_num_groups, n);
    bool attends = model->attention[i] || i == model->n_levels - 1;  // the middle block has the last level's width
    if (attends && model->attention_head_dim > 0 && n % model->attention_head_dim != 0)
      return clash(reader, head, channels,
                   "must divide the channels of each level with attention and of the last, %d does not divide %d",
                   model->attention_head_dim, n);
  }
  return GD_OK;
}

static gd_err check_model(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  int n = config->model.n_levels, multiple = 1 << (n - 1);
  if (reader->n_attention != n)
    return clash(reader, "model.attention", "model.block_out_channels",
                 "must have as many entries as model.block_out_channels, has %d, not %d", reader->n_attention, n);
  if (config->dataset.image_size % multiple != 0)
    return clash(reader, "dataset.image_size", "model.block_out_channels",
                 "must be divisible by %d for %d levels, is '%d'", multiple, n, config->dataset.image_size);
  return check_channels(reader);
}

static gd_err check_order(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  int n_classes = gd_dataset_kind_get(config->dataset.name)->n_classes;
  bool seen[GD_MAX_CLASSES] = {false};
  for (int t = 0; t < config->tasks.count; t++) {
    for (int i = 0; i < config->tasks.n_classes[t]; i++) {
      int class = config->tasks.classes[t][i];
      if (class >= n_classes)
        return clash(reader, "tasks.order", NULL, "class %d does not exist, %s has 0 to %d", class,
                     gd_dataset_name(config->dataset.name), n_classes - 1);
      if (seen[class]) return clash(reader, "tasks.order", NULL, "class %d is listed twice", class);
      seen[class] = true;
    }
  }
  return GD_OK;
}

static gd_err check_tasks(const gd_config_reader *reader) {
  gd_tasks_config *tasks = &reader->config->tasks;
  int n_classes = gd_dataset_kind_get(reader->config->dataset.name)->n_classes;
  if (tasks->seeded) {
    if (n_classes % tasks->count == 0) return GD_OK;
    return clash(reader, "tasks.count", "tasks.order", "%d classes cannot be divided into %d equal tasks", n_classes,
                 tasks->count);
  }
  int listed = 0;
  while (listed < GD_MAX_CLASSES && tasks->n_classes[listed] > 0) listed++;
  if (is_given(reader, "tasks.count") && tasks->count != listed)
    return clash(reader, "tasks.count", NULL, "is '%d', but tasks.order lists %d tasks", tasks->count, listed);
  tasks->count = listed;
  return check_order(reader);
}

// Names of the samplers of a path: "a, b or c".
static void list_samplers(gd_path_id path, char text[160]) {
  int n = 0, left = 0;
  text[0] = 0;
  for (int id = 0; id < GD_N_SAMPLERS; id++) left += (gd_sampler_get((gd_sampler_id)id)->paths >> path) & 1;
  for (int id = 0; id < GD_N_SAMPLERS; id++) {
    if (!((gd_sampler_get((gd_sampler_id)id)->paths >> path) & 1)) continue;
    const char *comma = n++ == 0 ? "" : --left > 1 ? ", " : " or ";
    snprintf(text + strlen(text), 160 - strlen(text), "%s%s", comma, gd_sampler_name((gd_sampler_id)id));
  }
}

// The keys of `replay` or `evaluation` that say how to sample.
typedef struct sampling_keys {
  const char *sampler, *steps, *eta, *guidance, *timesteps;
} sampling_keys;

static gd_err check_guidance(const gd_config_reader *reader, sampling_keys keys, const gd_sampling *sampling) {
  const gd_config *config = reader->config;
  if (sampling->guidance == 0) return GD_OK;
  if (!config->model.conditional)
    return clash(reader, keys.guidance, NULL, "needs model.conditional, is '%g'", sampling->guidance);
  if (config->training.label_dropout == 0)
    return clash(reader, keys.guidance, NULL,
                 "needs training.label_dropout above 0, so that the network learns the null class");
  return GD_OK;
}

static gd_err check_sampler(const gd_config_reader *reader, sampling_keys keys, gd_sampling *sampling) {
  gd_path_id path = reader->config->diffusion.path;
  if (!is_given(reader, keys.sampler)) sampling->sampler = gd_sampler_of_path(path);
  if ((gd_sampler_get(sampling->sampler)->paths >> path) & 1) return GD_OK;
  char names[160];
  list_samplers(path, names);
  return clash(reader, keys.sampler, "diffusion.path", "must be %s for diffusion.path %s, is '%s'", names,
               gd_path_name(path), gd_sampler_name(sampling->sampler));
}

static gd_err check_timesteps(const gd_config_reader *reader, sampling_keys keys, const gd_sampling *sampling) {
  int timesteps = reader->config->diffusion.timesteps, n = sampling->n_timesteps;
  const int *list = sampling->timesteps;
  if (n == 0) return GD_OK;
  if (gd_sampler_get(sampling->sampler)->takes_all_timesteps)
    return clash(reader, keys.timesteps, NULL, "the sampler %s takes all %d timesteps: leave the key out",
                 gd_sampler_name(sampling->sampler), timesteps);
  if (list[0] >= timesteps)
    return clash(reader, keys.timesteps, "diffusion.timesteps", "must be below diffusion.timesteps (%d), has '%d'",
                 timesteps, list[0]);
  for (int i = 1; i < n; i++)
    if (list[i] >= list[i - 1])
      return clash(reader, keys.timesteps, NULL, "must fall, has %d behind %d", list[i], list[i - 1]);
  return GD_OK;
}

// What a sampler does not let be chosen is refused where it was asked for, not left out without a word.
static gd_err check_sampling(const gd_config_reader *reader, sampling_keys keys, gd_sampling *sampling) {
  gd_err err;
  GD_TRY(check_sampler(reader, keys, sampling));
  GD_TRY(check_guidance(reader, keys, sampling));
  GD_TRY(check_timesteps(reader, keys, sampling));
  int timesteps = reader->config->diffusion.timesteps;
  const char *name = gd_sampler_name(sampling->sampler);
  gd_sampling settled = gd_sampling_settle(*sampling, timesteps);
  if (is_given(reader, keys.steps) && settled.steps != sampling->steps && sampling->n_timesteps == 0)
    return clash(reader, keys.steps, NULL, "the sampler %s takes all %d timesteps: leave the key out, is '%d'", name,
                 timesteps, sampling->steps);
  if (is_given(reader, keys.eta) && settled.eta != sampling->eta)
    return clash(reader, keys.eta, NULL, "the sampler %s has eta %g: leave the key out, is '%g'", name, settled.eta,
                 sampling->eta);
  *sampling = settled;
  if (sampling->steps > timesteps)
    err = clash(reader, keys.steps, "diffusion.timesteps", "must be at most diffusion.timesteps (%d), is '%d'",
                timesteps, sampling->steps);
done:
  return err;
}

// What straight paths leave no choice of.
static gd_err check_path(const gd_config_reader *reader) {
  gd_diffusion *diffusion = &reader->config->diffusion;
  if (!gd_path_get(diffusion->path)->is_straight) return GD_OK;
  const char *name = gd_path_name(diffusion->path);
  if (!is_given(reader, "diffusion.prediction")) diffusion->prediction = GD_OBJECTIVE_v;
  if (diffusion->prediction != GD_OBJECTIVE_v)
    return clash(reader, "diffusion.prediction", NULL, "must be v for diffusion.path %s", name);
  if (diffusion->loss_weight != GD_WEIGHT_NONE)
    return clash(reader, "diffusion.loss_weight", NULL, "must be none for diffusion.path %s", name);
  return GD_OK;
}

static gd_err check_replay_limit(const gd_config_reader *reader) {
  int limit = reader->config->replay.limit_evaluations;
  int evaluations = gd_sampling_evaluations(&reader->config->replay.sampling);
  if (limit == 0 || limit / 2 >= evaluations) return GD_OK;
  return clash(reader, "replay.limit_evaluations", "replay.steps",
               "must be 0 or at least twice the evaluations per image of replay.steps (%d), is '%d'", evaluations,
               limit);
}

static gd_err check_coupling(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (!config->replay.coupled) return GD_OK;
  if (!gd_path_get(config->diffusion.path)->is_straight)
    return clash(reader, "replay.coupled", NULL, "is for diffusion.path flow, not %s",
                 gd_path_name(config->diffusion.path));
  if (config->replay.limit_seconds > 0)
    return clash(reader, "replay.coupled", NULL, "cannot be combined with replay.limit_seconds");
  return GD_OK;
}

static gd_err check_isolated(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->strategy.name != GD_STRATEGY_isolated) return GD_OK;
  if (config->solver.replay == GD_SOLVER_FRESH)
    return clash(reader, "solver.replay", NULL,
                 "must be sample_set for strategy isolated, which has several generators");
  if (config->model.conditional)
    return clash(reader, "model.conditional", NULL,
                 "must be false for strategy isolated: its networks know their tasks");
  if (strcmp(config->training.init, "none") != 0)
    return clash(reader, "training.init", NULL, "must be none for strategy isolated, which begins anew with each task");
  if (config->strategy.regulariser != GD_NO_REGULARISER)
    return clash(reader, "strategy.regulariser", NULL,
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
    return clash(reader, "replay.sampler", "strategy.name",
                 "must evaluate the network once per step for strategy %s: %s does not, or takes all timesteps",
                 strategy, gd_sampler_name(sampling->sampler));
  if (sampling->guidance > 0) return clash(reader, "replay.guidance", NULL, "must be 0 for strategy %s", strategy);
  if (config->replay.source != GD_GENERATED_SOURCE_online)
    return clash(reader, "replay.source", NULL, "must be online for strategy %s", strategy);
  if (name == GD_STRATEGY_partial_distillation && sampling->n_timesteps > 0)
    return clash(reader, "replay.timesteps", NULL, "is not for strategy %s, which goes to random timesteps", strategy);
  return GD_OK;
}

static gd_err check_pool_targets(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (!config->replay.pool_targets) return GD_OK;
  if (config->strategy.name != GD_STRATEGY_generative_distillation || config->replay.source != GD_GENERATED_SOURCE_pool)
    return clash(reader, "replay.pool_targets", NULL, "is for generative_distillation with replay.source pool");
  if (config->model.conditional)
    return clash(reader, "replay.pool_targets", NULL, "cannot be combined with model.conditional");
  return GD_OK;
}

static bool has_pool(const gd_config *config) {
  gd_strategy_id name = config->strategy.name;
  bool samples = name == GD_STRATEGY_generative_distillation || name == GD_STRATEGY_generative_replay;
  return samples && config->replay.source == GD_GENERATED_SOURCE_pool;
}

static gd_err check_refresh(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->replay.pool_refresh == 0) return GD_OK;
  if (!has_pool(config)) return clash(reader, "replay.pool_refresh", NULL, "is for replay.source pool");
  if (config->replay.limit_seconds > 0)
    return clash(reader, "replay.pool_refresh", NULL, "cannot be combined with replay.limit_seconds");
  if (config->replay.pool_balance != GD_BALANCE_NONE)
    return clash(reader, "replay.pool_refresh", NULL, "cannot be combined with replay.pool_balance");
  return GD_OK;
}

static gd_err check_balance(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->replay.pool_balance == GD_BALANCE_NONE) return GD_OK;
  if (!has_pool(config)) return clash(reader, "replay.pool_balance", NULL, "is for replay.source pool");
  if (config->model.conditional)
    return clash(reader, "replay.pool_balance", NULL,
                 "must be none for model.conditional, whose pools are balanced by their labels");
  if (!config->evaluation.measures || config->solver.epochs == 0)
    return clash(reader, "replay.pool_balance", NULL,
                 "needs the solver: evaluation.measures true and solver.epochs above 0");
  if (config->solver.method != GD_SOLVER_GENERATED)
    return clash(reader, "replay.pool_balance", "solver.method", "needs the solver with solver.method generated");
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
    return clash(reader, "replay.limit_images", NULL,
                 "must be 0 or at least the images made for each image of the pool (%g), is '%d'", made, images);
  int per_image = gd_sampling_evaluations(&config->replay.sampling) + config->replay.pool_targets;
  if (evaluations && evaluations < 2 * per_image * made)
    return clash(reader, "replay.limit_evaluations", NULL,
                 "must be 0 or at least twice the evaluations for an image of the pool (%g), is '%d'", per_image * made,
                 evaluations);
  return GD_OK;
}

static gd_err check_amount(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  gd_strategy_id name = config->strategy.name;
  bool samples = name == GD_STRATEGY_generative_distillation || name == GD_STRATEGY_generative_replay;
  if (config->replay.growing && name == GD_STRATEGY_lwf)
    return clash(reader, "replay.growing", NULL, "is not for strategy lwf, which replays the current batch");
  if (config->replay.skip_snr == 0) return GD_OK;
  if (!samples || config->replay.source != GD_GENERATED_SOURCE_online)
    return clash(reader, "replay.skip_snr", NULL,
                 "is for generative_distillation and generative_replay with replay.source online");
  if (config->replay.coupled) return clash(reader, "replay.skip_snr", NULL, "cannot be combined with replay.coupled");
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
    return clash(reader, "strategy.regulariser", NULL, "must be none for strategy joint, which has one task");
  if (own && own != given)
    return clash(reader, "strategy.regulariser", NULL, "must be none for strategy %s, which is one itself",
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
  return clash(reader, "replay.buffer_images", NULL, "must be at least the number of classes (%d), is '%d'", n_classes,
               config->replay.buffer_images);
}

static gd_err check_solver(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  if (config->solver.method == GD_SOLVER_GENERATED || config->strategy.name != GD_STRATEGY_joint) return GD_OK;
  return clash(reader, "solver.method", NULL, "must be generated for strategy joint, which has one task");
}

static gd_err check_slots(const gd_config_reader *reader, const char *key, int slots) {
  if ((slots & (slots - 1)) == 0) return GD_OK;
  return clash(reader, key, NULL, "must be a power of two, is '%d'", slots);
}

// Batch statistics are taken per slot: all slots must have the same number of images, and at least two.
static gd_err check_classifier_batch(const gd_config_reader *reader) {
  int batch = reader->config->classifier.batch_size, slots = reader->config->classifier.slots;
  if (batch % slots == 0 && batch >= 2 * slots) return GD_OK;
  return clash(reader, "classifier.batch_size", "classifier.slots",
               "must be a multiple of classifier.slots (%d) and at least twice as large, is '%d'", slots, batch);
}

static void set_default(const gd_config_reader *reader, const char *path, char **text, const char *value) {
  if (is_given(reader, path)) return;
  gd_free(*text);
  *text = gd_strdup(value);
}

// The data set whose default folder this is; `otherwise` where there is none.
static gd_dataset_id dataset_at(const char *path, gd_dataset_id otherwise) {
  for (int id = 0; id < GD_N_DATASETS; id++) {
    const char *folder = gd_dataset_kind_get((gd_dataset_id)id)->path;
    if (folder && strcmp(folder, path) == 0) return (gd_dataset_id)id;
  }
  return otherwise;
}

// Defaults that depend on the data set.
static gd_err settle_dataset(const gd_config_reader *reader) {
  gd_config *config = reader->config;
  gd_dataset_id id = config->dataset.name, there = dataset_at(config->dataset.path, id);
  const gd_dataset_kind *dataset = gd_dataset_kind_get(id);
  const char *name = gd_dataset_name(id);
  if (!dataset->path && !is_given(reader, "dataset.path"))
    return clash(reader, "dataset.path", "dataset.name", "must name the folder with the files of %s", name);
  if (is_given(reader, "dataset.path") && there != id)
    gd_log(GD_LOG_WARN, "dataset.name is %s, but dataset.path is %s, the folder of %s", name, config->dataset.path,
           gd_dataset_name(there));
  if (dataset->path) set_default(reader, "dataset.path", &config->dataset.path, dataset->path);
  char *directory = gd_format("runs/%s_gd", name);
  set_default(reader, "output.directory", &config->output.directory, directory);
  gd_free(directory);
  config->model.n_classes = config->model.conditional ? dataset->n_classes : 0;
  if (!is_given(reader, "classifier.horizontal_flip")) config->classifier.horizontal_flip = dataset->mirrors;
  return GD_OK;
}

gd_err gd_config_validate(gd_config_reader *reader) {
  gd_config *config = reader->config;
  gd_err err = GD_OK;
  GD_TRY(settle_dataset(reader));
  GD_TRY(check_tasks(reader));
  GD_TRY(check_model(reader));
  if (config->diffusion.beta_start >= config->diffusion.beta_end)
    GD_TRY(clash(reader, "diffusion.beta_start", "diffusion.beta_end",
                 "must be below diffusion.beta_end, %g is not below %g", config->diffusion.beta_start,
                 config->diffusion.beta_end));
  GD_TRY(check_path(reader));
  GD_TRY(check_sampling(
      reader, (sampling_keys){"replay.sampler", "replay.steps", "replay.eta", "replay.guidance", "replay.timesteps"},
      &config->replay.sampling));
  GD_TRY(check_replay_limit(reader));
  GD_TRY(check_coupling(reader));
  GD_TRY(check_buffer(reader));
  GD_TRY(check_regulariser(reader));
  GD_TRY(check_isolated(reader));
  GD_TRY(check_partial(reader));
  GD_TRY(check_amount(reader));
  GD_TRY(check_pool_targets(reader));
  GD_TRY(check_refresh(reader));
  GD_TRY(check_balance(reader));
  GD_TRY(check_solver(reader));
  GD_TRY(check_pool_limits(reader));
  GD_TRY(check_sampling(reader,
                        (sampling_keys){"evaluation.sampler", "evaluation.steps", "evaluation.eta",
                                        "evaluation.guidance", "evaluation.timesteps"},
                        &config->evaluation.sampling));
  GD_TRY(check_slots(reader, "training.slots", config->training.slots));
  if (config->training.slots > config->training.batch_size)
    GD_TRY(clash(reader, "training.slots", "training.batch_size",
                 "must be at most training.batch_size (%d), is '%d': a slot needs an image of each batch",
                 config->training.batch_size, config->training.slots));
  GD_TRY(check_slots(reader, "classifier.slots", config->classifier.slots));
  GD_TRY(check_classifier_batch(reader));
  if (config->evaluation.measures && config->evaluation.samples < 2)
    GD_TRY(clash(reader, "evaluation.samples", "evaluation.measures",
                 "must be at least 2 where evaluation.measures is true, is '%d'", config->evaluation.samples));
  if (config->evaluation.features == GD_INCEPTION_V3 && strcmp(config->evaluation.inception_weights, "none") == 0)
    GD_TRY(clash(reader, "evaluation.inception_weights", "evaluation.features",
                 "must name a file where evaluation.features is inception_v3"));
done:
  return err;
}
