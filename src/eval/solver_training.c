/* One task after the other: find the stored solver of a task or train it, then measure it on the test images. */
#include "eval/solver_training.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "eval/balance.h"
#include "eval/cache.h"
#include "eval/json.h"
#include "eval/solver_method.h"
#include "eval/solver_replay.h"
#include "gendistill/eval.h"
#include "gendistill/learn.h"
#include "gendistill/model.h"
#include "gendistill/store.h"
#include "gendistill/strategy.h"

enum { MIN_IMAGE_SIZE = 12 };
static const float dropout_probability = 0.25f;

struct gd_solver_training {
  const gd_comm *comm;
  const gd_config *config;
  gd_dataset *train;
  const gd_dataset *test;
  const gd_task_split *split;
  gd_net *net;       // without dropout, for labels
  gd_plan *plan;     // inference
  int task;          // reached; -1 at first
  gd_checkpoint of;  // the solver of that task
  int64_t n_replay;  // images in the pool of that task's replay; 0: none
  const gd_solver_method *method;
  gd_regularisation *regularisation;                      // NULL: none
  double accuracy[GD_MAX_CLASSES], best[GD_MAX_CLASSES];  // a task: now (NAN: no test images), the highest before
};

gd_err gd_solver_training_create(gd_solver_training **out, const gd_comm *comm, const gd_config *config,
                                 gd_dataset *train, const gd_dataset *test, const gd_task_split *split) {
  *out = NULL;
  if (train->size < MIN_IMAGE_SIZE)
    return gd_error(GD_ERR_INPUT,
                    "key 'dataset.image_size': the solver needs at least %d pixels per side, is '%d' "
                    "(solver.epochs 0: no solver)",
                    MIN_IMAGE_SIZE, train->size);
  const gd_solver_method *method = gd_solver_method_of(config);
  if (method->regulariser != GD_NO_REGULARISER && comm->size > config->training.slots)
    return gd_error(GD_ERR_INPUT, "%d ranks, but training.slots is %d: with solver.method %s a rank needs a slot",
                    comm->size, config->training.slots, method->name);
  gd_solver_training *s = GD_NEW(gd_solver_training);
  *s = (gd_solver_training){.comm = comm, .config = config, .train = train, .test = test, .split = split, .task = -1};
  gd_solver_create(&s->net, train->size, train->channels, train->n_classes, false);
  s->method = method;
  gd_regulariser_settings penalty = gd_solver_regulariser_settings(config, split->n_tasks);
  gd_regularisation_create(&s->regularisation, &penalty, gd_net_params(s->net));
  gd_err err = gd_comm_agree(comm, gd_plan_create(&s->plan, s->net, GD_IMAGE_CHUNK, GD_INFERENCE, GD_FLOAT32));
  if (err != GD_OK) gd_solver_training_destroy(&s);
  *out = s;
  return err;
}

void gd_solver_training_destroy(gd_solver_training **solver) {
  gd_solver_training *s = *solver;
  if (!s) return;
  gd_plan_destroy(&s->plan);
  gd_regularisation_destroy(&s->regularisation);
  gd_net_destroy(&s->net);
  gd_checkpoint_clear(&s->of);
  gd_free(s);
  *solver = NULL;
}

/* ---- Training on one task ---- */

typedef struct task_training {
  const gd_solver_training *s;
  gd_solver_replay_source *replay;   // NULL: none
  const gd_solver_answers *answers;  // NULL: none
  gd_shape masks[3];
  double task;             // from 1
  uint32_t step;           // of the task
  const uint32_t *images;  // of the task
  const uint32_t *drawn;   // those of this step (n_real), by their places among them
  int64_t n_real, n_replay;
} task_training;

static gd_random solver_key(const task_training *t, gd_purpose purpose) {
  return (gd_random){.seed = t->s->config->seed, .purpose = purpose, .task = (uint32_t)t->task - 1, .step = t->step};
}

