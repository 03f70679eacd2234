/* gendistill export: a checkpoint as a folder that diffusers loads: weights, network and scheduler. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "gendistill/store.h"

static const char pipeline[] =
    "{\n"
    "  \"_class_name\": \"DDPMPipeline\",\n"
    "  \"_diffusers_version\": \"0.30.0\",\n"
    "  \"scheduler\": [\"diffusers\", \"%s\"],\n"
    "  \"unet\": [\"diffusers\", \"UNet2DModel\"]\n"
    "}\n";

// Nothing that is there is replaced.
static gd_err check_folder(const char *folder) {
  DIR *dir = opendir(folder);
  int n = 0;
  if (!dir && errno == ENOENT) return GD_OK;
  if (!dir) return gd_error(GD_ERR_INPUT, "--output: cannot use the folder %s: %s", folder, strerror(errno));
  for (const struct dirent *entry; (entry = readdir(dir));)
    n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(dir);
  return n == 0 ? GD_OK : gd_error(GD_ERR_INPUT, "--output: the folder %s is not empty", folder);
}

static gd_err write_pipeline(const char *folder, const char *scheduler) {
  gd_err err;
  char *path = gd_format("%s/model_index.json", folder);
  FILE *file = gd_file_begin(path, &err);
  if (file) {
    fprintf(file, pipeline, scheduler);
    err = gd_file_end(file, path, GD_OK);
  }
  gd_free(path);
  return err;
}

static gd_err write_folder(const char *folder, const gd_config *config, const gd_param_table *table,
                           const float *params) {
  gd_err err;
  gd_diffusers_scheduler chosen = gd_scheduler_choose(&config->diffusion, config->evaluation.sampling.sampler);
  char *unet = gd_format("%s/unet", folder), *scheduler = gd_format("%s/scheduler", folder);
  char *weights = gd_format("%s/diffusion_pytorch_model.safetensors", unet);
  char *unet_config = gd_format("%s/config.json", unet);
  char *scheduler_config = gd_format("%s/scheduler_config.json", scheduler);
  GD_TRY(gd_folder_make(unet));
  GD_TRY(gd_folder_make(scheduler));
  GD_TRY(gd_safetensors_write(weights, table, params));
  GD_TRY(gd_model_write_config(unet_config, config));
  GD_TRY(gd_scheduler_write_config(scheduler_config, &config->diffusion, chosen));
  err = write_pipeline(folder, chosen.class_name);
done:
  gd_free(unet);
  gd_free(scheduler);
  gd_free(weights);
  gd_free(unet_config);
  gd_free(scheduler_config);
  return err;
}

gd_err gd_command_export(const gd_comm *comm, int argc, char **argv) {
  gd_err err;
  const char *path = NULL, *folder = NULL;
  gd_checkpoint header = {0}, checkpoint = {0};
  gd_config *config = NULL;
  gd_net *net = NULL;
  const gd_option options[] = {
      {"checkpoint", GD_OPTION_TEXT, &path, true}, {"output", GD_OPTION_TEXT, &folder, true}, {0}};
  GD_TRY(gd_comm_agree(comm, gd_options_parse(argc, argv, options, NULL, NULL)));
  GD_TRY(gd_comm_agree(comm, comm->rank == 0 ? check_folder(folder) : GD_OK));
  GD_TRY(gd_checkpoint_read_header(comm, path, &header));
  GD_TRY(gd_comm_agree(comm, gd_config_create_from_text(&config, path, header.config_text, 0, NULL)));
  gd_model_create(&net, config);
  GD_TRY(gd_checkpoint_read(comm, path, gd_net_params(net), &checkpoint));
  if (comm->rank == 0)
    err = write_folder(folder, config, gd_net_params(net), gd_checkpoint_sampling_params(&checkpoint));
  GD_TRY(gd_comm_agree(comm, err));
  if (comm->rank == 0) printf("%s\n", folder);
done:
  gd_checkpoint_clear(&checkpoint);
  gd_checkpoint_clear(&header);
  gd_net_destroy(&net);
  gd_config_destroy(&config);
  return err;
}
