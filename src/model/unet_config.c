/* The config.json that diffusers keeps with a UNet2DModel's weights: one table of its keys, with the value of this
 * program's network for each. Networks that differ in these may have the same weights. */
#include <jansson.h>
#include <string.h>

#include "gendistill/model.h"
#include "gendistill/store.h"

static const gd_json_key unet_keys[] = {
    {"_class_name", GD_JSON_FIXED, "\"UNet2DModel\"", "\"UNet2DModel\"", NULL, false},
    {"_diffusers_version", GD_JSON_ANY, "\"0.30.0\"", NULL, NULL, false},
    {"_name_or_path", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"sample_size", GD_JSON_CONFIGURED, "dataset.image_size", "null", "null", false},
    {"in_channels", GD_JSON_CONFIGURED, "dataset.name", "3", NULL, false},
    {"out_channels", GD_JSON_CONFIGURED, "dataset.name", "3", NULL, false},
    {"center_input_sample", GD_JSON_FIXED, "false", "false", NULL, true},
    {"time_embedding_type", GD_JSON_FIXED, "\"positional\"", "\"positional\"", NULL, false},
    {"num_train_timesteps", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"flip_sin_to_cos", GD_JSON_FIXED, "true", "true", NULL, true},
    {"freq_shift", GD_JSON_FIXED, "0", "0", NULL, true},
    {"down_block_types", GD_JSON_CONFIGURED, "model.attention",
     "[\"DownBlock2D\",\"AttnDownBlock2D\",\"AttnDownBlock2D\",\"AttnDownBlock2D\"]", NULL, false},
    {"mid_block_type", GD_JSON_FIXED, "\"UNetMidBlock2D\"", "\"UNetMidBlock2D\"", NULL, false},
    {"up_block_types", GD_JSON_CONFIGURED, "model.attention",
     "[\"AttnUpBlock2D\",\"AttnUpBlock2D\",\"AttnUpBlock2D\",\"UpBlock2D\"]", NULL, false},
    {"block_out_channels", GD_JSON_CONFIGURED, "model.block_out_channels", "[224,448,672,896]", NULL, false},
    {"layers_per_block", GD_JSON_CONFIGURED, "model.layers_per_block", "2", NULL, false},
    {"mid_block_scale_factor", GD_JSON_FIXED, "1", "1", NULL, true},
    {"downsample_padding", GD_JSON_FIXED, "1", "1", NULL, true},
    {"downsample_type", GD_JSON_FIXED, "\"conv\"", "\"conv\"", NULL, false},
    {"upsample_type", GD_JSON_FIXED, "\"conv\"", "\"conv\"", NULL, false},
    {"dropout", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"act_fn", GD_JSON_FIXED, "\"silu\"", "\"silu\"", "\"swish\"", true},
    {"attention_head_dim", GD_JSON_CONFIGURED, "model.attention_head_dim", "8", NULL, true},
    {"norm_num_groups", GD_JSON_CONFIGURED, "model.norm_num_groups", "32", NULL, true},
    {"attn_norm_num_groups", GD_JSON_FIXED, "null", "null", NULL, true},
    {"norm_eps", GD_JSON_FIXED, "1e-05", "1e-05", NULL, true},
    {"resnet_time_scale_shift", GD_JSON_FIXED, "\"default\"", "\"default\"", NULL, false},
    {"add_attention", GD_JSON_FIXED, "true", "true", NULL, false},
    {"class_embed_type", GD_JSON_FIXED, "null", "null", NULL, false},
    {"num_class_embeds", GD_JSON_CONFIGURED, "model.conditional", "null", NULL, false},
};
enum { N_UNET_KEYS = sizeof unet_keys / sizeof *unet_keys };

/* ---- What our network is ---- */

typedef struct unet_context {
  const gd_unet_config *model;
  int image_size, channels;
} unet_context;

static json_t *channels_json(const gd_unet_config *model) {
  json_t *out = json_array();
  for (int i = 0; i < model->n_levels; i++) json_array_append_new(out, json_integer(model->block_out_channels[i]));
  return out;
}

// From the highest resolution down, or back up.
static json_t *blocks_json(const gd_unet_config *model, bool is_up) {
  json_t *out = json_array();
  for (int i = 0; i < model->n_levels; i++) {
    bool attends = model->attention[is_up ? model->n_levels - 1 - i : i];
    json_array_append_new(out, json_sprintf("%s%sBlock2D", attends ? "Attn" : "", is_up ? "Up" : "Down"));
  }
  return out;
}

// Of a configured key.
static json_t *unet_value(const void *context, const char *name) {
  const unet_context *unet = context;
  const gd_unet_config *model = unet->model;
  if (strcmp(name, "sample_size") == 0) return json_integer(unet->image_size);
  if (strcmp(name, "in_channels") == 0 || strcmp(name, "out_channels") == 0) return json_integer(unet->channels);
  if (strcmp(name, "down_block_types") == 0) return blocks_json(model, false);
  if (strcmp(name, "up_block_types") == 0) return blocks_json(model, true);
  if (strcmp(name, "block_out_channels") == 0) return channels_json(model);
  if (strcmp(name, "layers_per_block") == 0) return json_integer(model->layers_per_block);
  if (strcmp(name, "norm_num_groups") == 0) return json_integer(model->norm_num_groups);
  if (strcmp(name, "num_class_embeds") == 0)
    return model->conditional ? json_integer(model->n_classes + 1) : json_null();
  GD_REQUIRE(strcmp(name, "attention_head_dim") == 0);
  return model->attention_head_dim ? json_integer(model->attention_head_dim) : json_null();
}

gd_err gd_unet_check_config(const char *path, const gd_unet_config *model, int image_size, int channels) {
  unet_context context = {model, image_size, channels};
  return gd_json_check(path, &(gd_json_table){unet_keys, N_UNET_KEYS, unet_value, &context, NULL});
}

gd_err gd_unet_write_config(const char *path, const gd_unet_config *model, int image_size, int channels) {
  unet_context context = {model, image_size, channels};
  char *dropout = gd_format("{\"dropout\": %g}", model->dropout);
  gd_err err = gd_json_write(path, &(gd_json_table){unet_keys, N_UNET_KEYS, unet_value, &context, dropout});
  gd_free(dropout);
  return err;
}
