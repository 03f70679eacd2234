/* What a finished task leaves: its sample set and its measures. A resumed run makes those that are missing or of other
 * settings than its configuration's. */
#include <string.h>
#include <unistd.h>

#include "train/run.h"

/* ---- Of one task ---- */

static char *picture_path(const gd_run *run, int task) {
  return gd_format("%s/samples/samples-task%02d.png", run->config->output.directory, task + 1);
}

// Whether the files are there, whole, and made from the parameters with this digest as the configuration says.
// Collective on comm.
static bool has_current_samples(const gd_run *run, int task, uint64_t digest) {
  const gd_config *config = run->config;
  char *path = gd_sample_set_path(config->output.directory, task), *png = picture_path(run, task);
  int exist = run->comm->rank == 0 && access(path, F_OK) == 0 && access(png, F_OK) == 0;
  MPI_Bcast(&exist, 1, MPI_INT, 0, run->comm->mpi);
  gd_sample_set set;
  gd_sample_set wanted = gd_sample_set_describe(&config->evaluation.sampling, gd_net_shape(run->trainer->net, 0),
                                                config->evaluation.samples, config->seed, digest);
  uint8_t *images = NULL;
  bool current = exist && gd_sample_set_read(run->comm, path, &set, &images) == GD_OK &&
                 set.n_global == wanted.n_global && gd_sample_set_is_like(&set, &wanted);
  gd_free(images);
  gd_free(path);
  gd_free(png);
  return current;
}

// The network or networks that a task's sample set is made with.
typedef struct sampling_networks {
  const float *params;
  uint64_t digest;
  int n_earlier;
  const float *const *earlier;
} sampling_networks;

static gd_err write_samples(gd_run *run, int task, sampling_networks with) {
  const gd_config *config = run->config;
  if (config->evaluation.samples == 0 || has_current_samples(run, task, with.digest)) return GD_OK;
  double start = gd_seconds();
  gd_progress("sample set");
  char *path = gd_sample_set_path(config->output.directory, task), *png = picture_path(run, task);
  gd_sample_order order = {.net = run->trainer->net,
                           .params = with.params,
                           .n_earlier = with.n_earlier,
                           .earlier = with.earlier,
                           .digest = with.digest,
                           .task = (uint32_t)task,
                           .labels = gd_strategy_labels(config, gd_strategy_tasks_seen(config, task)),
                           .path = path,
                           .png_path = png};
  gd_err err = gd_sample_write(run->comm, config, &order);
  if (err == GD_OK)
    gd_log(GD_LOG_INFO, "task %d: %d samples in %s (%.1f s)", task + 1, config->evaluation.samples, path,
           gd_seconds() - start);
  run->seconds_io += gd_seconds() - start;
  gd_free(path);
  gd_free(png);
  return err;
}

static gd_err conclude_task(gd_run *run, int task, sampling_networks with) {
  char *json = NULL;
  gd_err err;
  GD_TRY(write_samples(run, task, with));
  if (!run->after_task) goto done;
  gd_progress("measures");
  GD_TRY(run->after_task(run->after_task_context, task, &json));
  gd_metrics_line(run->metrics, json);
  err = gd_metrics_flush(run->metrics);
done:
  gd_free(json);
  return err;
}

gd_err gd_run_conclude_task(gd_run *run) {
  const gd_trainer *t = run->trainer;
  sampling_networks with = {
      .params = t->ema ? t->ema : t->params, .digest = run->digest, .earlier = (const float *const *)t->networks};
  while (t->networks[with.n_earlier]) with.n_earlier++;
  return conclude_task(run, run->position.task, with);
}

/* ---- Of earlier tasks ---- */

