/* The solver alone, over all tasks: what a method without generator reaches. */
#include <jansson.h>
#include <stdlib.h>

#include "eval/json.h"
#include "eval/solver_training.h"
#include "gendistill/eval.h"

static void tell(const gd_solver_training *solver, int task, int n_tasks, void (*each)(const char *line)) {
  json_t *out = json_pack("{s:s, s:i, s:i, s:o}", "event", "solver", "task", task + 1, "n_tasks", n_tasks, "solver",
                          gd_solver_training_json(solver));
  char *line = json_dumps(out, JSON_REAL_PRECISION(GD_JSON_DIGITS));
  each(line);
  free(line);
  json_decref(out);
}

gd_err gd_solver_course(const gd_comm *comm, const gd_config *config, void (*each)(const char *line)) {
  gd_err err;
  gd_dataset *train = NULL, *test = NULL;
  gd_solver_training *solver = NULL;
  gd_task_split split;
  GD_TRY(gd_dataset_read(&train, comm, &config->dataset, GD_TRAIN));
  GD_TRY(gd_dataset_read(&test, comm, &config->dataset, GD_TEST));
  GD_TRY(gd_comm_agree(comm, gd_task_split_make(&split, &config->tasks, config->seed, test->n_classes)));
  for (int task = 0; task < split.n_tasks; task++) {
    gd_task_split_warn(&split, train, task, "training");
    gd_task_split_warn(&split, test, task, "test");
  }
  GD_TRY(gd_solver_training_create(&solver, comm, config, train, test, &split));
  for (int task = 0; task < split.n_tasks; task++) {
    GD_TRY(gd_solver_training_reach(solver, task));
    tell(solver, task, split.n_tasks, each);
  }
done:
  gd_solver_training_destroy(&solver);
  gd_dataset_destroy(&train);
  gd_dataset_destroy(&test);
  return err;
}
