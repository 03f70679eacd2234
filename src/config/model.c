/* The network of a configuration. */
#include "gendistill/config.h"

static int channels_of(const gd_config *config) {
  return gd_dataset_kind_get(config->dataset.name)->channels;
}

void gd_model_create(gd_net **out, const gd_config *config) {
  gd_unet_create(out, &config->model, config->dataset.image_size, channels_of(config));
}

gd_err gd_model_check_config(const char *path, const gd_config *config) {
  return gd_unet_check_config(path, &config->model, config->dataset.image_size, channels_of(config));
}

gd_err gd_model_write_config(const char *path, const gd_config *config) {
  return gd_unet_write_config(path, &config->model, config->dataset.image_size, channels_of(config));
}
