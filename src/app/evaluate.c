/* gendistill evaluate: measures the sample sets of a whole run, or one sample set. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/command.h"
#include "gendistill/eval.h"
#include "gendistill/store.h"
#include "gendistill/strategy.h"
#include "gendistill/train.h"

typedef struct gd_evaluate_options {
  const char *path; /* a run or a sample set */
  const char *config;
  gd_texts sets;
  bool is_run;
} gd_evaluate_options;

static gd_err parse_evaluate(int argc, char **argv, gd_evaluate_options *o) {
  const gd_option options[] = {
      {"config", GD_OPTION_TEXT, &o->config, false}, {"set", GD_OPTION_TEXTS, &o->sets, false}, {0}};
  gd_err err = gd_options_parse(argc, argv, options, "a run's folder or a sample set", &o->path);
  if (err != GD_OK) return err;
  struct stat status;
  if (stat(o->path, &status) != 0) return gd_error(GD_ERR_INPUT, "%s: no such run or sample set", o->path);
  o->is_run = S_ISDIR(status.st_mode);
  if (!o->is_run && !o->config)
    return gd_error(GD_ERR_INPUT, "evaluate: a sample set needs --config, for the real images to compare it with");
  return GD_OK;
}

// The run's own configuration, or that of --config, which must be of the same run then. Collective on comm.
static gd_err read_run_config(const gd_comm *comm, const gd_evaluate_options *o, gd_config **out) {
  gd_err err;
  gd_config *stored = NULL;
  char *own = gd_format("%s/config.resolved.yaml", o->path);
  GD_TRY(gd_config_read(out, comm, o->config ? o->config : own, o->sets.n, o->sets.values));
  gd_config_apply(*out);
  if (!o->is_run) goto done;
  GD_TRY(gd_config_read(&stored, comm, own, 0, NULL));
  GD_TRY(gd_error_context(gd_config_require_same_run(stored, *out), "%s", own));
  gd_free((*out)->output.directory);
  (*out)->output.directory = gd_strdup(o->path);
done:
  gd_config_destroy(&stored);
  gd_free(own);
  return err;
}

// How many of the run's tasks have a sample set. Collective on comm.
static gd_err count_tasks(const gd_comm *comm, const gd_config *config, int *n) {
  gd_err err = GD_OK;
  *n = 0;
  for (bool there = comm->rank == 0; there && *n < gd_strategy_n_tasks(config); *n += there) {
    char *path = gd_sample_set_path(config->output.directory, *n);
    there = access(path, R_OK) == 0;
    gd_free(path);
  }
  MPI_Bcast(n, 1, MPI_INT, 0, comm->mpi);
  if (*n == 0)
    err = gd_error(GD_ERR_INPUT, "%s: holds no sample set of its first task (samples/samples-task01.h5)",
                   config->output.directory);
  return err;
}

static gd_err evaluate_run(const gd_comm *comm, const gd_config *config, gd_evaluator *evaluator, int n_tasks) {
  gd_err err = GD_OK;
  char **lines = GD_NEW_ARRAY(char *, n_tasks);
  for (int task = 0; task < n_tasks; task++) {
    GD_TRY(gd_evaluator_task(evaluator, task, &lines[task]));
    if (comm->rank == 0) printf("%s\n", lines[task]);
  }
  if (comm->rank == 0) err = gd_metrics_replace_evaluations(config->output.directory, n_tasks, lines);
  err = gd_comm_agree(comm, err);
done:
  for (int task = 0; task < n_tasks; task++) gd_free(lines[task]);
  gd_free(lines);
  return err;
}

static gd_err evaluate_samples(const gd_comm *comm, const gd_config *config, gd_evaluator *evaluator,
                               const char *path) {
  char *line = NULL;
  gd_err err = gd_evaluator_samples(evaluator, gd_strategy_n_tasks(config) - 1, path, &line);
  if (err == GD_OK && comm->rank == 0) printf("%s\n", line);
  gd_free(line);
  return err;
}

gd_err gd_command_evaluate(const gd_comm *comm, int argc, char **argv) {
  gd_err err;
  gd_evaluate_options o = {0};
  gd_config *config = NULL;
  gd_folder_lock *lock = NULL;
  gd_evaluator *evaluator = NULL;
  int n_tasks = 0;
  GD_TRY(gd_comm_agree(comm, parse_evaluate(argc, argv, &o)));
  GD_TRY(read_run_config(comm, &o, &config));
  GD_REQUIRE(config);
  if (o.is_run) {
    GD_TRY(count_tasks(comm, config, &n_tasks));
    GD_TRY(gd_folder_lock_take(&lock, comm, o.path, "evaluate"));
  }
  GD_TRY(gd_evaluator_create(&evaluator, comm, config));
  err = o.is_run ? evaluate_run(comm, config, evaluator, n_tasks) : evaluate_samples(comm, config, evaluator, o.path);
done:
  gd_folder_lock_release(&lock);
  gd_evaluator_destroy(&evaluator);
  gd_config_destroy(&config);
  return err;
}
