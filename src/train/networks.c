/* The networks of earlier tasks, where each task has one of its own (strategy isolated). */
#include <stdio.h>
#include <string.h>

#include "train/trainer.h"

typedef struct network_name {
  char of[32];
} network_name;

static network_name name_of(int task) {
  network_name name;
  snprintf(name.of, sizeof name.of, GD_NETWORK_PREFIX "%d", task + 1);
  return name;
}

static void reserve_networks(gd_trainer *t, int n) {
  for (int task = 0; task < n; task++)
    if (!t->networks[task]) t->networks[task] = GD_NEW_ARRAY(float, t->table->total);
}

void gd_networks_begin_task(gd_trainer *t, int task) {
  size_t nbytes = (size_t)t->table->total * sizeof(float);
  if (!t->strategy->isolates || task == 0) return;
  reserve_networks(t, task);
  memcpy(t->networks[task - 1], t->ema ? t->ema : t->params, nbytes);
  gd_param_table_initialise(t->table, t->config->seed, t->params);
  if (t->ema) memcpy(t->ema, t->params, nbytes);
}

int gd_networks_list(const gd_trainer *t, gd_named_array *arrays, int n) {
  for (int task = 0; t->networks[task]; task++) n = gd_named_array_add(arrays, n, name_of(task).of, t->networks[task]);
  return n;
}

gd_err gd_networks_restore(gd_trainer *t, const char *path, const gd_checkpoint *checkpoint) {
  if (!t->strategy->isolates) return GD_OK;
  reserve_networks(t, checkpoint->task);
  for (int task = 0; task < checkpoint->task; task++) {
    const float *stored = gd_checkpoint_array(checkpoint, name_of(task).of);
    if (!stored)
      return gd_error(GD_ERR_INPUT, "%s: holds no array '%s'; it cannot be resumed from", path, name_of(task).of);
    memcpy(t->networks[task], stored, (size_t)t->table->total * sizeof *stored);
  }
  return GD_OK;
}

void gd_networks_free(gd_trainer *t) {
  for (int task = 0; task < GD_MAX_CLASSES; task++) gd_free(t->networks[task]);
}
