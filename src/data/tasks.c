/* Classes to tasks, a task's images, and the order in which an epoch visits them.
 *
 * All of it follows from the seed and the labels alone, so every rank works it out for itself. */
#include <string.h>

#include "gendistill/data.h"

static gd_err split_seeded(gd_task_split *out, uint64_t seed, int n_classes) {
  uint32_t order[GD_MAX_CLASSES];
  int each = n_classes / out->n_tasks;
  if (n_classes % out->n_tasks != 0)
    return gd_error(GD_ERR_INPUT, "key 'tasks.count': %d classes cannot be divided into %d equal tasks", n_classes,
                    out->n_tasks);
  gd_random_permutation((gd_random){seed, GD_RANDOM_TASK_ORDER, 0, 0}, (uint32_t)n_classes, order);
  for (int t = 0; t < out->n_tasks; t++) {
    out->n_classes[t] = each;
    for (int i = 0; i < each; i++) out->classes[t][i] = (int)order[t * each + i];
  }
  return GD_OK;
}

static gd_err split_listed(gd_task_split *out, const gd_tasks_config *config, int n_classes) {
  bool seen[GD_MAX_CLASSES] = {false};
  for (int t = 0; t < out->n_tasks; t++) {
    out->n_classes[t] = config->n_classes[t];
    for (int i = 0; i < out->n_classes[t]; i++) {
      int class = config->classes[t][i];
      if (class < 0 || class >= n_classes)
        return gd_error(GD_ERR_INPUT, "key 'tasks.order': class %d does not exist, there are 0 to %d", class,
                        n_classes - 1);
      if (seen[class]) return gd_error(GD_ERR_INPUT, "key 'tasks.order': class %d is listed twice", class);
      seen[class] = true;
      out->classes[t][i] = class;
    }
  }
  return GD_OK;
}

gd_err gd_task_split_make(gd_task_split *out, const gd_tasks_config *config, uint64_t seed, int n_classes) {
  GD_REQUIRE(n_classes >= 1 && n_classes <= GD_MAX_CLASSES);
  GD_REQUIRE(config->count >= 1 && config->count <= GD_MAX_CLASSES);
  memset(out, 0, sizeof *out);
  out->n_tasks = config->count;
  return config->seeded ? split_seeded(out, seed, n_classes) : split_listed(out, config, n_classes);
}

int gd_task_split_classes(const gd_task_split *split, int n_tasks, int classes[GD_MAX_CLASSES]) {
  bool seen[GD_MAX_CLASSES] = {false};
  int n = 0;
  for (int t = 0; t < n_tasks; t++)
    for (int i = 0; i < split->n_classes[t]; i++) seen[split->classes[t][i]] = true;
  for (int class = 0; class < GD_MAX_CLASSES; class ++)
    if (seen[class]) classes[n++] = class;
  return n;
}

int64_t gd_task_split_warn(const gd_task_split *split, const gd_dataset *dataset, int task, const char *kind) {
  int64_t counts[GD_MAX_CLASSES] = {0}, n = 0;
  char *classes = NULL;
  int n_missing = 0;
  FILE *out = gd_text_begin(&classes);
  for (int64_t i = 0; i < dataset->n; i++) counts[dataset->labels[i]]++;
  for (int i = 0; i < split->n_classes[task]; i++) {
    int class = split->classes[task][i];
    n += counts[class];
    if (counts[class] == 0) fprintf(out, "%s%d", n_missing++ ? ", " : "", class);
  }
  gd_text_end(out);
  if (n_missing > 0)
    gd_log(GD_LOG_WARN, "task %d has no %s images of class%s %s%s", task + 1, kind, n_missing > 1 ? "es" : "", classes,
           n == 0 ? ": what needs them becomes null" : "");
  if (n == 1) gd_log(GD_LOG_WARN, "task %d has only one %s image", task + 1, kind);
  gd_free(classes);
  return n;
}

// Marks the images to train on of one task: all, or a seeded choice of `limit`.
static void mark_task(const gd_dataset *dataset, const gd_task_split *split, gd_task_choice choice, int task,
                      bool *marked) {
  bool wanted[GD_MAX_CLASSES] = {false};
  for (int i = 0; i < split->n_classes[task]; i++) wanted[split->classes[task][i]] = true;
  uint32_t *images = GD_NEW_ARRAY(uint32_t, dataset->n), n = 0;
  for (int64_t i = 0; i < dataset->n; i++)
    if (wanted[dataset->labels[i]]) images[n++] = (uint32_t)i;
  uint32_t limit = (uint32_t)choice.limit;
  if (limit == 0 || limit >= n) {
    for (uint32_t i = 0; i < n; i++) marked[images[i]] = true;
  } else {
    uint32_t *order = GD_NEW_ARRAY(uint32_t, n);
    gd_random_permutation((gd_random){choice.seed, GD_RANDOM_SUBSET, (uint32_t)task, 0}, n, order);
    for (uint32_t i = 0; i < limit; i++) marked[images[order[i]]] = true;
    gd_free(order);
  }
  gd_free(images);
}

uint32_t *gd_task_indices(const gd_dataset *dataset, const gd_task_split *split, gd_task_choice choice, int task,
                          int64_t *n_out) {
  GD_REQUIRE(task >= 0 && task < split->n_tasks && dataset->n <= UINT32_MAX);
  int first = choice.scope == GD_DATA_TASK ? task : 0;
  int last = choice.scope == GD_DATA_ALL ? split->n_tasks - 1 : task;
  bool *marked = GD_NEW_ARRAY(bool, dataset->n);
  for (int t = first; t <= last; t++) mark_task(dataset, split, choice, t, marked);
  uint32_t *indices = GD_NEW_ARRAY(uint32_t, dataset->n);
  int64_t n = 0;
  for (int64_t i = 0; i < dataset->n; i++)
    if (marked[i]) indices[n++] = (uint32_t)i;
  gd_free(marked);
  *n_out = n;
  return indices;
}

void gd_epoch_order(uint64_t seed, int task, int epoch, int64_t n, uint32_t *out) {
  GD_REQUIRE(n >= 0 && n <= UINT32_MAX);
  gd_random_permutation((gd_random){seed, GD_RANDOM_EPOCH_ORDER, (uint32_t)task, (uint32_t)epoch}, (uint32_t)n, out);
}
