/* The arrays of a run that checkpoints keep, one row each, and behind them the networks of earlier tasks and the
 * regulariser's: checkpoints, the
 * comparison of replicas, memory counts and resuming go through this table. */
#include <string.h>

#include "train/trainer.h"

typedef struct state_row {
  const char *name;                        // in checkpoints
  size_t offset;                           // of its pointer in gd_trainer
  bool is_of_task;                         // begins anew with each task
  bool (*is_needed)(const gd_trainer *t);  // NULL: always
} state_row;

static bool has_average(const gd_trainer *t) {
  return t->config->training.ema_decay > 0;
}

static const state_row rows[] = {
    {"model", offsetof(gd_trainer, params), false, NULL},
    {"teacher", offsetof(gd_trainer, teacher), true, gd_trainer_has_teacher},
    {"optimizer/m", offsetof(gd_trainer, m), true, NULL},
    {"optimizer/v", offsetof(gd_trainer, v), true, NULL},
    {"ema", offsetof(gd_trainer, ema), false, has_average},
};
enum { N_ROWS = sizeof rows / sizeof *rows };
_Static_assert((int)N_ROWS <= (int)GD_MAX_ARRAYS, "a checkpoint has room for the state");

static float **array_of(const gd_trainer *t, const state_row *row) {
  return (float **)((char *)t + row->offset);
}

void gd_state_allocate(gd_trainer *t) {
  for (int i = 0; i < N_ROWS; i++) {
    float **array = array_of(t, &rows[i]);
    if (!*array && (!rows[i].is_needed || rows[i].is_needed(t))) *array = GD_NEW_ARRAY(float, t->table->total);
  }
}

void gd_state_free(gd_trainer *t) {
  for (int i = 0; i < N_ROWS; i++) gd_free(*array_of(t, &rows[i]));
}

int gd_state_list(const gd_trainer *t, gd_named_array *arrays) {
  int n = 0;
  for (int i = 0; i < N_ROWS; i++) n = gd_named_array_add(arrays, n, rows[i].name, *array_of(t, &rows[i]));
  n = gd_networks_list(t, arrays, n);
  return t->regularisation ? gd_regularisation_list(t->regularisation, arrays, n) : n;
}

static gd_err copy_array(gd_trainer *t, const state_row *row, const char *path, const gd_checkpoint *checkpoint) {
  float *mine = *array_of(t, row);
  const float *stored = gd_checkpoint_array(checkpoint, row->name);
  if (!mine) return GD_OK;
  if (!stored) return gd_error(GD_ERR_INPUT, "%s: holds no array '%s'; it cannot be resumed from", path, row->name);
  memcpy(mine, stored, (size_t)t->table->total * sizeof *mine);
  return GD_OK;
}

static gd_err restore_others(gd_trainer *t, const char *path, const gd_checkpoint *checkpoint) {
  gd_err err = gd_networks_restore(t, path, checkpoint);
  if (err == GD_OK && t->regularisation) err = gd_regularisation_restore(t->regularisation, path, checkpoint);
  return err;
}

gd_err gd_state_restore(gd_trainer *t, const char *path, const gd_checkpoint *checkpoint) {
  gd_err err = GD_OK;
  for (int i = 0; i < N_ROWS; i++)
    if (!rows[i].is_of_task) GD_TRY(copy_array(t, &rows[i], path, checkpoint));
  GD_TRY(restore_others(t, path, checkpoint));
  if (checkpoint->task_done) goto done;        // the next task begins anew from these
  gd_trainer_begin_task(t, checkpoint->task);  // resets what the checkpoint holds
  for (int i = 0; i < N_ROWS; i++) GD_TRY(copy_array(t, &rows[i], path, checkpoint));
  GD_TRY(restore_others(t, path, checkpoint));
  t->replay_seconds = checkpoint->replay_seconds;
done:
  return err;
}
