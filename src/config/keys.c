/* The one table of configuration keys, and looking a key up in it.
 *
 * A new key is one row here and one member of gd_config; what depends on several keys is in validate.c. */
#include "config/keys.h"

#include <string.h>

static const char *const datasets[] = {GD_DATASETS(GD_LIST_NAME) NULL};
static const char *const paths[] = {GD_PATHS(GD_LIST_NAME) NULL};
static const char *const objectives[] = {GD_OBJECTIVES(GD_LIST_NAME) NULL};
static const char *const strategies[] = {GD_STRATEGIES(GD_LIST_NAME) NULL};
static const char *const samplers[] = {GD_SAMPLERS(GD_LIST_NAME) NULL};
static const char *const sources[] = {GD_GENERATED_SOURCES(GD_LIST_NAME) NULL};
static const char *const loss_weightings[] = {"none", "min_snr", NULL};
static const char *const teachers[] = {"ema", "raw", NULL};
static const char *const regularisers[] = {"none", GD_REGULARISERS(GD_LIST_NAME) NULL};
static const char *const fisher_terms[] = {"online", "task", NULL};
static const char *const weightings[] = {"task", "none", NULL};
static const char *const buffer_counts[] = {"total", "class", NULL};
static const char *const pool_balances[] = {"none", "solver", NULL};
static const char *const solver_methods[] = {"generated", "finetune", "cumulative", "lwf", "ewc", "si", NULL};
static const char *const solver_replays[] = {"sample_set", "fresh", NULL};
static const char *const solver_losses[] = {"standard", "reference", NULL};
static const char *const rate_schedules[] = {"constant", "cosine", "linear", NULL};
static const char *const precisions[] = {"float32", "bfloat16", NULL};
static const char *const nonfinites[] = {"stop", "skip", NULL};
static const char *const extractors[] = {"resnet18", "inception_v3", NULL};
static const char *const reductions[] = {"tree", "fast", NULL};

_Static_assert(sizeof(gd_strategy_id) == sizeof(int) && sizeof(gd_reduction) == sizeof(int) &&
                   sizeof(gd_extractor) == sizeof(int),
               "choices are stored as int");

