/* gendistill train: the whole continual run, or with --dry-run what it would be. */
#include "gendistill/train.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "app/command.h"
#include "gendistill/eval.h"

// `dataset` may be NULL, for a reason. Collective.
static void print_memory(const gd_comm *comm, const gd_trainer *trainer, const gd_dataset *dataset,
                         const char *reason) {
  enum { RANK, DATA, NODE, RANKS, N };
  gd_comm *node = gd_comm_node(comm);
  int64_t mine[N] = {[RANK] = (int64_t)gd_trainer_nbytes(trainer), [RANKS] = 1}, all[N];
  if (dataset) mine[DATA] = (int64_t)gd_dataset_nbytes(dataset);
  mine[NODE] = mine[RANK] + mine[DATA];
  MPI_Allreduce(MPI_IN_PLACE, mine + DATA, N - DATA, MPI_INT64_T, MPI_SUM, node->mpi);
  MPI_Allreduce(mine, all, N, MPI_INT64_T, MPI_MAX, comm->mpi);
  gd_comm_destroy(&node);
  if (comm->rank != 0) return;
  printf("# memory per rank: %.1f MiB without the data set\n", (double)all[RANK] / 1048576);
  printf("# memory per node (ranks: %d): %.1f MiB", (int)all[RANKS], (double)all[NODE] / 1048576);
  if (dataset)
    printf(", the data set's %.1f MiB included\n", (double)all[DATA] / 1048576);
  else
    printf(" and the data set, which cannot be read: %s\n", reason);
}

// Parameters, memory and bytes per checkpoint, from plans that are really made.
static gd_err print_dry_run(const gd_comm *comm, const gd_config *config) {
  gd_err err = GD_OK;
  gd_trainer *trainer = NULL;
  gd_dataset *dataset = NULL;
  gd_replay_cost prepared;
  char *text = gd_config_dump(config), *reason = NULL;
  int n_tasks = gd_strategy_n_tasks(config);
  GD_TRY(gd_trainer_check(comm, config));
  if (gd_dataset_read(&dataset, comm, &config->dataset, GD_TRAIN) != GD_OK)  // perhaps it is on the cluster only
    reason = gd_strdup(gd_error_message());
  GD_TRY(gd_trainer_create(&trainer, comm, config, dataset));
  const int tasks[] = {0, 1, n_tasks - 1};  // the second adds the teacher; some regularisers grow with each
  for (int i = 0; i < 3; i++) {
    if (tasks[i] >= n_tasks) continue;
    gd_trainer_begin_task(trainer, tasks[i]);
    GD_TRY(gd_trainer_prepare(trainer, 1, NULL, &prepared));
  }
  const gd_param_table *table = gd_net_params(gd_trainer_net(trainer));
  if (comm->rank == 0) printf("%s# ranks: %d\n# parameters: %lld\n", text, comm->size, (long long)table->total);
  print_memory(comm, trainer, dataset, reason);
  if (comm->rank == 0) printf("# bytes per checkpoint: %lld\n", (long long)gd_trainer_checkpoint_nbytes(trainer));
done:
  gd_trainer_destroy(&trainer);
  gd_dataset_destroy(&dataset);
  gd_free(reason);
  gd_free(text);
  return err;
}

static void log_start(const gd_comm *comm) {
  char *libraries = gd_libraries_describe(", ");
  gd_log(GD_LOG_INFO, "%s; ranks: %d, threads per rank: %d", libraries, comm->size, omp_get_max_threads());
  gd_free(libraries);
}

static gd_err evaluate_task(void *evaluator, int task, char **json) {
  return gd_evaluator_task(evaluator, task, json);
}

// Asks to stop a while before the job ends: --time-limit from now, or Slurm's SLURM_JOB_END_TIME.
static void watch_for_the_end(const gd_config *config, int64_t time_limit) {
  const char *job_end = getenv("SLURM_JOB_END_TIME");
  char *rest = NULL;
  long long end = job_end ? strtoll(job_end, &rest, 10) : 0;
  bool is_known = end > 0 && *rest == 0;
  if (job_end && *job_end && !is_known)
    gd_log(GD_LOG_WARN, "SLURM_JOB_END_TIME is '%s', no time in seconds: not stopping before the job ends", job_end);
  double left = is_known ? difftime((time_t)end, time(NULL)) : INFINITY;
  if (time_limit > 0) left = fmin(left, (double)time_limit);
  if (!isfinite(left)) return;
  double seconds = left - fmin(config->output.stop_seconds, fmax(left, 0) / 2);
  gd_stop_in(seconds);
  gd_log(GD_LOG_INFO, "the time limit is %.0f s away: stopping with a checkpoint in %.0f s", left, seconds);
}

gd_err gd_command_train(const gd_comm *comm, int argc, char **argv) {
  gd_err err = GD_OK;
  const char *path;
  gd_texts sets = {0};
  const char *init = NULL;
  char *init_set = NULL;
  bool resume = false, dry_run = false;
  int64_t time_limit = 0;
  gd_config *config = NULL;
  gd_run *run = NULL;
  gd_evaluator *evaluator = NULL;
  uint64_t digest = 0;
  const gd_option options[] = {{"set", GD_OPTION_TEXTS, &sets, false},
                               {"init", GD_OPTION_TEXT, &init, false},
                               {"resume", GD_OPTION_FLAG, &resume, false},
                               {"dry-run", GD_OPTION_FLAG, &dry_run, false},
                               {"time-limit", GD_OPTION_INT, &time_limit, false},
                               {0}};
  err = gd_options_parse(argc, argv, options, "a configuration file", &path);
  if (err == GD_OK && time_limit < 0) err = gd_error(GD_ERR_INPUT, "--time-limit: must be seconds, or 0 for none");
  GD_TRY(gd_comm_agree(comm, err));
  if (init) sets.values[sets.n++] = init_set = gd_format("training.init=%s", init);
  GD_TRY(gd_config_read(&config, comm, path, sets.n, sets.values));
  GD_REQUIRE(config);
  gd_config_apply(config);
  if (dry_run) {
    GD_TRY(print_dry_run(comm, config));
    goto done;
  }
  log_start(comm);
  watch_for_the_end(config, time_limit);
  GD_TRY(gd_run_create(&run, comm, config, resume));  // before a classifier is trained for nothing
  if (config->evaluation.measures) GD_TRY(gd_evaluator_create(&evaluator, comm, config));
  GD_TRY(gd_run_train(run, evaluator ? evaluate_task : NULL, evaluator, &digest));
  if (comm->rank == 0) printf("parameter digest: %016llx\n", (unsigned long long)digest);
done:
  if (err == GD_STOPPED) gd_error_record("stopped early (%s): go on with --resume", gd_error_message());
  gd_run_destroy(&run);
  gd_evaluator_destroy(&evaluator);
  gd_config_destroy(&config);
  gd_free(init_set);
  return err;
}
