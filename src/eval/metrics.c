/* The table of metrics. */
#include "eval/metric.h"

#define METRIC_DECLARATION(name) extern const gd_metric gd_metric_##name;
#define METRIC_ROW(name)         &gd_metric_##name,
GD_METRICS(METRIC_DECLARATION)
static const gd_metric *const metrics[GD_N_METRICS] = {GD_METRICS(METRIC_ROW)};

const gd_metric *gd_metric_get(gd_metric_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_METRICS);
  return metrics[id];
}

const gd_reported *gd_reported_get(int number) {
  for (int id = 0; id < GD_N_METRICS; id++)
    for (int k = 0; k < GD_MAX_REPORTED && metrics[id]->reported[k].key; k++)
      if (number-- == 0) return &metrics[id]->reported[k];
  return NULL;
}

const gd_reported *gd_reported_drawn(int number) {
  const gd_reported *reported;
  for (int i = 0; (reported = gd_reported_get(i)); i++)
    if (reported->drawn && number-- == 0) return reported;
  return NULL;
}
