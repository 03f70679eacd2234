/* The config.json that diffusers keeps with a UNet2DModel's weights: one table of its keys, with the value of this
 * program's network for each. Networks that differ in these may have the same weights. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gendistill/model.h"

// What a key must be.
typedef enum unet_key_kind {
  KEY_FIXED,       // the same in all our networks
  KEY_CONFIGURED,  // follows from the configuration
  KEY_ANY          // has no effect on what the network computes
} unet_key_kind;

typedef struct unet_key {
  const char *name;
  unet_key_kind kind;
  const char *value;     // of a fixed key, as JSON; of a configured key: the keys of the configuration
  const char *fallback;  // diffusers' default, as JSON: what a file without the key means
  const char *also;      // another value for the same computation, as JSON; or NULL
  bool is_hidden;        // weights of another value have the same names and shapes
} unet_key;

static const unet_key unet_keys[] = {
    {"_class_name", KEY_FIXED, "\"UNet2DModel\"", "\"UNet2DModel\"", NULL, false},
    {"_diffusers_version", KEY_ANY, NULL, NULL, NULL, false},
    {"_name_or_path", KEY_ANY, NULL, NULL, NULL, false},
    {"sample_size", KEY_CONFIGURED, "dataset.image_size", "null", "null", false},
    {"in_channels", KEY_CONFIGURED, "dataset.name", "3", NULL, false},
    {"out_channels", KEY_CONFIGURED, "dataset.name", "3", NULL, false},
    {"center_input_sample", KEY_FIXED, "false", "false", NULL, true},
    {"time_embedding_type", KEY_FIXED, "\"positional\"", "\"positional\"", NULL, false},
    {"num_train_timesteps", KEY_ANY, NULL, NULL, NULL, false},
    {"flip_sin_to_cos", KEY_FIXED, "true", "true", NULL, true},
    {"freq_shift", KEY_FIXED, "0", "0", NULL, true},
    {"down_block_types", KEY_CONFIGURED, "model.attention",
     "[\"DownBlock2D\",\"AttnDownBlock2D\",\"AttnDownBlock2D\",\"AttnDownBlock2D\"]", NULL, false},
    {"mid_block_type", KEY_FIXED, "\"UNetMidBlock2D\"", "\"UNetMidBlock2D\"", NULL, false},
    {"up_block_types", KEY_CONFIGURED, "model.attention",
     "[\"AttnUpBlock2D\",\"AttnUpBlock2D\",\"AttnUpBlock2D\",\"UpBlock2D\"]", NULL, false},
    {"block_out_channels", KEY_CONFIGURED, "model.block_out_channels", "[224,448,672,896]", NULL, false},
    {"layers_per_block", KEY_CONFIGURED, "model.layers_per_block", "2", NULL, false},
    {"mid_block_scale_factor", KEY_FIXED, "1", "1", NULL, true},
    {"downsample_padding", KEY_FIXED, "1", "1", NULL, true},
    {"downsample_type", KEY_FIXED, "\"conv\"", "\"conv\"", NULL, false},
    {"upsample_type", KEY_FIXED, "\"conv\"", "\"conv\"", NULL, false},
    {"dropout", KEY_ANY, NULL, NULL, NULL, false},
    {"act_fn", KEY_FIXED, "\"silu\"", "\"silu\"", "\"swish\"", true},
    {"attention_head_dim", KEY_CONFIGURED, "model.attention_head_dim", "8", NULL, true},
    {"norm_num_groups", KEY_CONFIGURED, "model.norm_num_groups", "32", NULL, true},
    {"attn_norm_num_groups", KEY_FIXED, "null", "null", NULL, true},
    {"norm_eps", KEY_FIXED, "1e-05", "1e-05", NULL, true},
    {"resnet_time_scale_shift", KEY_FIXED, "\"default\"", "\"default\"", NULL, false},
    {"add_attention", KEY_FIXED, "true", "true", NULL, false},
    {"class_embed_type", KEY_FIXED, "null", "null", NULL, false},
    {"num_class_embeds", KEY_CONFIGURED, "model.conditional", "null", NULL, false},
};
enum { N_UNET_KEYS = sizeof unet_keys / sizeof *unet_keys };

/* ---- What our network is ---- */

static json_t *parsed_file(const char *text) {
  json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
  GD_REQUIRE(value);
  return value;
}

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

