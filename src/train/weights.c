/* Weights that a new run begins with: key training.init. */
#include <inttypes.h>
#include <string.h>

#include "train/trainer.h"

static bool is_safetensors(const char *path) {
  const char *dot = strrchr(path, '.');
  return dot && strcmp(dot, ".safetensors") == 0;
}

// Fills params (total). Collective on comm.
static gd_err read_weights(const gd_comm *comm, const char *path, const gd_param_table *table, float *params) {
  gd_checkpoint checkpoint = {0};
  gd_err err = GD_OK;
  if (is_safetensors(path)) {
    if (comm->rank == 0) err = gd_safetensors_read(path, table, params);
    GD_TRY(gd_comm_agree(comm, err));
    gd_comm_broadcast(comm, params, table->total, MPI_FLOAT, 0);
  } else {
    GD_TRY(gd_checkpoint_read(comm, path, table, &checkpoint));
    memcpy(params, gd_checkpoint_sampling_params(&checkpoint), (size_t)table->total * sizeof *params);
  }
done:
  gd_checkpoint_clear(&checkpoint);
  return err;
}

gd_err gd_weights_read(const gd_comm *comm, const gd_config *config, float **params) {
  const char *path = config->training.init;
  gd_net *net;
  if (*params || strcmp(path, "none") == 0) return GD_OK;
  gd_model_create(&net, config);
  const gd_param_table *table = gd_net_params(net);
  *params = GD_NEW_ARRAY(float, table->total);
  gd_err err = read_weights(comm, path, table, *params);
  if (err == GD_OK)
    gd_log(GD_LOG_INFO, "beginning with the weights of %s, digest %016" PRIx64, path,
           gd_param_table_digest(table, *params));
  else
    gd_error_context(err, "training.init");
  gd_net_destroy(&net);
  return err;
}

void gd_trainer_take_weights(gd_trainer *t, const float *params) {
  size_t nbytes = (size_t)t->table->total * sizeof *params;
  GD_REQUIRE(!gd_learner_plan(t->learner));  // plans are made with the first task, from these
  memcpy(t->params, params, nbytes);
  if (t->ema) memcpy(t->ema, params, nbytes);
}