// Masks of 0 and 1 / (1 - p), one after the other from one stream.
static void fill_masks(const task_training *t, int64_t row, gd_classification_row *out) {
  int64_t counts[3], total = 0;
  for (int i = 0; i < 3; i++) total += counts[i] = (int64_t)t->masks[i].h * t->masks[i].w * t->masks[i].c;
  float *draws = GD_NEW_ARRAY(float, total), *draw = draws;
  gd_random_uniform(solver_key(t, GD_RANDOM_DROPOUT), (uint64_t)row, (size_t)total, draws);
  for (int i = 0; i < 3; i++)
    for (int64_t k = 0; k < counts[i]; k++)
      out->inputs[i + 1][k] = *draw++ < dropout_probability ? 0.0f : 1.0f / (1.0f - dropout_probability);
  gd_free(draws);
}

// A real image once more, with the same dropout, for the answers of the solver before.
static void fill_answer(const task_training *t, int64_t row, gd_classification_row *out) {
  const gd_config *config = t->s->config;
  int n_classes = t->s->train->n_classes;
  uint32_t place = t->drawn[row];
  double weight = gd_solver_distillation_weight(config, (int)t->task), temperature = config->solver.temperature;
  fill_masks(t, row, out);
  gd_dataset_image(t->s->train, t->images[place], false, out->inputs[0]);
  memcpy(out->target, t->answers->targets + (int64_t)place * n_classes, (size_t)n_classes * sizeof(float));
  out->active = t->answers->active;
  out->temperature = temperature;
  out->weight = weight / (double)t->n_real / (temperature * temperature);  // without the T^2 of the row's loss
}

// Rows 0 .. n_real-1: real images with hard labels; behind them generated or real ones with soft labels.
static void fill_solver_row(void *context, int64_t row, gd_classification_row *out) {
  const task_training *t = context;
  const gd_dataset *train = t->s->train;
  double real_share = t->n_replay ? 1.0 / t->task : 1.0;
  if (row >= t->n_real && t->answers) {
    fill_answer(t, row - t->n_real, out);
    return;
  }
  fill_masks(t, row, out);
  if (row < t->n_real) {
    uint32_t image = t->images[t->drawn[row]];
    gd_dataset_image(train, image, false, out->inputs[0]);
    out->target[train->labels[image]] = 1;
    out->weight = real_share / (double)t->n_real;
    return;
  }
  gd_solver_replay_fill(t->replay, row, out);
  out->weight = (1 - real_share) / (double)t->n_replay;
}

// The generated rows of the step that are this rank's. Collective where images are generated.
static gd_err begin_replay(task_training *t) {
  const gd_comm *comm = t->s->comm;
  int n_slots = t->s->config->training.slots;
  if (!t->replay) return GD_OK;
  gd_range mine = {0, 0};
  if (comm->rank < n_slots) {
    int n_ranks = comm->size < n_slots ? comm->size : n_slots;
    mine = gd_rank_rows(n_ranks, comm->rank, n_slots, t->n_real + t->n_replay);
  }
  gd_err err = gd_solver_replay_begin_step(t->replay, t->step, t->n_real, t->n_replay, mine);
  return t->s->config->solver.replay == GD_SOLVER_FRESH ? gd_comm_agree(comm, err) : err;
}

static gd_err train_solver_epoch(gd_classification *classification, task_training *t, const uint32_t *order,
                                 int64_t n) {
  const gd_config *config = t->s->config;
  for (int64_t first = 0; first < n; first += config->solver.batch_size) {
    double loss;
    int64_t left = n - first;
    t->drawn = order + first;
    t->n_real = left < config->solver.batch_size ? left : config->solver.batch_size;
    t->n_replay = t->replay ? config->solver.batch_size : 0;
    gd_err err = begin_replay(t);
    int64_t n_rows = t->n_real + (t->answers ? t->n_real : t->n_replay);
    if (err == GD_OK)
      err = gd_classification_step(classification, config->solver.learning_rate, n_rows, fill_solver_row, t, &loss);
    if (err != GD_OK) return gd_error_context(err, "solver, task %d", (int)t->task);
    t->step++;
  }
  return GD_OK;
}

