/* One row of the forgetting matrices: each task's share of the generated images, and their distance from its test
 * images.
 */
#include "eval/metric.h"

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

static gd_err measure_tasks(gd_measurement *m, json_t *out) {
  gd_err err = GD_OK;
  json_t *classes = json_array(), *share = json_array(), *distances = json_array();
  for (int t = 0; t < m->n_tasks && err == GD_OK; t++) {
    bool wanted[GD_MAX_CLASSES] = {false};
    int64_t counts[GD_MAX_CLASSES] = {0}, n = list_classes(m, t, classes);
    gd_frechet frechet;
    gd_measurement_mark(m, t, wanted);
    bool measurable = n >= 2 && gd_measurement_count_real(m, wanted, counts) >= 2;
    if (measurable) err = gd_measurement_frechet(m, wanted, false, &frechet);
    json_array_append_new(share, json_real((double)n / (double)m->set.n_global));
    json_array_append_new(distances, measurable && err == GD_OK ? json_real(frechet.distance) : json_null());
  }
  json_object_set_new(out, "task_classes", classes);
  json_object_set_new(out, "task_share", share);
  json_object_set_new(out, "task_frechet", distances);
  return err;
}

const gd_metric gd_metric_tasks = {.measure = measure_tasks};
