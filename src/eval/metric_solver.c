/* Accuracy and forgetting of the solver, where there is one. */
#include "eval/metric.h"

static gd_err measure_solver(gd_measurement *m, json_t *out) {
  if (!m->solver) return GD_OK;
  gd_err err = gd_solver_training_reach(m->solver, m->task);
  if (err == GD_OK) json_object_set_new(out, "solver", gd_solver_training_json(m->solver));
  return err;
}

const gd_metric gd_metric_solver = {.measure = measure_solver,
                                    .reported = {{"solver.average_accuracy", "ACC, %", 100, 1, true, true},
                                                 {"solver.forgetting", "forgetting, %", 100, 1, false, false}}};