gd_err gd_run_end_of_task(const gd_comm *comm, const char *directory, int task, char **path, gd_checkpoint *header) {
  char *folder = gd_format("%s/checkpoints", directory), **paths = NULL;
  int n = 0;
  *path = NULL;
  gd_err err = gd_checkpoint_list(comm, folder, &paths, &n);
  for (int i = 0; i < n && !*path; i++) {
    char *name = gd_checkpoint_path(folder, task, 0);
    bool is_candidate = strncmp(paths[i], name, strlen(name) - strlen("000000.h5")) == 0;
    gd_free(name);
    if (!is_candidate || gd_checkpoint_read_header(comm, paths[i], header) != GD_OK) continue;
    if (header->task == task && header->task_done)
      *path = gd_strdup(paths[i]);
    else
      gd_checkpoint_clear(header);
  }
  gd_checkpoint_list_free(&paths, n);
  gd_free(folder);
  return err;
}

// Whether what the measures rest on differs from what is written down, on rank 0.
static bool has_other_measures(const gd_run *run) {
  int differs = 0;
  if (run->comm->rank == 0 && run->config->evaluation.measures) {
    gd_config *before = gd_run_recorded_config(run);
    differs = before && !gd_config_same_measures(before, run->config);
    gd_config_destroy(&before);
  }
  MPI_Bcast(&differs, 1, MPI_INT, 0, run->comm->mpi);
  return differs;
}

static gd_err find_outdated_samples(gd_run *run, int task) {
  gd_checkpoint header = {0};
  char *path;
  gd_err err = gd_run_end_of_task(run->comm, run->config->output.directory, task, &path, &header);
  if (err == GD_OK && path) run->is_outdated[task] = !has_current_samples(run, task, header.digest);
  if (err == GD_OK && !path)
    gd_log(GD_LOG_WARN,
           "task %d: its last checkpoint is gone, so its sample set stays as it is, whatever the configuration says",
           task + 1);
  gd_checkpoint_clear(&header);
  gd_free(path);
  return err;
}

// Whether the run ended before the task's measures were written.
static bool lacks_measures(const gd_run *run, int task) {
  int lacks = 0;
  if (run->comm->rank == 0 && run->after_task) {
    char *line = gd_metrics_find_evaluation(run->config->output.directory, task);
    lacks = !line;
    gd_free(line);
  }
  MPI_Bcast(&lacks, 1, MPI_INT, 0, run->comm->mpi);
  return lacks;
}

gd_err gd_run_find_outdated(gd_run *run) {
  bool all = has_other_measures(run);
  gd_err err = GD_OK;
  for (int task = 0; task < gd_position_finished(&run->position) && err == GD_OK; task++) {
    run->is_outdated[task] = all || lacks_measures(run, task);
    if (run->config->evaluation.samples > 0 && !run->is_outdated[task]) err = find_outdated_samples(run, task);
  }
  return err;
}

static gd_err renew_task(gd_run *run, int task) {
  gd_checkpoint checkpoint = {0};
  char *path;
  gd_err err = gd_run_end_of_task(run->comm, run->config->output.directory, task, &path, &checkpoint);
  gd_checkpoint_clear(&checkpoint);
  if (err == GD_OK && !path && run->after_task)
    gd_log(GD_LOG_WARN, "task %d: its last checkpoint is gone; gendistill evaluate %s measures the sample set as it is",
           task + 1, run->config->output.directory);
  if (err != GD_OK || !path) return err;
  gd_log(GD_LOG_INFO, "task %d: results made from %s, as the configuration says", task + 1, path);
  err = gd_checkpoint_read(run->comm, path, run->trainer->table, &checkpoint);
  if (err == GD_OK) {
    const float *earlier[GD_MAX_ARRAYS];
    sampling_networks with = {.params = gd_checkpoint_sampling_params(&checkpoint),
                              .digest = checkpoint.digest,
                              .n_earlier = gd_checkpoint_networks(&checkpoint, earlier),
                              .earlier = earlier};
    err = conclude_task(run, task, with);
  }
  gd_checkpoint_clear(&checkpoint);
  gd_free(path);
  return err;
}

gd_err gd_run_renew_outdated(gd_run *run) {
  gd_err err = GD_OK;
  for (int task = 0; task < gd_position_finished(&run->position) && err == GD_OK; task++)
    if (run->is_outdated[task]) err = renew_task(run, task);
  return err;
}