// New reference; NULL for a key without effect.
static json_t *value_of(const unet_key *key, const gd_unet_config *model, int image_size, int channels) {
  const char *name = key->name;
  if (key->kind == KEY_ANY) return NULL;
  if (key->kind == KEY_FIXED) return parsed_file(key->value);
  if (strcmp(name, "sample_size") == 0) return json_integer(image_size);
  if (strcmp(name, "in_channels") == 0 || strcmp(name, "out_channels") == 0) return json_integer(channels);
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

/* ---- What a file says ---- */

// 1 and 1.0 are the same number.
static bool same_value(const json_t *a, const json_t *b) {
  if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
  if (!json_is_array(a) || !json_is_array(b)) return json_equal(a, b);
  size_t n = json_array_size(a);
  bool same = n == json_array_size(b);
  for (size_t i = 0; i < n && same; i++) same = same_value(json_array_get(a, i), json_array_get(b, i));
  return same;
}

// New string.
static char *shown_value(const json_t *value) {
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)), *out = gd_strdup(text);
  free(text);
  return out;
}

static gd_err refuse_key(const char *path, const unet_key *key, const json_t *found, bool is_there,
                         const json_t *required) {
  char *is = shown_value(found), *must = shown_value(required);
  gd_err err = gd_error(GD_ERR_INPUT, "%s: key '%s' is %.200s%s, must be %.200s%s%s%s", path, key->name, is,
                        is_there ? "" : " (not there: the default of diffusers)", must,
                        key->kind == KEY_CONFIGURED ? " (" : ": no other is supported",
                        key->kind == KEY_CONFIGURED ? key->value : "", key->kind == KEY_CONFIGURED ? ")" : "");
  gd_free(is);
  gd_free(must);
  return err;
}

static gd_err check_key(const char *path, const json_t *file, const unet_key *key, json_t *required) {
  json_t *there = json_object_get(file, key->name), *also = key->also ? parsed_file(key->also) : NULL;
  json_t *found = there ? json_incref(there) : parsed_file(key->fallback);
  bool fits = same_value(found, required) || (also && same_value(found, also));
  gd_err err = fits ? GD_OK : refuse_key(path, key, found, there != NULL, required);
  json_decref(found);
  json_decref(also);
  return err;
}

static bool is_known(const char *name) {
  int i = 0;
  while (i < N_UNET_KEYS && strcmp(unet_keys[i].name, name) != 0) i++;
  return i < N_UNET_KEYS;
}

static gd_err check_keys(const char *path, json_t *file, const gd_unet_config *model, int image_size, int channels) {
  gd_err err = GD_OK;
  for (int i = 0; i < N_UNET_KEYS && err == GD_OK; i++) {
    json_t *required = value_of(&unet_keys[i], model, image_size, channels);
    if (required) err = check_key(path, file, &unet_keys[i], required);
    json_decref(required);
  }
  const char *name;
  json_t *value;
  json_object_foreach(file, name, value) {
    if (err == GD_OK && !is_known(name) && !json_is_null(value))
      gd_log(GD_LOG_WARN, "%s: key '%.100s' is not known: assuming that it does not change what the network computes",
             path, name);
  }
  return err;
}

// The keys that do not follow from the weights, as "key value, key value".
static void warn_of_assumptions(const char *path, const gd_unet_config *model) {
  char *text = NULL;
  FILE *out = gd_text_begin(&text);
  for (int i = 0, n = 0; i < N_UNET_KEYS; i++) {
    if (!unet_keys[i].is_hidden) continue;
    json_t *value = value_of(&unet_keys[i], model, 0, 0);
    char *is = shown_value(value);
    fprintf(out, "%s%s %s", n++ ? ", " : "", unet_keys[i].name, is);
    gd_free(is);
    json_decref(value);
  }
  gd_text_end(out);
  gd_log(GD_LOG_WARN, "%s: no such file, so what does not follow from the weights is assumed: %s", path, text);
  gd_free(text);
}

gd_err gd_unet_check_config(const char *path, const gd_unet_config *model, int image_size, int channels) {
  json_error_t why;
  FILE *in = fopen(path, "r");
  if (!in && errno == ENOENT) {
    warn_of_assumptions(path, model);
    return GD_OK;
  }
  if (!in) return gd_error(GD_ERR_INPUT, "%s: cannot read: %s", path, strerror(errno));
  json_t *file = json_loadf(in, JSON_REJECT_DUPLICATES, &why);
  fclose(in);
  gd_err err = GD_OK;
  if (!json_is_object(file))
    err = gd_error(GD_ERR_INPUT, "%s: not a JSON object: %s", path, file ? "an array" : why.text);
  else
    err = check_keys(path, file, model, image_size, channels);
  json_decref(file);
  return err;
}
