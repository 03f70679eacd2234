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

bool gd_config_is_given(const gd_config_reader *reader, const char *path) {
  return reader->where[row_of_key(path)] != NULL;
}

gd_err gd_config_clash(const gd_config_reader *reader, const char *path, const char *other, const char *format, ...) {
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
    return gd_config_clash(reader, channels, NULL, "the first must be even, for the time embedding, is '%d'",
                           model->block_out_channels[0]);
  for (int i = 0; i < model->n_levels; i++) {
    int n = model->block_out_channels[i];
    if (n % model->norm_num_groups != 0)
      return gd_config_clash(reader, "model.norm_num_groups", channels,
                             "must divide every channel count, %d does not divide %d", model->norm_num_groups, n);
    bool attends = model->attention[i] || i == model->n_levels - 1;  // the middle block has the last level's width
    if (attends && model->attention_head_dim > 0 && n % model->attention_head_dim != 0)
      return gd_config_clash(
          reader, head, channels,
          "must divide the channels of each level with attention and of the last, %d does not divide %d",
          model->attention_head_dim, n);
  }
  return GD_OK;
}

static gd_err check_model(const gd_config_reader *reader) {
  const gd_config *config = reader->config;
  int n = config->model.n_levels, multiple = 1 << (n - 1);
  if (reader->n_attention != n)
    return gd_config_clash(reader, "model.attention", "model.block_out_channels",
                           "must have as many entries as model.block_out_channels, has %d, not %d", reader->n_attention,
                           n);
  if (config->dataset.image_size % multiple != 0)
    return gd_config_clash(reader, "dataset.image_size", "model.block_out_channels",
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
        return gd_config_clash(reader, "tasks.order", NULL, "class %d does not exist, %s has 0 to %d", class,
                               gd_dataset_name(config->dataset.name), n_classes - 1);
      if (seen[class]) return gd_config_clash(reader, "tasks.order", NULL, "class %d is listed twice", class);
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
    return gd_config_clash(reader, "tasks.count", "tasks.order", "%d classes cannot be divided into %d equal tasks",
                           n_classes, tasks->count);
  }
  int listed = 0;
  while (listed < GD_MAX_CLASSES && tasks->n_classes[listed] > 0) listed++;
  if (gd_config_is_given(reader, "tasks.count") && tasks->count != listed)
    return gd_config_clash(reader, "tasks.count", NULL, "is '%d', but tasks.order lists %d tasks", tasks->count,
                           listed);
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
    return gd_config_clash(reader, keys.guidance, NULL, "needs model.conditional, is '%g'", sampling->guidance);
  if (config->training.label_dropout == 0)
    return gd_config_clash(reader, keys.guidance, NULL,
                           "needs training.label_dropout above 0, so that the network learns the null class");
  return GD_OK;
}

static gd_err check_sampler(const gd_config_reader *reader, sampling_keys keys, gd_sampling *sampling) {
  gd_path_id path = reader->config->diffusion.path;
  if (!gd_config_is_given(reader, keys.sampler)) sampling->sampler = gd_sampler_of_path(path);
  if ((gd_sampler_get(sampling->sampler)->paths >> path) & 1) return GD_OK;
  char names[160];
  list_samplers(path, names);
  return gd_config_clash(reader, keys.sampler, "diffusion.path", "must be %s for diffusion.path %s, is '%s'", names,
                         gd_path_name(path), gd_sampler_name(sampling->sampler));
}

static gd_err check_timesteps(const gd_config_reader *reader, sampling_keys keys, const gd_sampling *sampling) {
  int timesteps = reader->config->diffusion.timesteps, n = sampling->n_timesteps;
  const int *list = sampling->timesteps;
  if (n == 0) return GD_OK;
  if (gd_sampler_get(sampling->sampler)->takes_all_timesteps)
    return gd_config_clash(reader, keys.timesteps, NULL, "the sampler %s takes all %d timesteps: leave the key out",
                           gd_sampler_name(sampling->sampler), timesteps);
  if (list[0] >= timesteps)
    return gd_config_clash(reader, keys.timesteps, "diffusion.timesteps",
                           "must be below diffusion.timesteps (%d), has '%d'", timesteps, list[0]);
  for (int i = 1; i < n; i++)
    if (list[i] >= list[i - 1])
      return gd_config_clash(reader, keys.timesteps, NULL, "must fall, has %d behind %d", list[i], list[i - 1]);
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
  if (gd_config_is_given(reader, keys.steps) && settled.steps != sampling->steps && sampling->n_timesteps == 0)
    return gd_config_clash(reader, keys.steps, NULL,
                           "the sampler %s takes all %d timesteps: leave the key out, is '%d'", name, timesteps,
                           sampling->steps);
  if (gd_config_is_given(reader, keys.eta) && settled.eta != sampling->eta)
    return gd_config_clash(reader, keys.eta, NULL, "the sampler %s has eta %g: leave the key out, is '%g'", name,
                           settled.eta, sampling->eta);
  *sampling = settled;
  if (sampling->steps > timesteps)
    err = gd_config_clash(reader, keys.steps, "diffusion.timesteps",
                          "must be at most diffusion.timesteps (%d), is '%d'", timesteps, sampling->steps);
done:
  return err;
}