// path, type, member, minimum, maximum, choices, default, FREE: may differ when a run is resumed, doc
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
const gd_key gd_keys[] = {
    VALUE(SEED, seed, "42", SAME,
        "Seed of all random numbers of the run, except those of the evaluation classifier."),

    CHOICE(dataset.name, datasets, "fashion_mnist", SAME,
        "The data set."),
    VALUE(TEXT, dataset.path, "none", FREE,
        "Folder with the IDX files or CIFAR-10's binary files, gzipped or not. Only fashion_mnist has a default."),
    NUMBER(INT, dataset.image_size, 8, 1024, "32", SAME,
        "Pixels per side to which images are resized: bilinear when enlarged, area averages when reduced. Divisible "
        "by 2^(L-1) for a model of L levels."),
    NUMBER(INT, dataset.limit, 0, 2147483647, "0", SAME,
        "Maximum number of training images per task, chosen by the seed; 0: all."),
    VALUE(BOOL, dataset.horizontal_flip, "false", SAME,
        "Mirror each training image with probability 1/2 whenever it is used."),

    NUMBER(INT, tasks.count, 1, GD_MAX_CLASSES, "5", SAME,
        "Number of tasks. With a seeded order it must divide the number of classes; a listed order determines it."),
    ROW("tasks.order", GD_KEY_TASK_ORDER, tasks, 0, GD_MAX_CLASSES - 1, NULL, "seeded", SAME,
        "seeded: the seed distributes the classes evenly over the tasks. A list gives the classes of each task, such "
        "as [[0, 1], [2, 3]]."),

    NUMBER(CHANNELS, model.block_out_channels, 2, 16384, "[64, 128, 256, 512]", SAME,
        "Channels of each level of the U-Net (diffusers' UNet2DModel), one entry per level; at most 8 levels."),
    NUMBER(INT, model.layers_per_block, 1, 16, "1", SAME,
        "ResNet blocks per level."),
    VALUE(ATTENTION, model.attention, "[false, false, false, true]", SAME,
        "Levels that have self-attention, one entry per level."),
    NUMBER(INT, model.attention_head_dim, 0, 16384, "8", SAME,
        "Channels per attention head, a divisor of the channels of the levels with attention and of the last level; "
        "0: one head."),
    NUMBER(INT, model.norm_num_groups, 1, 16384, "32", SAME,
        "Groups of the group normalisation, a divisor of the channels of every level."),
    NUMBER(REAL, model.dropout, 0, 0.99, "0.0", SAME,
        "Probability with which each value in front of the second convolution of a ResNet block is left out in training."),
    VALUE(BOOL, model.conditional, "false", SAME,
        "Condition the network on the class of the image: class-conditional generation, with a null class."),

    CHOICE(diffusion.path, paths, "diffusion", SAME,
        "How images become noise. diffusion: by the betas below; flow: on straight lines (flow matching, rectified "
        "flow), for which no beta counts."),
    NUMBER(INT, diffusion.timesteps, 2, 100000, "1000", SAME,
        "Number of timesteps T of the diffusion process."),
    NUMBER(REAL, diffusion.beta_start, 1e-9, 0.999, "0.0001", SAME,
        "beta at the first timestep of the linear schedule, below diffusion.beta_end."),
    NUMBER(REAL, diffusion.beta_end, 1e-6, 0.999, "0.02", SAME,
        "beta at the last timestep."),
    VALUE(BOOL, diffusion.zero_terminal_snr, "true", SAME,
        "Rescale the schedule so that the last timestep is pure noise."),
    CHOICE(diffusion.prediction, objectives, "epsilon", SAME,
        "What the network predicts. epsilon: the noise; x0: the image; v: the velocity, alpha epsilon - sigma x0, or "
        "epsilon - x0 for path flow, which requires it and has it as default."),
    CHOICE(diffusion.loss_weight, loss_weightings, "none", SAME,
        "Weight of each image's squared error. min_snr: by the signal-to-noise ratio of its timestep, with gamma 5; "
        "not for path flow."),

    CHOICE(strategy.name, strategies, "generative_distillation", SAME,
        "How earlier tasks are kept: what is replayed and what the network learns from it. See "
        "src/strategy/README.md."),
    NUMBER(REAL, strategy.lambda, 0, 1e6, "0.75", SAME,
        "Weight of the replay loss."),
    CHOICE(strategy.teacher, teachers, "ema", SAME,
        "What the teacher is a copy of: ema, the moving average of the parameters where training.ema_decay is above 0; "
        "raw, the parameters themselves."),
    CHOICE(strategy.weighting, weightings, "task", SAME,
        "Weights of the loss at task i. task: L_data / i + (1 - 1/i) lambda L_replay; none: L_data + lambda L_replay."),
    CHOICE(strategy.regulariser, regularisers, "none", SAME,
        "Penalty that keeps parameters near those of earlier tasks, with any strategy that learns task after task: ewc, "
        "ewc_rank1, si. The strategies of these names are finetune with the penalty."),
    NUMBER(REAL, strategy.regulariser_lambda, 0, 1e12, "1.0", SAME,
        "Weight of the penalty."),
    NUMBER(INT, strategy.fisher_images, 1, 100000000, "256", SAME,
        "Images of a task from which ewc and ewc_rank1 estimate the Fisher information at its end."),
    CHOICE(strategy.fisher_terms, fisher_terms, "online", SAME,
        "Penalty of ewc. online: one term, from the newest parameters, with the sum of the tasks' Fisher information; task: "
        "one term per task, each from the parameters at its end."),
    NUMBER(REAL, strategy.fisher_gamma, 0, 1, "1.0", SAME,
        "What online ewc keeps of the sum at each task: F <- F_new + gamma F_old."),
    NUMBER(REAL, strategy.si_xi, 1e-12, 1e6, "0.1", SAME,
        "Damping of si's importance, w / (change^2 + xi)."),

    ROW("replay.sampler", GD_KEY_CHOICE, replay.sampling.sampler, 0, 0, samplers, "ddim", SAME,
        "Sampler of the teacher's images. For path diffusion: ddim, ddpm, dpmpp_2m, unipc, heun; for flow: euler (the "
        "default there), midpoint, heun. ddpm takes all timesteps with eta 1, all others but ddim have eta 0; they "
        "refuse other values of replay.steps and replay.eta."),
    ROW("replay.steps", GD_KEY_INT, replay.sampling.steps, 1, 100000, NULL, "2", SAME,
        "Sampling steps of the teacher per image, at most diffusion.timesteps. Evaluations: midpoint two per step, "
        "heun two but for the last step, all others one."),
    ROW("replay.guidance", GD_KEY_REAL, replay.sampling.guidance, 0, 100, NULL, "0.0", SAME,
        "Weight w of classifier-free guidance, (1 + w) f(label) - w f(null class), for model.conditional; above 0 it "
        "doubles the evaluations."),
    ROW("replay.timesteps", GD_KEY_TIMESTEPS, replay.sampling, 0, 99999, NULL, "[]", SAME,
        "Timesteps at which the steps begin, falling, such as [899, 499], in place of replay.steps evenly spaced ones; "
        "[]: those."),
    ROW("replay.eta", GD_KEY_REAL, replay.sampling.eta, 0, 1, NULL, "0.0", SAME,
        "Noise added in the sampling steps; 0: deterministic DDIM, 1: as much as DDPM."),
    VALUE(BOOL, replay.coupled, "false", SAME,
        "Noise each generated image with the noise that the teacher made it from (reflow), not with new noise; for path "
        "flow."),
    NUMBER(INT, replay.batch, 0, 65536, "0", SAME,
        "Replay images per training step, over all ranks; 0: as many as training.batch_size. lwf requires 0 or that "
        "number."),
    VALUE(BOOL, replay.growing, "false", SAME,
        "Multiply the replay images per training step by the number of earlier tasks. Not for lwf."),
    NUMBER(REAL, replay.skip_snr, 0, 1e6, "0.0", SAME,
        "Do not sample an image whose timestep has a signal-to-noise ratio below this, where the noised image hardly depends "
        "on it: take a current image; 0: sample all. For generative_distillation and generative_replay with source online."),
    CHOICE(replay.source, sources, "online", SAME,
        "online: the teacher generates new images for each step; pool: the images come from a pool that it generates "
        "once per task."),
    NUMBER(INT, replay.pool_images, 1, 100000000, "10000", SAME,
        "Images in the pool of a task."),
    VALUE(BOOL, replay.pool_targets, "false", SAME,
        "Let the pool of generative_distillation keep the teacher's answer for each of its images, at one timestep and noise of "
        "the image's own, instead of asking the teacher in each step."),
    NUMBER(REAL, replay.pool_refresh, 0, 1, "0.0", SAME,
        "Share of the pool's images that are made anew at the beginning of each epoch but the first, in turn; 0: none."),
    CHOICE(replay.pool_balance, pool_balances, "none", SAME,
        "solver: draw equally many images of each earlier class from a pool, as the solver of the task before labels them, "
        "which evaluation.measures trains after each task; none: draw all that were made."),
    NUMBER(INT, replay.pool_candidates, 1, 100, "2", SAME,
        "Images that the teacher makes for each of the replay.pool_images images of a balanced pool."),
    NUMBER(INT, replay.buffer_images, 1, 100000000, "1000", SAME,
        "Real images that experience_replay and experience_distillation keep of the earlier tasks, equally many of each "
        "class; only their indices are stored."),
    CHOICE(replay.buffer_per, buffer_counts, "total", SAME,
        "What replay.buffer_images counts: total, all of them, which the classes share; class, those of each class."),
    NUMBER(INT, replay.limit_images, 0, 2147483647, "0", SAME,
        "Maximum number of images generated per task; 0: no limit."),
    NUMBER(INT, replay.limit_evaluations, 0, 2147483647, "0", SAME,
        "Maximum number of teacher evaluations (NFE, one image each) per task, at least twice those of one image; 0: "
        "no limit."),
    NUMBER(REAL, replay.limit_seconds, 0, 1e9, "0.0", SAME,
        "Maximum time for replay per task, in seconds; 0: no limit."),

    NUMBER(INT, training.epochs, 1, 1000000, "100", SAME,
        "Passes over the training images of each task."),
    NUMBER(INT, training.batch_size, 1, 65536, "128", SAME,
        "Images of the current task per step, over all ranks."),
    NUMBER(REAL, training.learning_rate, 1e-12, 10, "0.0002", SAME,
        "Learning rate of Adam."),
    CHOICE(training.schedule, rate_schedules, "constant", SAME,
        "Learning rate over the steps of each task: constant, or falling to zero along a cosine or a line."),
    NUMBER(REAL, training.warmup, 0, 1, "0.0", SAME,
        "Share of a task's steps in which the learning rate first rises from zero along a line."),
    NUMBER(REAL, training.weight_decay, 0, 10, "0.0", SAME,
        "Weight decay of AdamW, in units of the learning rate; 0: Adam."),
    NUMBER(REAL, training.gradient_clip, 0, 1e9, "1.0", SAME,
        "Maximum norm of the gradient; a larger gradient is scaled down to it. 0: no clipping."),
    CHOICE(training.precision, precisions, "float32", SAME,
        "Precision of the feature maps and of the weights applied to them. A CPU without bfloat16 instructions uses "
        "float32, with a warning."),
    CHOICE(training.reduction, reductions, "tree", SAME,
        "Sum of the gradients. tree: the same bits on any number of ranks; fast: MPI's own order of summation."),
    NUMBER(INT, training.slots, 1, 65536, "8", SAME,
        "Micro-batches (slots) that a batch is divided into: a power of two, at least the number of ranks, at most "
        "training.batch_size."),
    NUMBER(REAL, training.ema_decay, 0, 0.999999, "0.0", SAME,
        "Decay of the moving average of the parameters; 0: no average. At step n of a task it is at most (1 + n) / "
        "(10 + n)."),
    VALUE(TEXT, training.init, "none", FREE,
        "File of weights that a new run begins with: a checkpoint, whose averaged parameters are taken where it has some, "
        "or safetensors; none: random weights. train --init sets it. A resumed run goes on from its own checkpoint."),
    NUMBER(REAL, training.label_dropout, 0, 1, "0.1", SAME,
        "Share of the images whose label is the null class instead of their own, for model.conditional; guidance needs "
        "it above 0."),
    CHOICE(training.nonfinite, nonfinites, "stop", FREE,
        "What to do if the loss or gradient of a step is not finite. stop: end the run; skip: leave the step out. 100 "
        "skipped steps in a row, or a task of skipped steps only, end the run with status 1."),

    NUMBER(INT, evaluation.samples, 0, 100000000, "10000", FREE,
        "Images generated after each task; 0: none."),
    ROW("evaluation.sampler", GD_KEY_CHOICE, evaluation.sampling.sampler, 0, 0, samplers, "ddim", FREE,
        "Sampler of these images, as replay.sampler."),
    ROW("evaluation.steps", GD_KEY_INT, evaluation.sampling.steps, 1, 100000, NULL, "10", FREE,
        "Sampling steps per image, at most diffusion.timesteps."),
    ROW("evaluation.guidance", GD_KEY_REAL, evaluation.sampling.guidance, 0, 100, NULL, "0.0", FREE,
        "Weight of classifier-free guidance, as replay.guidance."),
    ROW("evaluation.timesteps", GD_KEY_TIMESTEPS, evaluation.sampling, 0, 99999, NULL, "[]", FREE,
        "Timesteps at which the steps begin, as replay.timesteps."),
    ROW("evaluation.eta", GD_KEY_REAL, evaluation.sampling.eta, 0, 1, NULL, "0.0", FREE,
        "Noise added in the sampling steps; 0: deterministic DDIM, 1: as much as DDPM."),

    VALUE(BOOL, evaluation.measures, "false", FREE,
        "Compute the metrics of src/eval/README.md after each task, as a part of train."),
    CHOICE(evaluation.features, extractors, "resnet18", FREE,
        "Network that extracts image features for the metrics. resnet18: the evaluation classifier; inception_v3: "
        "weights from a file."),
    VALUE(TEXT, evaluation.inception_weights, "none", FREE,
        "File with the weights of inception_v3 (safetensors or HDF5), or none."),
    VALUE(TEXT, evaluation.cache, "runs/cache", FREE,
        "Folder for trained classifiers and statistics of the real images; runs share it."),

    VALUE(SEED, classifier.seed, "0", FREE,
        "Seed of the evaluation classifier. It is not the run's seed, so runs share one classifier."),
    NUMBER(INT, classifier.image_size, 16, 1024, "32", FREE,
        "Pixels per side to which smaller images are enlarged."),
    NUMBER(INT, classifier.limit, 0, 2147483647, "0", FREE,
        "Maximum number of training images; 0: all."),
    NUMBER(INT, classifier.epochs, 1, 1000000, "5", FREE,
        "Passes over all training images."),
    NUMBER(INT, classifier.batch_size, 2, 65536, "256", FREE,
        "Images per step, over all ranks: a multiple of classifier.slots, at least two per slot."),
    NUMBER(REAL, classifier.learning_rate, 1e-12, 10, "0.001", FREE,
        "Initial learning rate of Adam; it falls to zero along a cosine."),
    NUMBER(INT, classifier.slots, 1, 32768, "4", FREE,
        "Micro-batches (slots) per batch, each with its own batch statistics: a power of two. More ranks than slots "
        "stay idle."),
    NUMBER(INT, classifier.shift, 0, 64, "2", FREE,
        "Maximum shift of the training images, in pixels."),
    VALUE(BOOL, classifier.horizontal_flip, "true", FREE,
        "Mirror each training image with probability 1/2. The default for mnist is false."),

    NUMBER(INT, solver.epochs, 0, 1000000, "20", FREE,
        "Passes over the training images of each task; 0: no solver."),
    CHOICE(solver.method, solver_methods, "generated", FREE,
        "What the solver learns besides the images of its task. generated: images of the generator; the others need no "
        "generator. finetune: nothing; cumulative: the images of all tasks so far; lwf: the answers of the solver before for "
        "the task's images; ewc, si: a penalty, with strategy.fisher_images and the keys behind it."),
    NUMBER(REAL, solver.lambda, 0, 1e12, "1.0", FREE,
        "Weight of the penalty of ewc and si; of lwf's loss at task i as a multiple of (i - 1)^2 / i."),
    NUMBER(INT, solver.batch_size, 1, 65536, "128", FREE,
        "Real images per step, and the same number of generated ones."),
    NUMBER(REAL, solver.learning_rate, 1e-12, 10, "0.001", FREE,
        "Learning rate of Adam."),
    NUMBER(REAL, solver.temperature, 0.01, 1000, "2.0", FREE,
        "Temperature of the soft labels by the previous solver."),
    CHOICE(solver.replay, solver_replays, "sample_set", FREE,
        "Generated images of the earlier classes. sample_set: the images of the sample set after the task before; fresh: the "
        "generator makes new ones for each step, as evaluation samples, as in the code of the paper's authors."),
    CHOICE(solver.loss, solver_losses, "standard", FREE,
        "Loss of generated images. standard: cross entropy of the soft labels; reference: with the two softmaxes swapped, as "
        "in the code of the paper's authors."),

    VALUE(TEXT, output.directory, "none", FREE,
        "Folder of the run. The default is runs/NAME_gd, where NAME is dataset.name."),
    NUMBER(REAL, output.checkpoint_minutes, 0, 1e6, "10.0", FREE,
        "Minutes between checkpoints; 0: off. The end of a task always writes one."),
    NUMBER(INT, output.checkpoint_steps, 0, 2147483647, "0", FREE,
        "Training steps between checkpoints within a task; 0: off."),
    NUMBER(INT, output.keep, 1, 1000000, "3", FREE,
        "Number of newest checkpoints that are kept, in addition to those at the end of each task."),
    NUMBER(REAL, output.stop_seconds, 0, 1e6, "120.0", FREE,
        "Seconds before a time limit at which train stops with a checkpoint."),
    VALUE(HINTS, output.mpi_hints, "{}", FREE,
        "Hints to MPI-IO for HDF5 files, as {striping_factor: 8, striping_unit: 1048576} for the stripes of a new file "
        "on Lustre. MPI ignores what it does not know; --log-level debug prints what it reports."),

    NUMBER(REAL, comm.timeout_seconds, 0, 1e9, "600.0", FREE,
        "Seconds without progress after which a job is ended, with a message that names the rank; 0: never."),
};
// clang-format on

const int gd_n_keys = sizeof gd_keys / sizeof *gd_keys;

const char *gd_strategy_name(gd_strategy_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_STRATEGIES);
  return strategies[id];
}

const char *gd_extractor_name(gd_extractor extractor) {
  GD_REQUIRE(extractor <= GD_INCEPTION_V3);
  return extractors[extractor];
}

int gd_key_find(const char *path) {
  for (int i = 0; i < gd_n_keys; i++)
    if (strcmp(gd_keys[i].path, path) == 0) return i;
  return -1;
}

bool gd_key_is_section(const char *path) {
  size_t length = strlen(path);
  if (length == 0) return true;
  for (int i = 0; i < gd_n_keys; i++)
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

// A candidate wins with the fewest edits; a key in the wrong section counts as one edit.
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
  for (int i = 0; i < gd_n_keys; i++) {
    consider(path, gd_keys[i].path, &least, &nearest);
    char *section = gd_strdup(gd_keys[i].path);
    char *dot = strchr(section, '.');
    if (dot) *dot = 0;
    consider(path, section, &least, &nearest);
    gd_free(section);
  }
  return nearest;
}
