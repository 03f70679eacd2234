/* The one table of configuration keys, and looking a key up in it.
 *
 * A new key is one row here and one member of gd_config; what depends on several keys is in validate.c. */
#include "config/keys.h"

#include <string.h>

static const char *const dataset_names[] = {"fashion_mnist", "mnist", "cifar10", NULL};
// In the order of the names. Of the three only Fashion-MNIST is a package of a distribution. A mirrored digit is no
// digit.
static const gd_dataset_row datasets[] = {
    {.path = "/usr/share/datasets/fashion-mnist", .channels = 1, .mirrors = true},
    {.path = NULL, .channels = 1, .mirrors = false},
    {.path = NULL, .channels = 3, .mirrors = true},
};
static const char *const strategies[] = {
    "finetune", "joint", "cumulative", "generative_replay", "generative_distillation", "lwf", "gaussian", NULL};
static const char *const samplers[] = {"ddim", "ddpm", NULL};
static const char *const sources[] = {"online", "pool", NULL};
static const char *const precisions[] = {"float32", "bfloat16", NULL};
static const char *const nonfinites[] = {"stop", "skip", NULL};
static const char *const extractors[] = {"resnet18", "inception_v3", NULL};
static const char *const reductions[] = {"tree", "fast", NULL};

_Static_assert(sizeof(gd_strategy_id) == sizeof(int) && sizeof(gd_reduction) == sizeof(int) &&
                   sizeof(gd_extractor) == sizeof(int),
               "choices are stored as int");

// path, type, member, least, largest, choices, default, FREE: may differ when a run is resumed, doc
#define ROW(path, type, member, min, max, choices, fallback, free, doc) \
  { path, type, offsetof(gd_config, member), min, max, choices, fallback, free, doc }