// What straight paths leave no choice of.
static gd_err check_path(const gd_config_reader *reader) {
  gd_diffusion *diffusion = &reader->config->diffusion;
  if (!gd_path_get(diffusion->path)->is_straight) return GD_OK;
  const char *name = gd_path_name(diffusion->path);
  if (!gd_config_is_given(reader, "diffusion.prediction")) diffusion->prediction = GD_OBJECTIVE_v;
  if (diffusion->prediction != GD_OBJECTIVE_v)
    return gd_config_clash(reader, "diffusion.prediction", NULL, "must be v for diffusion.path %s", name);
  if (diffusion->loss_weight != GD_WEIGHT_NONE)
    return gd_config_clash(reader, "diffusion.loss_weight", NULL, "must be none for diffusion.path %s", name);
  return GD_OK;
}

static gd_err check_slots(const gd_config_reader *reader, const char *key, int slots) {
  if ((slots & (slots - 1)) == 0) return GD_OK;
  return gd_config_clash(reader, key, NULL, "must be a power of two, is '%d'", slots);
}

// Batch statistics are taken per slot: all slots must have the same number of images, and at least two.
static gd_err check_classifier_batch(const gd_config_reader *reader) {
  int batch = reader->config->classifier.batch_size, slots = reader->config->classifier.slots;
  if (batch % slots == 0 && batch >= 2 * slots) return GD_OK;
  return gd_config_clash(reader, "classifier.batch_size", "classifier.slots",
                         "must be a multiple of classifier.slots (%d) and at least twice as large, is '%d'", slots,
                         batch);
}

static void set_default(const gd_config_reader *reader, const char *path, char **text, const char *value) {
  if (gd_config_is_given(reader, path)) return;
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
  if (!dataset->path && !gd_config_is_given(reader, "dataset.path"))
    return gd_config_clash(reader, "dataset.path", "dataset.name", "must name the folder with the files of %s", name);
  if (gd_config_is_given(reader, "dataset.path") && there != id)
    gd_log(GD_LOG_WARN, "dataset.name is %s, but dataset.path is %s, the folder of %s", name, config->dataset.path,
           gd_dataset_name(there));
  if (dataset->path) set_default(reader, "dataset.path", &config->dataset.path, dataset->path);
  char *directory = gd_format("runs/%s_gd", name);
  set_default(reader, "output.directory", &config->output.directory, directory);
  gd_free(directory);
  config->model.n_classes = config->model.conditional ? dataset->n_classes : 0;
  if (!gd_config_is_given(reader, "classifier.horizontal_flip")) config->classifier.horizontal_flip = dataset->mirrors;
  return GD_OK;
}

gd_err gd_config_validate(gd_config_reader *reader) {
  gd_config *config = reader->config;
  gd_err err = GD_OK;
  GD_TRY(settle_dataset(reader));
  GD_TRY(check_tasks(reader));
  GD_TRY(check_model(reader));
  if (config->diffusion.beta_start >= config->diffusion.beta_end)
    GD_TRY(gd_config_clash(reader, "diffusion.beta_start", "diffusion.beta_end",
                           "must be below diffusion.beta_end, %g is not below %g", config->diffusion.beta_start,
                           config->diffusion.beta_end));
  GD_TRY(check_path(reader));
  GD_TRY(check_sampling(
      reader, (sampling_keys){"replay.sampler", "replay.steps", "replay.eta", "replay.guidance", "replay.timesteps"},
      &config->replay.sampling));
  GD_TRY(gd_config_validate_strategy(reader));
  GD_TRY(check_sampling(reader,
                        (sampling_keys){"evaluation.sampler", "evaluation.steps", "evaluation.eta",
                                        "evaluation.guidance", "evaluation.timesteps"},
                        &config->evaluation.sampling));
  GD_TRY(check_slots(reader, "training.slots", config->training.slots));
  if (config->training.slots > config->training.batch_size)
    GD_TRY(gd_config_clash(reader, "training.slots", "training.batch_size",
                           "must be at most training.batch_size (%d), is '%d': a slot needs an image of each batch",
                           config->training.batch_size, config->training.slots));
  GD_TRY(check_slots(reader, "classifier.slots", config->classifier.slots));
  GD_TRY(check_classifier_batch(reader));
  if (config->evaluation.measures && config->evaluation.samples < 2)
    GD_TRY(gd_config_clash(reader, "evaluation.samples", "evaluation.measures",
                           "must be at least 2 where evaluation.measures is true, is '%d'",
                           config->evaluation.samples));
  if (config->evaluation.features == GD_INCEPTION_V3 && strcmp(config->evaluation.inception_weights, "none") == 0)
    GD_TRY(gd_config_clash(reader, "evaluation.inception_weights", "evaluation.features",
                           "must name a file where evaluation.features is inception_v3"));
done:
  return err;
}
