/* Class frequencies of generated images against the true ones, and forgetting. */
#include "eval/balance.h"

#include <math.h>

#include "gendistill/base.h"

static const double tiny = 1e-8;  // keeps classes that one side lacks finite

gd_balance gd_class_balance(int n_classes, const int64_t *true_counts, const int64_t *generated_counts) {
  gd_balance out = {0};
  double n_true = 0, n_generated = 0;
  for (int c = 0; c < n_classes; c++) {
    n_true += (double)true_counts[c];
    n_generated += (double)generated_counts[c];
  }
  GD_REQUIRE(n_true > 0 && n_generated > 0);
  for (int c = 0; c < n_classes; c++) {
    double p = (double)true_counts[c] / n_true, q = (double)generated_counts[c] / n_generated;
    out.kld += (p + tiny) * (log(p + tiny) - log(q + tiny));
    out.absolute_ratio_difference += fabs(p - q) / 2;
  }
  return out;
}

double gd_forgetting(int n, const double *best, const double *last) {
  double sum = 0;
  int n_known = 0;
  for (int i = 0; i < n; i++) {
    if (isnan(last[i])) continue;
    sum += best[i] - last[i];
    n_known++;
  }
  return n < 1 ? 0 : n_known > 0 ? sum / n_known : NAN;
}