// keys called like the member
#define NUMBER(type, member, min, max, fallback, free, doc) \
  ROW(#member, GD_KEY_##type, member, min, max, NULL, fallback, free, doc)
#define CHOICE(member, choices, fallback, free, doc) \
  ROW(#member, GD_KEY_CHOICE, member, 0, 0, choices, fallback, free, doc)
#define VALUE(type, member, fallback, free, doc) ROW(#member, GD_KEY_##type, member, 0, 0, NULL, fallback, free, doc)
#define SAME                                     false
#define FREE                                     true

// clang-format off
const gd_key gd_keys[GD_N_KEYS] = {
    VALUE(SEED, seed, "42", SAME, "keys every random number"),

    CHOICE(dataset.name, dataset_names, "fashion_mnist", SAME, "fashion_mnist, mnist or cifar10"),
    VALUE(TEXT, dataset.path, "none", FREE, "folder with the data set's files; only fashion_mnist has a default"),
    NUMBER(INT, dataset.image_size, 8, 1024, "32", SAME, "images are resized to this many pixels a side"),
    NUMBER(INT, dataset.limit, 0, 2147483647, "0", SAME, "at most so many training images a task; 0: all"),
    VALUE(BOOL, dataset.horizontal_flip, "false", SAME, "mirror half of the training images"),

    NUMBER(INT, tasks.count, 1, GD_MAX_CLASSES, "5", SAME, "tasks, one after the other"),
    ROW("tasks.order", GD_KEY_TASK_ORDER, tasks, 0, GD_MAX_CLASSES - 1, NULL, "seeded", SAME,
        "seeded, or a list of the classes of each task"),

    NUMBER(CHANNELS, model.block_out_channels, 2, 16384, "[64, 128, 256, 512]", SAME, "channels of each level"),
    NUMBER(INT, model.layers_per_block, 1, 16, "1", SAME, "ResNet blocks a level"),
    VALUE(ATTENTION, model.attention, "[false, false, false, true]", SAME, "which levels have attention"),
    NUMBER(INT, model.attention_head_dim, 0, 16384, "8", SAME, "channels a head; 0: one head"),
    NUMBER(INT, model.norm_num_groups, 1, 16384, "32", SAME, "groups of the group normalisation"),

    NUMBER(INT, diffusion.timesteps, 2, 100000, "1000", SAME, "T"),
    NUMBER(REAL, diffusion.beta_start, 1e-9, 0.999, "0.0001", SAME, "first beta of the linear schedule"),
    NUMBER(REAL, diffusion.beta_end, 1e-6, 0.999, "0.02", SAME, "last beta"),
    VALUE(BOOL, diffusion.zero_terminal_snr, "true", SAME, "rescale so that x_T is pure noise"),

    CHOICE(strategy.name, strategies, "generative_distillation", SAME, "how earlier tasks are kept"),
    NUMBER(REAL, strategy.lambda, 0, 1e6, "0.75", SAME, "weight of the replay loss"),

    ROW("replay.sampler", GD_KEY_CHOICE, replay.sampling.sampler, 0, 0, samplers, "ddim", SAME,
        "ddim, or ddpm: all timesteps with eta 1"),
    ROW("replay.steps", GD_KEY_INT, replay.sampling.steps, 1, 100000, NULL, "2", SAME,
        "sampling steps of the teacher"),
    ROW("replay.eta", GD_KEY_REAL, replay.sampling.eta, 0, 1, NULL, "0.0", SAME,
        "0: deterministic DDIM"),
    NUMBER(INT, replay.batch, 0, 65536, "0", SAME, "replay images a step; 0: as many as training.batch_size"),
    CHOICE(replay.source, sources, "online", SAME, "generated images: new ones each step, or from a pool"),
    NUMBER(INT, replay.pool_images, 1, 100000000, "10000", SAME, "images of a task's pool"),
    NUMBER(INT, replay.limit_images, 0, 2147483647, "0", SAME, "most images generated a task; 0: no limit"),
    NUMBER(INT, replay.limit_evaluations, 0, 2147483647, "0", SAME, "most runs of the teacher a task; 0: no limit"),
    NUMBER(REAL, replay.limit_seconds, 0, 1e9, "0.0", SAME, "most seconds of replay a task; 0: no limit"),

    NUMBER(INT, training.epochs, 1, 1000000, "100", SAME, "passes over a task's images"),
    NUMBER(INT, training.batch_size, 1, 65536, "128", SAME, "current images a step, over all ranks"),
    NUMBER(REAL, training.learning_rate, 1e-12, 10, "0.0002", SAME, "of Adam"),
    NUMBER(REAL, training.gradient_clip, 0, 1e9, "1.0", SAME, "largest gradient norm; 0: off"),
    CHOICE(training.precision, precisions, "float32", SAME, "float32"),
    CHOICE(training.reduction, reductions, "tree", SAME, "tree: same bits on any number of ranks; fast"),
    NUMBER(INT, training.slots, 1, 1024, "8", SAME, "parts of a batch, a power of two; at least one a rank"),
    NUMBER(REAL, training.ema_decay, 0, 0.999999, "0.0", SAME,
        "averaging of the parameters, with a warm-up in each task; 0: off"),
    CHOICE(training.nonfinite, nonfinites, "stop", FREE,
        "a step whose loss or gradient is not finite: stop, or skip; 100 skipped in a row, or all of a task, is an error"),

    NUMBER(INT, evaluation.samples, 0, 100000000, "10000", FREE, "images generated after each task; 0: none"),
    ROW("evaluation.sampler", GD_KEY_CHOICE, evaluation.sampling.sampler, 0, 0, samplers, "ddim", FREE,
        "ddim, or ddpm: all timesteps with eta 1"),
    ROW("evaluation.steps", GD_KEY_INT, evaluation.sampling.steps, 1, 100000, NULL, "10", FREE,
        "sampling steps"),
    ROW("evaluation.eta", GD_KEY_REAL, evaluation.sampling.eta, 0, 1, NULL, "0.0", FREE,
        "0: deterministic DDIM"),

    VALUE(BOOL, evaluation.measures, "false", FREE, "train measures after each task"),
    CHOICE(evaluation.features, extractors, "resnet18", FREE, "resnet18: trained here; inception_v3: from a file"),
    VALUE(TEXT, evaluation.inception_weights, "none", FREE, "file of weights for inception_v3, or none"),
    VALUE(TEXT, evaluation.cache, "runs/cache", FREE, "folder of classifiers and real images' statistics"),

    VALUE(SEED, classifier.seed, "0", FREE, "of the evaluation classifier, the same for all runs"),
    NUMBER(INT, classifier.image_size, 16, 1024, "32", FREE, "smaller images are enlarged to this many pixels a side"),
    NUMBER(INT, classifier.limit, 0, 2147483647, "0", FREE, "at most so many training images; 0: all"),
    NUMBER(INT, classifier.epochs, 1, 1000000, "5", FREE, "passes over all training images"),
    NUMBER(INT, classifier.batch_size, 2, 65536, "256", FREE, "images a step, over all ranks"),
    NUMBER(REAL, classifier.learning_rate, 1e-12, 10, "0.001", FREE, "of Adam, falling to zero along a cosine"),
    NUMBER(INT, classifier.slots, 1, 1024, "4", FREE, "parts of a batch, a power of two; more ranks stay idle"),
    NUMBER(INT, classifier.shift, 0, 64, "2", FREE, "training images move by up to so many pixels"),
    VALUE(BOOL, classifier.horizontal_flip, "true", FREE, "mirror half of the training images; not by default for mnist"),

    NUMBER(INT, solver.epochs, 0, 1000000, "20", FREE, "passes over a task's images; 0: no solver"),
    NUMBER(INT, solver.batch_size, 1, 65536, "128", FREE, "real images a step, and as many generated ones"),
    NUMBER(REAL, solver.learning_rate, 1e-12, 10, "0.001", FREE, "of Adam"),
    NUMBER(REAL, solver.temperature, 0.01, 1000, "2.0", FREE, "of the previous solver's soft labels"),

    VALUE(TEXT, output.directory, "none", FREE, "folder of the run; by default runs/<dataset.name>_gd"),
    NUMBER(REAL, output.checkpoint_minutes, 0, 1e6, "10.0", FREE, "minutes between checkpoints; 0: off"),
    NUMBER(INT, output.checkpoint_steps, 0, 2147483647, "0", FREE, "steps between checkpoints; 0: off"),
    NUMBER(INT, output.keep, 1, 1000000, "3", FREE, "newest checkpoints kept besides those at the end of a task"),
    NUMBER(REAL, output.stop_seconds, 0, 1e6, "120.0", FREE, "train stops so long before a time limit"),

    NUMBER(REAL, comm.timeout_seconds, 0, 1e9, "600.0", FREE, "a job that stands still for so long is ended; 0: never"),
};
// clang-format on

const char *gd_strategy_name(gd_strategy_id id) {
  GD_REQUIRE(id < GD_N_STRATEGIES);
  return strategies[id];
}

const char *gd_dataset_name_text(gd_dataset_name name) {
  GD_REQUIRE(name <= GD_CIFAR10);
  return dataset_names[name];
}

const gd_dataset_row *gd_dataset_get(gd_dataset_name name) {
  GD_REQUIRE(name <= GD_CIFAR10);
  return &datasets[name];
}

int gd_dataset_channels(gd_dataset_name name) {
  return gd_dataset_get(name)->channels;
}

const char *gd_extractor_name(gd_extractor extractor) {
  GD_REQUIRE(extractor <= GD_INCEPTION_V3);
  return extractors[extractor];
}

int gd_key_find(const char *path) {
  for (int i = 0; i < GD_N_KEYS; i++)
    if (strcmp(gd_keys[i].path, path) == 0) return i;
  return -1;
}

bool gd_key_is_section(const char *path) {
  size_t length = strlen(path);
  if (length == 0) return true;
  for (int i = 0; i < GD_N_KEYS; i++)
    if (strncmp(gd_keys[i].path, path, length) == 0 && gd_keys[i].path[length] == '.') return true;
  return false;
}

// Levenshtein distance; `a` has at most 63 characters.
static int edit_distance(const char *a, const char *b) {
  int row[64];
  int n = (int)strlen(a);
  for (int i = 0; i <= n; i++) row[i] = i;
  for (int j = 0; b[j]; j++) {
    int diagonal = row[0];
    row[0] = j + 1;
    for (int i = 1; i <= n; i++) {
      int best = diagonal + (a[i - 1] != b[j]);
      if (row[i] + 1 < best) best = row[i] + 1;
      if (row[i - 1] + 1 < best) best = row[i - 1] + 1;
      diagonal = row[i];
      row[i] = best;
    }
  }
  return row[n];
}

static const char *leaf(const char *path) {
  const char *dot = strrchr(path, '.');
  return dot ? dot + 1 : path;
}

// A candidate wins with the fewest edits; a key that only stands in the wrong section counts as one.
static void consider(const char *path, const char *candidate, int *least, char **nearest) {
  int distance = strcmp(leaf(path), leaf(candidate)) == 0 ? 1 : edit_distance(candidate, path);
  if (distance >= *least) return;
  *least = distance;
  gd_free(*nearest);
  *nearest = gd_strdup(candidate);
}

char *gd_key_nearest(const char *path) {
  if (strlen(path) > 60) return NULL;
  char *nearest = NULL;
  int least = strlen(leaf(path)) < 6 ? 3 : 4;
  for (int i = 0; i < GD_N_KEYS; i++) {
    consider(path, gd_keys[i].path, &least, &nearest);
    char *section = gd_strdup(gd_keys[i].path);
    char *dot = strchr(section, '.');
    if (dot) *dot = 0;
    consider(path, section, &least, &nearest);
    gd_free(section);
  }
  return nearest;
}
