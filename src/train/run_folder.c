/* The folder of a run: one writer at a time, no run over another one, and what the configuration was. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/run.h"

static char *path_inside(const gd_run *run, const char *name) {
  return gd_format("%s/%s", run->config->output.directory, name);
}

/* ---- Who may write ---- */

static gd_err count_checkpoints(const gd_run *run, int *n) {
  char *folder = path_inside(run, "checkpoints"), **paths = NULL;
  gd_err err = gd_checkpoint_list(run->comm, folder, &paths, n);
  gd_checkpoint_list_free(&paths, *n);
  gd_free(folder);
  return err;
}

// The first task's sample set is written after its last checkpoint.
static bool has_samples(const gd_run *run) {
  char *path = gd_sample_set_path(run->config->output.directory, 0);
  bool there = access(path, F_OK) == 0;
  gd_free(path);
  return there;
}

static bool has_metrics(const gd_run *run) {
  char *path = path_inside(run, "metrics.jsonl");
  bool there = gd_metrics_reach(path) > 0;
  gd_free(path);
  return there;
}

static gd_err refuse_used_folder(const gd_run *run) {
  const char *folder = run->config->output.directory;
  int n;
  gd_err err = count_checkpoints(run, &n);
  if (err != GD_OK) return err;
  if (n > 0)
    return gd_error(GD_ERR_INPUT,
                    "%s/checkpoints: already holds %d checkpoints: go on with --resume, or choose another "
                    "output.directory",
                    folder, n);
  if (run->comm->rank == 0 && (has_samples(run) || has_metrics(run)))
    err = gd_error(GD_ERR_INPUT,
                   "%s: already holds metrics or sample sets of a run: move them away, or choose another "
                   "output.directory",
                   folder);
  return gd_comm_agree(run->comm, err);
}

gd_err gd_run_take_folder(gd_run *run) {
  gd_err err = gd_folder_lock_take(&run->lock, run->comm, run->config->output.directory, "train");
  gd_progress("looking for an earlier run");
  return err == GD_OK && !run->resume ? refuse_used_folder(run) : err;
}

// A run that was killed before its first checkpoint has neither sample sets nor a second task.
gd_err gd_run_refuse_lost_checkpoints(const gd_run *run) {
  gd_err err = GD_OK;
  char *metrics = path_inside(run, "metrics.jsonl");
  if (run->comm->rank == 0 && (has_samples(run) || gd_metrics_reach(metrics) > 1))
    err = gd_error(GD_ERR_INPUT,
                   "%s: holds results of finished tasks, but no checkpoints to go on from: put them back, or choose "
                   "another output.directory",
                   run->config->output.directory);
  gd_free(metrics);
  return gd_comm_agree(run->comm, err);
}

/* ---- What was asked for ---- */

gd_config *gd_run_recorded_config(const gd_run *run) {
  gd_config *config = NULL;
  char *path = path_inside(run, "config.resolved.yaml");
  if (access(path, F_OK) == 0 && gd_config_create(&config, path, 0, NULL) != GD_OK)
    gd_log(GD_LOG_WARN, "%s; it is written anew", gd_error_message());
  gd_free(path);
  return config;
}

static void say_changes(const gd_run *run) {
  gd_config *before = run->resume ? gd_run_recorded_config(run) : NULL;
  char *changes = before ? gd_config_changes(before, run->config) : NULL;
  if (changes) gd_log(GD_LOG_INFO, "resumed with other settings: %s", changes);
  gd_free(changes);
  gd_config_destroy(&before);
}

static gd_err write_text(const char *path, const char *text) {
  gd_err err;
  FILE *file = gd_file_begin(path, &err);
  if (!file) return err;
  fputs(text, file);
  return gd_file_end(file, path, GD_OK);
}

static gd_err prepare_folder(const gd_run *run) {
  const char *const folders[] = {"checkpoints", "samples", gd_replay_folder(run->config)};
  gd_err err = GD_OK;
  for (int i = 0; i < 3 && folders[i] && err == GD_OK; i++) {
    char *path = path_inside(run, folders[i]);
    err = gd_folder_make(path);
    gd_free(path);
  }
  if (err != GD_OK) return err;
  say_changes(run);
  char *path = path_inside(run, "config.resolved.yaml"), *text = gd_config_dump(run->config);
  err = write_text(path, text);
  gd_free(path);
  gd_free(text);
  return err;
}

gd_err gd_run_prepare_folder(const gd_run *run) {
  return gd_comm_agree(run->comm, run->comm->rank == 0 ? prepare_folder(run) : GD_OK);
}
