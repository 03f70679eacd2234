/* config.json beside diffusers' weights: files of networks that compute the same are accepted, all others are refused
 * with the key, the value found and the value required. */
#include <stdio.h>
#include <string.h>

#include "gendistill/model.h"
#include "support.h"

static const gd_unet_config model = {.n_levels = 4,
                                     .block_out_channels = {128, 256, 256, 256},
                                     .layers_per_block = 2,
                                     .attention = {false, true, false, false},
                                     .attention_head_dim = 8,
                                     .norm_num_groups = 32};

// As diffusers 0.30 writes it for this network.
static const char whole[] =
    "{\"_class_name\": \"UNet2DModel\", \"_diffusers_version\": \"0.30.0\", \"act_fn\": \"silu\", "
    "\"add_attention\": true, \"attention_head_dim\": 8, \"attn_norm_num_groups\": null, "
    "\"block_out_channels\": [128, 256, 256, 256], \"center_input_sample\": false, \"class_embed_type\": null, "
    "\"down_block_types\": [\"DownBlock2D\", \"AttnDownBlock2D\", \"DownBlock2D\", \"DownBlock2D\"], "
    "\"downsample_padding\": 1, \"downsample_type\": \"conv\", \"dropout\": 0.0, \"flip_sin_to_cos\": true, "
    "\"freq_shift\": 0, \"in_channels\": 3, \"layers_per_block\": 2, \"mid_block_scale_factor\": 1, "
    "\"norm_eps\": 1e-05, \"norm_num_groups\": 32, \"num_class_embeds\": null, \"num_train_timesteps\": null, "
    "\"out_channels\": 3, \"resnet_time_scale_shift\": \"default\", \"sample_size\": 32, "
    "\"time_embedding_type\": \"positional\", \"up_block_types\": [\"UpBlock2D\", \"UpBlock2D\", "
    "\"AttnUpBlock2D\", \"UpBlock2D\"], \"upsample_type\": \"conv\"}";

static char *folder, *path;

static int set_up(void **state) {
  (void)state;
  folder = test_folder_create();
  path = gd_format("%s/config.json", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  gd_free(path);
  test_folder_remove(folder);
  return 0;
}

// Checks the file with `old` replaced by `new`; both NULL: unchanged.
static gd_err check_with(const char *old, const char *new) {
  const char *at = old ? strstr(whole, old) : whole;
  if (!at) fail_msg("no '%s' in the file", old);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file, "%.*s%s%s", (int)(at - whole), whole, old ? new : "", old ? at + strlen(old) : at);
  assert_int_equal(fclose(file), 0);
  return gd_unet_check_config(path, &model, 32, 3);
}

static void the_same_network_is_accepted(void **state) {
  (void)state;
  static const char *const changes[][2] = {{NULL, NULL},
                                           {"\"silu\"", "\"swish\""},
                                           {"\"freq_shift\": 0", "\"freq_shift\": 0.0"},
                                           {"\"dropout\": 0.0", "\"dropout\": 0.1"},
                                           {"\"sample_size\": 32", "\"sample_size\": null"},
                                           {"\"flip_sin_to_cos\": true, ", ""},
                                           {"\"norm_eps\": 1e-05, ", ""},
                                           {"\"in_channels\": 3, ", ""}};
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) assert_ok(check_with(changes[i][0], changes[i][1]));
}

static void another_network_is_refused(void **state) {
  (void)state;
  static const char *const cases[][3] = {
      {"\"flip_sin_to_cos\": true", "\"flip_sin_to_cos\": false", "key 'flip_sin_to_cos' is false, must be true"},
      {"\"freq_shift\": 0", "\"freq_shift\": 1", "key 'freq_shift' is 1, must be 0"},
      {"\"downsample_padding\": 1", "\"downsample_padding\": 0", "key 'downsample_padding' is 0, must be 1"},
      {"1e-05", "1e-06", "key 'norm_eps' is 1e-"},
      {"\"silu\"", "\"gelu\"", "key 'act_fn' is \"gelu\", must be \"silu\""},
      {"\"attention_head_dim\": 8", "\"attention_head_dim\": null",
       "key 'attention_head_dim' is null, must be 8 (model.attention_head_dim)"},
      {"\"norm_num_groups\": 32", "\"norm_num_groups\": 16", "must be 32 (model.norm_num_groups)"},
      {"\"attn_norm_num_groups\": null", "\"attn_norm_num_groups\": 8",
       "key 'attn_norm_num_groups' is 8, must be null"},
      {"\"center_input_sample\": false", "\"center_input_sample\": true", "key 'center_input_sample' is true"},
      {"\"positional\"", "\"fourier\"", "key 'time_embedding_type' is \"fourier\""},
      {"\"default\"", "\"scale_shift\"", "key 'resnet_time_scale_shift' is \"scale_shift\""},
      {"\"mid_block_scale_factor\": 1", "\"mid_block_scale_factor\": 1.414", "key 'mid_block_scale_factor' is 1.414"},
      {"\"add_attention\": true", "\"add_attention\": false", "key 'add_attention' is false, must be true"},
      {"\"class_embed_type\": null", "\"class_embed_type\": \"timestep\"", "key 'class_embed_type' is \"timestep\""},
      {"\"num_class_embeds\": null", "\"num_class_embeds\": 10", "key 'num_class_embeds' is 10, must be null"},
      {"\"sample_size\": 32", "\"sample_size\": 64", "key 'sample_size' is 64, must be 32 (dataset.image_size)"},
      {"\"out_channels\": 3", "\"out_channels\": 6", "key 'out_channels' is 6, must be 3 (dataset.name)"},
      {"[128, 256, 256, 256]", "[128, 256, 256]",
       "key 'block_out_channels' is [128,256,256], must be [128,256,256,256]"},
      {"[\"DownBlock2D\", \"Attn", "[\"AttnDownBlock2D\", \"Attn", "(model.attention)"},
      {"\"layers_per_block\": 2, ", "\"layers_per_block\": 1, ", "key 'layers_per_block' is 1, must be 2"},
      {"\"block_out_channels\": [128, 256, 256, 256], ", "",
       "key 'block_out_channels' is [224,448,672,896] (not there: the default of diffusers), must be"},
      {"UNet2DModel", "UNet2DConditionModel", "key '_class_name' is \"UNet2DConditionModel\""},
      {"{", "[", "not a JSON object"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(check_with(cases[i][0], cases[i][1]), GD_ERR_INPUT);
    if (!strstr(gd_error_message(), cases[i][2])) fail_msg("no '%s' in: %s", cases[i][2], gd_error_message());
    if (!strstr(gd_error_message(), path)) fail_msg("no file in: %s", gd_error_message());
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(the_same_network_is_accepted, set_up, tear_down),
                                     cmocka_unit_test_setup_teardown(another_network_is_refused, set_up, tear_down)};
  return GD_TEST_MAIN(tests);
}
