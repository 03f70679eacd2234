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
  if (is_safetensors(path)) return gd_comm_agree(comm, gd_safetensors_read(path, table, params));
  gd_checkpoint checkpoint = {0};
  gd_err err = gd_checkpoint_read(comm, path, table, &checkpoint);
  if (err == GD_OK) memcpy(params, gd_checkpoint_sampling_params(&checkpoint), (size_t)table->total * sizeof *params);
  gd_checkpoint_clear(&checkpoint);
  return err;
}

static bool has_weights(const gd_config *config) {
  return strcmp(config->training.init, "none") != 0;
}

gd_err gd_weights_check(const gd_comm *comm, const gd_config *config) {
  gd_net *net;
  if (!has_weights(config)) return GD_OK;
  gd_model_create(&net, config);
  const gd_param_table *table = gd_net_params(net);
  float *params = GD_NEW_ARRAY(float, table->total);
  gd_err err = read_weights(comm, config->training.init, table, params);
  if (err != GD_OK) gd_error_context(err, "training.init");
  gd_free(params);
  gd_net_destroy(&net);
  return err;
}

gd_err gd_trainer_take_weights(gd_trainer *t) {
  const char *path = t->config->training.init;
  if (!has_weights(t->config)) return GD_OK;
  gd_err err = read_weights(t->comm, path, t->table, t->params);
  if (err != GD_OK) return err;
  if (t->ema) memcpy(t->ema, t->params, (size_t)t->table->total * sizeof(float));
  gd_plan *plan = gd_learner_plan(t->learner);
  GD_REQUIRE(!plan);  // plans are made with the first task, from these
  gd_log(GD_LOG_INFO, "beginning with the weights of %s, digest %016" PRIx64, path,
         gd_param_table_digest(t->table, t->params));
  return GD_OK;
}
