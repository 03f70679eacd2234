/* The table of the solver's methods, and what LwF, EWC and SI need. */
#include "eval/solver_method.h"

#include <math.h>
#include <string.h>

static const gd_solver_method methods[GD_N_SOLVER_METHODS] = {
    [GD_SOLVER_GENERATED] = {.name = "generated", .generates = true},
    [GD_SOLVER_FINETUNE] = {.name = "finetune", .scope = GD_DATA_TASK},
    [GD_SOLVER_CUMULATIVE] = {.name = "cumulative", .scope = GD_DATA_SO_FAR},
    [GD_SOLVER_LWF] = {.name = "lwf", .scope = GD_DATA_TASK, .distils = true},
    [GD_SOLVER_EWC] = {.name = "ewc", .scope = GD_DATA_TASK, .regulariser = GD_REGULARISER_ewc},
    [GD_SOLVER_SI] = {.name = "si", .scope = GD_DATA_TASK, .regulariser = GD_REGULARISER_si},
};

const gd_solver_method *gd_solver_method_of(const gd_config *config) {
  return &methods[config->solver.method];
}

uint32_t *gd_solver_images(const gd_config *config, const gd_dataset *train, const gd_task_split *split, int task,
                           int64_t *n) {
  const gd_solver_method *method = gd_solver_method_of(config);
  gd_task_choice choice = {.scope = method->scope, .limit = config->dataset.limit, .seed = config->seed};
  if (method->generates) return gd_strategy_images(config, train, split, task, n);
  return gd_task_indices(train, split, choice, task, n);
}

/* ---- Learning without forgetting ---- */

// Logits to the probabilities of the active classes; 0 for the others.
static void soften_active(const uint8_t *active, int n_classes, double temperature, float *logits) {
  double largest = -INFINITY, total = 0;
  for (int c = 0; c < n_classes; c++)
    if (active[c]) largest = fmax(largest, (double)logits[c]);
  for (int c = 0; c < n_classes; c++)
    if (active[c]) total += exp((logits[c] - largest) / temperature);
  for (int c = 0; c < n_classes; c++)
    logits[c] = active[c] ? (float)(exp((logits[c] - largest) / temperature) / total) : 0;
}

// The images one after the other, as they are held; new array.
static uint8_t *copy_images(const gd_dataset *train, const uint32_t *images, int64_t n, gd_images *out) {
  *out = gd_dataset_images(train, 0);
  size_t nbytes = (size_t)out->held_size * (size_t)out->held_size * (size_t)out->channels;
  uint8_t *copy = gd_alloc((size_t)n * nbytes + 1);
  for (int64_t i = 0; i < n; i++) memcpy(copy + (size_t)i * nbytes, out->held + images[i] * nbytes, nbytes);
  out->held = copy;
  return copy;
}

void gd_solver_answers_make(gd_solver_answers *out, const gd_comm *comm, const gd_config *config,
                            const gd_dataset *train, const gd_task_split *split, int task, gd_plan *plan,
                            const gd_net *net) {
  int n_classes = train->n_classes, classes[GD_MAX_CLASSES], n_earlier = gd_task_split_classes(split, task, classes);
  int64_t n;
  uint32_t *indices = gd_solver_images(config, train, split, task, &n);
  *out = (gd_solver_answers){.targets = GD_NEW_ARRAY(float, n *n_classes + 1)};
  for (int i = 0; i < n_earlier; i++) out->active[classes[i]] = 1;
  gd_range local = gd_range_images(comm, n);
  gd_images images;
  uint8_t *copy = copy_images(train, indices + local.begin, local.end - local.begin, &images);
  float *mine = out->targets + local.begin * n_classes;
  gd_extract(plan, net, local.end - local.begin, &images, mine);
  for (int64_t i = 0; i < local.end - local.begin; i++)
    soften_active(out->active, n_classes, config->solver.temperature, mine + i * n_classes);
  gd_comm_share_images(comm, out->targets, n, n_classes, MPI_FLOAT);
  gd_free(copy);
  gd_free(indices);
}

void gd_solver_answers_clear(gd_solver_answers *answers) {
  gd_free(answers->targets);
  *answers = (gd_solver_answers){0};
}

double gd_solver_distillation_weight(const gd_config *config, int i) {
  return config->solver.lambda * (i - 1) * (i - 1) / i;
}

/* ---- Regularisers ---- */

gd_regulariser_settings gd_solver_regulariser_settings(const gd_config *config, int n_tasks) {
  gd_regulariser_settings settings = gd_regulariser_settings_of(config);
  settings.id = gd_solver_method_of(config)->regulariser;
  settings.lambda = config->solver.lambda;
  settings.n_tasks = n_tasks;
  return settings;
}

// The cross entropy of single images, in a random order.
typedef struct classified_images {
  const gd_dataset *train;
  const uint32_t *images, *order;  // (n)
  int64_t n;
  gd_plan *plan;
  gd_range present;
} classified_images;

static void open_images(void *context, const gd_net *net, gd_plan *plan) {
  (void)net;
  ((classified_images *)context)->plan = plan;
}

static void close_images(void *context) {
  (void)context;
}

static uint32_t image_at(const classified_images *of, int64_t image) {
  return of->images[of->order[image % of->n]];
}

static void fill_images(void *context, gd_range images) {
  classified_images *of = context;
  int64_t n_elements = (int64_t)of->train->size * of->train->size * of->train->channels;
  of->present = images;
  for (int64_t i = images.begin; i < images.end; i++)
    gd_dataset_image(of->train, image_at(of, i), false, gd_plan_input(of->plan, 0) + (i - images.begin) * n_elements);
}

static void cross_entropy_gradient(void *context, int n_rows, const float *output) {
  const classified_images *of = context;
  int n_classes = of->train->n_classes;
  uint8_t all[GD_MAX_CLASSES];
  float *gradient = gd_plan_output_gradient(of->plan);
  memset(all, 1, sizeof all);
  memset(gradient, 0, (size_t)gd_plan_batch(of->plan) * (size_t)n_classes * sizeof *gradient);
  for (int row = 0; row < n_rows; row++) {
    float *out = gradient + row * n_classes;
    memcpy(out, output + row * n_classes, (size_t)n_classes * sizeof *out);
    soften_active(all, n_classes, 1, out);
    out[of->train->labels[image_at(of, of->present.begin + row)]] -= 1;
  }
}

static const gd_image_loss cross_entropy = {
    .open = open_images, .fill = fill_images, .gradient = cross_entropy_gradient, .close = close_images};

gd_err gd_solver_end_task(gd_regularisation *regularisation, const gd_comm *comm, const gd_config *config,
                          const gd_dataset *train, const gd_net *net, const float *params, int task,
                          const uint32_t *images, int64_t n) {
  int64_t n_gradients;
  uint32_t *order = GD_NEW_ARRAY(uint32_t, n);
  gd_random key = {.seed = config->seed, .purpose = GD_RANDOM_SOLVER_FISHER, .task = (uint32_t)task};
  gd_random_permutation(key, (uint32_t)n, order);
  classified_images of = {.train = train, .images = images, .order = order, .n = n};
  gd_image_gradients gradients = {.comm = comm,
                                  .net = net,
                                  .params = params,
                                  .n_slots = config->training.slots,
                                  .n_images = config->strategy.fisher_images,
                                  .loss = &cross_entropy,
                                  .context = &of};
  gd_err err = gd_regularisation_end_task(regularisation, &gradients, &n_gradients);
  gd_free(order);
  return err;
}
