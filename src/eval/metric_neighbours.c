/* KID, precision, recall, density and coverage of all generated images against the test images of the tasks so far. */
#include "eval/metric.h"
#include "eval/neighbours.h"

static json_t *kid_json(const gd_kid *kid) {
  json_t *out = json_object();
  json_object_set_new(out, "value", gd_real_or_null(kid->value));
  json_object_set_new(out, "mean", gd_real_or_null(kid->mean));
  json_object_set_new(out, "deviation", gd_real_or_null(kid->deviation));
  json_object_set_new(out, "subsets", json_integer(kid->subset_size > 0 ? GD_KID_SUBSETS : 0));
  json_object_set_new(out, "subset_size", json_integer(kid->subset_size));
  return out;
}

static void put_number(json_t *out, const char *name, int k, double value) {
  char *key = gd_format("%s_%d", name, k);
  json_object_set_new(out, key, gd_real_or_null(value));
  gd_free(key);
}

static json_t *prdc_json(const gd_neighbours *n, int n_classes) {
  json_t *out = json_object(), *classes = json_array();
  for (int i = 0; i < GD_N_NEIGHBOURHOODS; i++) {
    put_number(out, "precision", gd_neighbourhoods[i], n->prdc[i].precision);
    put_number(out, "recall", gd_neighbourhoods[i], n->prdc[i].recall);
    put_number(out, "density", gd_neighbourhoods[i], n->prdc[i].density);
    put_number(out, "coverage", gd_neighbourhoods[i], n->prdc[i].coverage);
  }
  for (int c = 0; c < n_classes; c++) json_array_append_new(classes, gd_real_or_null(n->coverage_by_class[c]));
  json_object_set_new(out, "coverage_by_class", classes);
  return out;
}

static gd_err measure_neighbours(gd_measurement *m, json_t *out) {
  gd_points real = gd_measurement_real_points(m, m->wanted), generated = gd_points_create(m->comm, &m->features, NULL);
  uint8_t *labels = gd_measurement_real_labels(m, m->wanted);
  m->neighbours = gd_neighbours_measure(&real, &generated, labels);
  json_object_set_new(out, "kid", kid_json(&m->neighbours.kid));
  json_object_set_new(out, "prdc", prdc_json(&m->neighbours, m->n_classes));
  gd_free(labels);
  gd_points_clear(&real);
  gd_points_clear(&generated);
  return GD_OK;
}

const gd_metric gd_metric_neighbours = {.measure = measure_neighbours,
                                        .of_features = true,
                                        .reported = {{"kid.value", "KID", 1, -1, false, false},
                                                     {"prdc.precision_5", "precision, %", 100, 1, true, false},
                                                     {"prdc.recall_5", "recall, %", 100, 1, true, false},
                                                     {"prdc.density_5", "density", 1, 3, true, false},
                                                     {"prdc.coverage_5", "coverage, %", 100, 1, true, true}}};
