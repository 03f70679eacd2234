/* gendistill import: weights of a diffusers UNet2DModel, from safetensors or a folder that diffusers wrote, to a
 * checkpoint. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "gendistill/model.h"
#include "gendistill/store.h"

static gd_err check_output(const char *output, const char *safetensors, const char *config) {
  gd_err err = gd_output_check("output", output);
  if (err == GD_OK) err = gd_output_check_other("output", output, "safetensors", safetensors);
  return err == GD_OK ? gd_output_check_other("output", output, "config", config) : err;
}

// The file that diffusers writes with the weights.
static gd_err check_config_json(const char *safetensors, const gd_config *config) {
  const char *slash = strrchr(safetensors, '/');
  char *path = gd_format("%.*sconfig.json", slash ? (int)(slash + 1 - safetensors) : 0, safetensors);
  gd_err err = gd_model_check_config(path, config);
  gd_free(path);
  return err;
}

// The scheduler that a folder of diffusers has for the network.
static gd_err check_scheduler(const char *folder, const gd_config *config) {
  if (!folder) return GD_OK;
  char *path = gd_format("%s/scheduler/scheduler_config.json", folder);
  gd_err err = gd_scheduler_check_config(path, &config->diffusion);
  gd_free(path);
  return err;
}

gd_err gd_command_import(const gd_comm *comm, int argc, char **argv) {
  gd_err err = GD_OK;
  const char *safetensors = NULL, *folder = NULL, *config_path = NULL, *output = NULL;
  gd_texts sets = {0};
  gd_config *config = NULL;
  gd_net *net = NULL;
  gd_checkpoint checkpoint = {0};
  char *weights = NULL;
  const gd_option options[] = {{"safetensors", GD_OPTION_TEXT, &safetensors, false},
                               {"diffusers", GD_OPTION_TEXT, &folder, false},
                               {"config", GD_OPTION_TEXT, &config_path, true},
                               {"output", GD_OPTION_TEXT, &output, true},
                               {"set", GD_OPTION_TEXTS, &sets, false},
                               {0}};
  err = gd_options_parse(argc, argv, options, NULL, NULL);
  if (err == GD_OK && !safetensors == !folder)
    err = gd_error(GD_ERR_INPUT, "import: needs --safetensors or --diffusers");
  GD_TRY(gd_comm_agree(comm, err));
  if (folder) safetensors = weights = gd_format("%s/unet/diffusion_pytorch_model.safetensors", folder);
  GD_TRY(gd_config_read(&config, comm, config_path, sets.n, sets.values));
  GD_REQUIRE(config && safetensors);
  GD_TRY(gd_comm_agree(comm, comm->rank == 0 ? check_output(output, safetensors, config_path) : GD_OK));
  gd_model_create(&net, config);
  GD_TRY(gd_comm_agree(comm, check_config_json(safetensors, config)));
  GD_TRY(gd_comm_agree(comm, check_scheduler(folder, config)));
  const gd_param_table *table = gd_net_params(net);
  checkpoint.seed = config->seed;
  checkpoint.config_text = gd_config_dump(config);
  checkpoint.code_version = gd_strdup(GD_VERSION);
  float *params = GD_NEW_ARRAY(float, table->total);
  gd_checkpoint_add(&checkpoint, "model", params);
  GD_TRY(gd_comm_agree(comm, gd_safetensors_read(safetensors, table, params)));
  GD_TRY(gd_checkpoint_write(comm, output, table, &checkpoint));
  if (comm->rank == 0) printf("%s: %d tensors, %lld parameters\n", output, table->n, (long long)table->total);
done:
  gd_checkpoint_clear(&checkpoint);
  gd_net_destroy(&net);
  gd_config_destroy(&config);
  gd_free(weights);
  return err;
}