static double add_regulariser(void *context, const float *params, float *gradient) {
  return gd_regularisation_penalty(context, params, gradient);
}

static void after_regularised_step(void *context, const float *params) {
  gd_regularisation_after_step(context, params);
}

static void begin_regularised_task(const gd_solver_training *s, gd_classification *classification, int task) {
  if (!s->regularisation) return;
  gd_regularisation_begin_task(s->regularisation, task, gd_classification_params(classification));
  gd_classification_penalise(
      classification,
      (gd_parameter_loss){.context = s->regularisation, .add = add_regulariser, .after_step = after_regularised_step});
}

static gd_err train_solver(const gd_solver_training *s, int task, gd_solver_replay_source *replay, float **params) {
  gd_err err;
  gd_net *net = NULL;
  gd_classification *classification = NULL;
  gd_solver_answers answers = {0};
  bool distils = s->method->distils && task > 0;
  int64_t n, n_rows = s->config->solver.batch_size * (replay || distils ? 2 : 1);
  uint32_t *images = gd_solver_images(s->config, s->train, s->split, task, &n);
  uint32_t *order = GD_NEW_ARRAY(uint32_t, n);
  task_training t = {.s = s, .replay = replay, .task = task + 1, .images = images};
  if (distils) {
    gd_solver_answers_make(&answers, s->comm, s->config, s->train, s->split, task, s->plan, s->net);
    t.answers = &answers;
  }
  gd_solver_create(&net, s->train->size, s->train->channels, s->train->n_classes, true);
  for (int i = 0; i < 3; i++) t.masks[i] = gd_net_input_shape(net, i + 1);
  GD_TRY(gd_classification_create(&classification, s->comm, net, s->config->training.slots, n_rows, s->config->seed,
                                  gd_checkpoint_array(&s->of, "model")));
  begin_regularised_task(s, classification, task);
  for (int epoch = 0; epoch < s->config->solver.epochs && err == GD_OK; epoch++) {
    gd_epoch_order(s->config->seed, task, epoch, n, order);
    err = train_solver_epoch(classification, &t, order, n);
  }
  GD_TRY(gd_comm_agree(s->comm, err));
  size_t nbytes = (size_t)gd_net_params(net)->total * sizeof(float);
  *params = memcpy(gd_alloc(nbytes), gd_classification_params(classification), nbytes);
  if (s->regularisation)
    err = gd_solver_end_task(s->regularisation, s->comm, s->config, s->train, s->net, *params, task, images, n);
done:
  gd_classification_destroy(&classification);
  gd_solver_answers_clear(&answers);
  gd_net_destroy(&net);
  gd_free(images);
  gd_free(order);
  return err;
}

/* ---- Stored solvers ---- */

// Lines for a method without generator; of solvers with one there are older files, without such lines.
static char *describe_method(const gd_solver_training *s) {
  if (s->method->generates) return gd_strdup("");
  gd_regulariser_settings r = gd_solver_regulariser_settings(s->config, s->split->n_tasks);
  return gd_format("method: %s %.17g, tasks: %d, fisher: %d %d %.17g, xi: %.17g\n", s->method->name,
                   s->config->solver.lambda, r.n_tasks, r.fisher_images, (int)r.fisher_terms, r.fisher_gamma, r.si_xi);
}

// What the solver of a task is made from; a stored one that says something else is of no use.
static char *describe_solver(const gd_solver_training *s, int task, const char *replay) {
  const gd_config *c = s->config;
  int64_t n;
  uint32_t *images = gd_solver_images(c, s->train, s->split, task, &n);
  uint64_t real = gd_digest(images, (size_t)n * sizeof *images, gd_dataset_digest(s->train));
  gd_free(images);
  char *method = describe_method(s);
  char *text = gd_format("solver of task: %d\nreal images: %016" PRIx64 "\nreplay: %s\nsolver before: %016" PRIx64
                         "\nseed: %llu\nepochs: %d\nbatch_size: %d\nlearning_rate: %.17g\n"
                         "temperature: %.17g\nslots: %d\n%s%s",
                         task + 1, real, replay, s->of.n_arrays ? s->of.digest : 0, (unsigned long long)c->seed,
                         c->solver.epochs, c->solver.batch_size, c->solver.learning_rate, c->solver.temperature,
                         c->training.slots, c->solver.loss == GD_SOLVER_REFERENCE ? "loss: reference\n" : "", method);
  gd_free(method);
  return text;
}

