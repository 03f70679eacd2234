/* One row of the forgetting matrices: of each task its share of the generated images, their distances from its test
 * images and how far they cover these; and what follows from the rows after the tasks before. */
#include "eval/balance.h"
#include "eval/kid.h"
#include "eval/metric.h"

/* ---- One task ---- */

typedef struct task_numbers {
  double share, frechet, kid, coverage; /* NAN where they cannot be measured */
} task_numbers;

// The classes of a task; returns the number of images generated of them.
static int64_t list_classes(const gd_measurement *m, int task, json_t *out) {
  json_t *classes = json_array();
  int64_t n = 0;
  for (int i = 0; i < m->split->n_classes[task]; i++) {
    n += m->counts[m->split->classes[task][i]];
    json_array_append_new(classes, json_integer(m->split->classes[task][i]));
  }
  json_array_append_new(out, classes);
  return n;
}

static double task_kid(gd_measurement *m, const bool *wanted, const bool *selected) {
  gd_points real = gd_measurement_real_points(m, wanted), generated = gd_points_create(m->comm, &m->features, selected);
  double kid = gd_kid_measure(&real, &generated).value;
  gd_points_clear(&real);
  gd_points_clear(&generated);
  return kid;
}

// The mean over the task's test images.
static double task_coverage(const gd_measurement *m, int task, const int64_t *counts, int64_t n_real) {
  double covered = 0;
  for (int i = 0; i < m->split->n_classes[task]; i++) {
    int c = m->split->classes[task][i];
    if (counts[c] > 0) covered += m->neighbours.coverage_by_class[c] * (double)counts[c];
  }
  return n_real > 0 ? covered / (double)n_real : NAN;
}

static gd_err measure_task(gd_measurement *m, int task, int64_t n_generated, task_numbers *out) {
  bool wanted[GD_MAX_CLASSES] = {false};
  int64_t counts[GD_MAX_CLASSES] = {0};
  gd_measurement_mark(m, task, wanted);
  int64_t n_real = gd_measurement_count_real(m, wanted, counts);
  *out = (task_numbers){.share = (double)n_generated / (double)m->set.n_global, .frechet = NAN, .kid = NAN};
  out->coverage = task_coverage(m, task, counts, n_real);
  if (n_generated < 2 || n_real < 2) return GD_OK;
  gd_frechet frechet;
  bool *selected = gd_measurement_select(m, wanted);
  gd_err err = gd_measurement_frechet(m, wanted, selected, &frechet);
  out->frechet = frechet.distance;
  if (err == GD_OK) out->kid = task_kid(m, wanted, selected);
  gd_free(selected);
  return err;
}

/* ---- All tasks, and those before ---- */

// Number of task `of` in array `key` of the evaluation after task `after`; NAN where there is none.
static double earlier_number(const gd_measurement *m, int after, const char *key, int of) {
  const json_t *value = json_array_get(json_object_get(m->earlier[after], key), (size_t)of);
  return json_is_number(value) ? json_number_value(value) : NAN;
}

// How far the earlier tasks fell from their best number, and how far they rose above their first one; `sign`: -1 where
// lower numbers are better.
static void put_transfer(const gd_measurement *m, json_t *forgetting, json_t *transfer, const char *name,
                         const char *key, const double *now, double sign) {
  double best[GD_MAX_CLASSES], first[GD_MAX_CLASSES], last[GD_MAX_CLASSES];
  for (int i = 0; i < m->task; i++) {
    last[i] = sign * now[i];
    best[i] = first[i] = sign * earlier_number(m, i, key, i);
    for (int after = i; after < m->task; after++) best[i] = fmax(best[i], sign * earlier_number(m, after, key, i));
    if (isnan(first[i])) last[i] = NAN;
  }
  bool any = m->task > 0;
  json_object_set_new(forgetting, name, gd_real_or_null(any ? gd_forgetting(m->task, best, last) : NAN));
  json_object_set_new(transfer, name, gd_real_or_null(any ? -gd_forgetting(m->task, first, last) : NAN));
}

static json_t *numbers_json(const double *values, int n) {
  json_t *out = json_array();
  for (int i = 0; i < n; i++) json_array_append_new(out, gd_real_or_null(values[i]));
  return out;
}

static gd_err measure_tasks(gd_measurement *m, json_t *out) {
  gd_err err = GD_OK;
  double share[GD_MAX_CLASSES] = {0}, frechet[GD_MAX_CLASSES] = {0}, kid[GD_MAX_CLASSES] = {0};
  double coverage[GD_MAX_CLASSES] = {0};
  json_t *classes = json_array(), *forgetting = json_object(), *transfer = json_object();
  for (int t = 0; t < m->n_tasks && err == GD_OK; t++) {
    task_numbers numbers;
    err = measure_task(m, t, list_classes(m, t, classes), &numbers);
    share[t] = numbers.share, frechet[t] = numbers.frechet, kid[t] = numbers.kid, coverage[t] = numbers.coverage;
  }
  json_object_set_new(out, "task_classes", classes);
  if (err == GD_OK) {
    json_object_set_new(out, "task_share", numbers_json(share, m->n_tasks));
    json_object_set_new(out, "task_frechet", numbers_json(frechet, m->n_tasks));
    json_object_set_new(out, "task_kid", numbers_json(kid, m->n_tasks));
    json_object_set_new(out, "task_coverage", numbers_json(coverage, m->n_tasks));
  }
  if (err == GD_OK && m->earlier) {
    put_transfer(m, forgetting, transfer, "coverage", "task_coverage", coverage, 1);
    put_transfer(m, forgetting, transfer, "kid", "task_kid", kid, -1);
    json_object_set(out, "forgetting", forgetting);
    json_object_set(out, "backward_transfer", transfer);
  }
  json_decref(forgetting);
  json_decref(transfer);
  return err;
}

const gd_metric gd_metric_tasks = {
    .measure = measure_tasks,
    .reported = {{"forgetting.coverage", "forgetting of coverage, %", 100, 1, false, false},
                 {"backward_transfer.coverage", "backward transfer of coverage, %", 100, 1, true, false},
                 {"forgetting.kid", "forgetting of KID", 1, -1, false, false},
                 {"backward_transfer.kid", "backward transfer of KID", 1, -1, true, false}}};
