/* Class frequencies of the generated images against those of the test images of the tasks so far. */
#include "eval/balance.h"
#include "eval/metric.h"

static json_t *counts_json(const int64_t *counts, int n) {
  json_t *out = json_array();
  for (int c = 0; c < n; c++) json_array_append_new(out, json_integer(counts[c]));
  return out;
}

static gd_err measure_class_balance(gd_measurement *m, json_t *out) {
  gd_balance balance = {.kld = NAN, .absolute_ratio_difference = NAN};
  if (m->n_real > 0) balance = gd_class_balance(m->n_classes, m->real_counts, m->counts);
  json_object_set_new(out, "kld", gd_real_or_null(balance.kld));
  json_object_set_new(out, "absolute_ratio_difference", gd_real_or_null(balance.absolute_ratio_difference));
  json_object_set_new(out, "true_counts", counts_json(m->real_counts, m->n_classes));
  json_object_set_new(out, "generated_counts", counts_json(m->counts, m->n_classes));
  return GD_OK;
}

const gd_metric gd_metric_class_balance = {
    .measure = measure_class_balance,
    .reported = {{"kld", "KLD of class frequencies", 1, 3, false, true},
                 {"absolute_ratio_difference", "absolute ratio difference", 1, 3, false, false}}};