// Takes the stored solver if it is the one described. Collective on comm.
static bool find_solver(gd_solver_training *s, const char *path, const char *description) {
  bool there = gd_cache_has(s->comm, path);
  gd_checkpoint stored = {0};
  bool usable = there && gd_checkpoint_read(s->comm, path, gd_net_params(s->net), &stored) == GD_OK &&
                strcmp(stored.config_text, description) == 0 &&
                (!s->regularisation || gd_regularisation_restore(s->regularisation, path, &stored) == GD_OK);
  if (there && !usable) gd_log(GD_LOG_INFO, "%s: of other images or settings, or damaged: made again", path);
  gd_checkpoint *unwanted = usable ? &s->of : &stored;
  gd_checkpoint_clear(unwanted);
  if (usable) s->of = stored;
  return usable;
}

// The regulariser's state, which stays its own, in the solver's checkpoint.
static void keep_regulariser(gd_solver_training *s) {
  gd_named_array arrays[GD_MAX_ARRAYS];
  int n = s->regularisation ? gd_regularisation_list(s->regularisation, arrays, 0) : 0;
  size_t nbytes = (size_t)gd_net_params(s->net)->total * sizeof(float);
  for (int i = 0; i < n; i++)
    gd_checkpoint_add(&s->of, arrays[i].name, memcpy(gd_alloc(nbytes), arrays[i].values, nbytes));
  if (n > 0) gd_regularisation_save(s->regularisation, &s->of);
}

// RUN/solver, or RUN/solver_lwf and so on. New string.
static char *solver_folder(const gd_solver_training *s) {
  const char *run = s->config->output.directory;
  return s->method->generates ? gd_format("%s/solver", run) : gd_format("%s/solver_%s", run, s->method->name);
}

static gd_err train_and_store(gd_solver_training *s, int task, gd_solver_replay_source *replay, const char *path,
                              const char *description) {
  double start = gd_seconds();
  float *params = NULL;
  char *folder = solver_folder(s);
  gd_err err = train_solver(s, task, replay, &params);
  if (err == GD_OK) {
    gd_checkpoint_clear(&s->of);
    s->of = (gd_checkpoint){.task = task,
                            .task_done = true,
                            .seed = s->config->seed,
                            .config_text = gd_strdup(description),
                            .code_version = gd_strdup(GD_VERSION)};
    gd_checkpoint_add(&s->of, "model", params);
    keep_regulariser(s);
    err = gd_comm_agree(s->comm, s->comm->rank == 0 ? gd_folder_make(folder) : GD_OK);
  }
  if (err == GD_OK) err = gd_checkpoint_write(s->comm, path, gd_net_params(s->net), &s->of);
  gd_log(GD_LOG_INFO, "task %d: solver trained in %.1f s", task + 1, gd_seconds() - start);
  gd_free(folder);
  return err;
}

/* ---- Accuracy ---- */

// Right and all test images of each class. Collective on comm.
static void count_right(gd_solver_training *s, int64_t *right, int64_t *all) {
  const gd_dataset *test = s->test;
  gd_range local = gd_range_images(s->comm, test->n);
  int64_t n = local.end - local.begin;
  float *logits = GD_NEW_ARRAY(float, n * test->n_classes);
  gd_images images = gd_dataset_images(test, local.begin);
  gd_extract(s->plan, s->net, n, &images, logits);
  for (int64_t i = 0; i < n; i++) {
    int label = test->labels[local.begin + i];
    all[label]++;
    right[label] += gd_largest(logits + i * test->n_classes, test->n_classes) == label;
  }
  gd_free(logits);
  MPI_Allreduce(MPI_IN_PLACE, right, test->n_classes, MPI_INT64_T, MPI_SUM, s->comm->mpi);
  MPI_Allreduce(MPI_IN_PLACE, all, test->n_classes, MPI_INT64_T, MPI_SUM, s->comm->mpi);
}

