/* Saving a trainer to a checkpoint and finding the newest usable one again. */
#include <inttypes.h>
#include <string.h>

#include "train/trainer.h"

static char *checkpoint_folder(const gd_config *config) {
  return gd_format("%s/checkpoints", config->output.directory);
}

// All ranks hold the same arrays, unless a computer has erred or the ranks' computers compute differently.
static gd_err check_replicas(const gd_trainer *t) {
  gd_named_array arrays[GD_MAX_ARRAYS];
  int n_arrays = gd_state_list(t, arrays);
  uint64_t mine = 0, *all = GD_NEW_ARRAY(uint64_t, t->comm->size);
  for (int i = 0; i < n_arrays; i++) mine = gd_digest(arrays[i].values, (size_t)t->table->total * sizeof(float), mine);
  MPI_Allgather(&mine, 1, MPI_UINT64_T, all, 1, MPI_UINT64_T, t->comm->mpi);
  int other = 1, n = 0;
  for (int r = t->comm->size - 1; r > 0; r--) {
    if (all[r] == all[0]) continue;
    other = r;
    n++;
  }
  gd_free(all);
  if (n == 0) return GD_OK;
  return gd_error(
      GD_ERR_FAILED,
      "the parameters or optimiser state of %d of %d ranks, rank %d the first of them, are not those of rank "
      "0: no checkpoint of them is written; go on from the one before with --resume, on sound nodes of one "
      "CPU type",
      n, t->comm->size, other);
}

gd_err gd_trainer_save(gd_trainer *t, const gd_position *position, uint64_t *digest) {
  gd_err same = check_replicas(t);
  if (same != GD_OK) return same;
  char *folder = checkpoint_folder(t->config);
  char *path = gd_checkpoint_path(folder, position->task, position->step);
  gd_checkpoint c = {.task = position->task,
                     .epoch = position->epoch,
                     .step = position->step,
                     .global_step = position->global_step,
                     .task_done = position->task_done,
                     .seed = t->config->seed,
                     .config_text = gd_config_dump(t->config),
                     .code_version = GD_VERSION,
                     .data_digest = t->data_digest,
                     .replay_seconds = t->config->replay.limit_seconds > 0 ? t->replay_seconds : 0};
  c.n_arrays = gd_state_list(t, c.arrays);
  if (t->regularisation) gd_regularisation_save(t->regularisation, &c);
  gd_err err = gd_checkpoint_write(t->comm, path, t->table, &c);
  *digest = c.digest;
  if (err == GD_OK) err = gd_checkpoint_prune(t->comm, folder, t->config->output.keep);
  gd_free(c.config_text);
  gd_free(path);
  gd_free(folder);
  return err;
}

// Checkpoints of earlier versions do not know their data.
static gd_err check_same_data(const gd_trainer *t, const gd_checkpoint *c) {
  if (!c->data_digest || c->data_digest == t->data_digest) return GD_OK;
  return gd_error(GD_ERR_INPUT,
                  "the run was started with other training images or labels (digest %016" PRIx64
                  ") than those of dataset.path, %s (digest %016" PRIx64 ")",
                  c->data_digest, t->config->dataset.path, t->data_digest);
}

static gd_err check_same_run(const gd_trainer *t, const char *path, const gd_checkpoint *c) {
  gd_config *stored = NULL;
  gd_err err = gd_config_create_from_text(&stored, path, c->config_text, 0, NULL);
  if (err == GD_OK) err = gd_config_require_same_run(stored, t->config);
  if (err == GD_OK) err = check_same_data(t, c);
  if (err != GD_OK) gd_error_context(err, "%s", path);
  gd_config_destroy(&stored);
  return gd_comm_agree(t->comm, err);
}

gd_err gd_trainer_restore(gd_trainer *t, gd_position *position, bool *found) {
  gd_err err = GD_OK;
  char *folder = checkpoint_folder(t->config), **paths = NULL;
  int n = 0;
  *found = false;
  gd_checkpoint c = {0};
  GD_TRY(gd_checkpoint_list(t->comm, folder, &paths, &n));
  for (int i = 0; i < n && !*found; i++) {
    gd_err reading = gd_checkpoint_read(t->comm, paths[i], t->table, &c);
    // A checkpoint of other settings is the user's mistake, not damage: say so instead of trying an older one.
    if (reading == GD_OK) {
      GD_TRY(check_same_run(t, paths[i], &c));
      GD_TRY(gd_comm_agree(t->comm, gd_state_restore(t, paths[i], &c)));
      *position = (gd_position){
          .task = c.task, .epoch = c.epoch, .step = c.step, .global_step = c.global_step, .task_done = c.task_done};
      gd_log(GD_LOG_INFO, "resuming from %s", paths[i]);
      *found = true;
    } else {
      gd_log(GD_LOG_WARN, "%s; trying the checkpoint before it", gd_error_message());
      gd_checkpoint_clear(&c);
    }
  }
  if (n > 0 && !*found)
    err = gd_error(GD_ERR_INPUT,
                   "%s: none of its %d checkpoints can be used; not starting anew over them (move them "
                   "away or choose another output.directory)",
                   folder, n);
done:
  gd_checkpoint_clear(&c);
  gd_checkpoint_list_free(&paths, n);
  gd_free(folder);
  return err;
}