static void measure_tasks(gd_solver_training *s) {
  int64_t right[GD_MAX_CLASSES] = {0}, all[GD_MAX_CLASSES] = {0};
  count_right(s, right, all);
  for (int t = 0; t < s->split->n_tasks; t++) {
    int64_t task_right = 0, task_all = 0;
    for (int i = 0; i < s->split->n_classes[t]; i++) {
      task_right += right[s->split->classes[t][i]];
      task_all += all[s->split->classes[t][i]];
    }
    if (s->accuracy[t] > s->best[t]) s->best[t] = s->accuracy[t];
    s->accuracy[t] = task_all ? (double)task_right / (double)task_all : NAN;
  }
}

/* ---- The course over the tasks ---- */

static gd_err next_task(gd_solver_training *s) {
  gd_err err = GD_OK;
  int task = s->task + 1;
  gd_solver_replay_source *replay = NULL;
  bool replays = task > 0 && s->method->generates && gd_strategy_get(s->config->strategy.name)->data == GD_DATA_TASK;
  char *folder = solver_folder(s), *path = gd_solver_path(folder, task), *description = NULL, *source = NULL;
  gd_solver_replay_setting setting = {
      .comm = s->comm, .config = s->config, .train = s->train, .plan = s->plan, .net = s->net, .task = task};
  s->n_replay = 0;
  if (replays) GD_TRY(gd_solver_replay_create(&replay, &setting));
  source = replay ? gd_solver_replay_describe(replay, &s->n_replay) : gd_format("0 %016x", 0);
  description = describe_solver(s, task, source);
  if (!find_solver(s, path, description)) GD_TRY(train_and_store(s, task, replay, path, description));
  gd_plan_load(s->plan, gd_checkpoint_array(&s->of, "model"));
  s->task = task;
  measure_tasks(s);
done:
  gd_solver_replay_destroy(&replay);
  gd_free(source);
  gd_free(folder);
  gd_free(path);
  gd_free(description);
  return err;
}

gd_err gd_solver_training_reach(gd_solver_training *s, int task) {
  gd_err err = GD_OK;
  while (s->task < task && err == GD_OK) err = next_task(s);
  return err;
}

json_t *gd_solver_training_json(const gd_solver_training *s) {
  int n = gd_strategy_tasks_seen(s->config, s->task), n_before = n == s->task + 1 ? s->task : 0, n_known = 0;
  double sum = 0;
  json_t *accuracy = json_array();
  for (int t = 0; t < n; t++) {
    json_array_append_new(accuracy, gd_real_or_null(s->accuracy[t]));
    if (isnan(s->accuracy[t])) continue;
    sum += s->accuracy[t];
    n_known++;
  }
  const char *loss = s->config->solver.loss == GD_SOLVER_REFERENCE ? "reference" : "standard";
  const char *replay = s->config->solver.replay == GD_SOLVER_FRESH ? "fresh" : "sample_set";
  return json_pack("{s:s, s:s, s:s, s:i, s:i, s:I, s:f, s:o, s:o, s:o}", "method", s->method->name, "loss", loss,
                   "replay", replay, "epochs", s->config->solver.epochs, "batch_size", s->config->solver.batch_size,
                   "replay_images", (json_int_t)s->n_replay, "temperature", s->config->solver.temperature,
                   "task_accuracy", accuracy, "average_accuracy", gd_real_or_null(n_known ? sum / n_known : NAN),
                   "forgetting", gd_real_or_null(gd_forgetting(n_before, s->best, s->accuracy)));
}
