/* The scheduler_config.json of diffusers: one table of its keys for each path. The keys that one scheduler alone has
 * are with its sampler. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "gendistill/diffusion.h"
#include "gendistill/store.h"

static const gd_json_key diffusion_keys[] = {
    {"_class_name", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"_diffusers_version", GD_JSON_ANY, "\"0.30.0\"", NULL, NULL, false},
    {"num_train_timesteps", GD_JSON_CONFIGURED, "diffusion.timesteps", "1000", NULL, true},
    {"beta_start", GD_JSON_CONFIGURED, "diffusion.beta_start", "0.0001", NULL, true},
    {"beta_end", GD_JSON_CONFIGURED, "diffusion.beta_end", "0.02", NULL, true},
    {"beta_schedule", GD_JSON_FIXED, "\"linear\"", "\"linear\"", NULL, true},
    {"trained_betas", GD_JSON_FIXED, "null", "null", NULL, true},
    {"prediction_type", GD_JSON_CONFIGURED, "diffusion.prediction", "\"epsilon\"", NULL, true},
    {"rescale_betas_zero_snr", GD_JSON_CONFIGURED, "diffusion.zero_terminal_snr", "false", NULL, true},
    {"timestep_spacing", GD_JSON_ANY, "\"trailing\"", NULL, NULL, false},
    {"steps_offset", GD_JSON_ANY, "0", NULL, NULL, false},
    // of single schedulers: how to sample
    {"clip_sample", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"clip_sample_range", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"set_alpha_to_one", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"variance_type", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"thresholding", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"dynamic_thresholding_ratio", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"sample_max_value", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"solver_order", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"solver_type", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"algorithm_type", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"predict_x0", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"lower_order_final", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"euler_at_final", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"disable_corrector", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"final_sigmas_type", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"use_karras_sigmas", GD_JSON_ANY, NULL, NULL, NULL, false},
};

static const gd_json_key flow_keys[] = {
    {"_class_name", GD_JSON_ANY, NULL, NULL, NULL, false},
    {"_diffusers_version", GD_JSON_ANY, "\"0.30.0\"", NULL, NULL, false},
    {"num_train_timesteps", GD_JSON_CONFIGURED, "diffusion.timesteps", "1000", NULL, true},
    {"shift", GD_JSON_ANY, "1.0", NULL, NULL, false},
    {"use_dynamic_shifting", GD_JSON_ANY, NULL, NULL, NULL, false},
};

// What diffusers calls our objectives, in their order.
static const char *const prediction_types[] = {"epsilon", "v_prediction", "sample"};
_Static_assert(sizeof prediction_types / sizeof *prediction_types == GD_N_OBJECTIVES, "a name for each objective");

static json_t *scheduler_value(const void *context, const char *name) {
  const gd_diffusion *config = context;
  if (strcmp(name, "num_train_timesteps") == 0) return json_integer(config->timesteps);
  if (strcmp(name, "beta_start") == 0) return json_real(config->beta_start);
  if (strcmp(name, "beta_end") == 0) return json_real(config->beta_end);
  if (strcmp(name, "prediction_type") == 0) return json_string(prediction_types[config->prediction]);
  GD_REQUIRE(strcmp(name, "rescale_betas_zero_snr") == 0);
  return json_boolean(config->zero_terminal_snr);
}

static gd_json_table table_of(const gd_diffusion *config, const char *extra) {
  gd_json_table table = {.value = scheduler_value, .context = config, .extra = extra};
  bool straight = gd_path_get(config->path)->is_straight;
  table.keys = straight ? flow_keys : diffusion_keys;
  table.n = straight ? sizeof flow_keys / sizeof *flow_keys : sizeof diffusion_keys / sizeof *diffusion_keys;
  return table;
}

// Flow matching and diffusion differ in the class alone.
static gd_err check_class(const char *path, const gd_diffusion *config) {
  json_t *file = json_load_file(path, 0, NULL);
  const char *name = json_string_value(json_object_get(file, "_class_name"));
  bool is_flow = name && strncmp(name, "FlowMatch", strlen("FlowMatch")) == 0;
  gd_err err = GD_OK;
  if (name && is_flow != gd_path_get(config->path)->is_straight)
    err = gd_error(GD_ERR_INPUT, "%s: key '_class_name' is \"%.100s\", which does not suit diffusion.path %s", path,
                   name, gd_path_name(config->path));
  json_decref(file);
  return err;
}

gd_err gd_scheduler_check_config(const char *path, const gd_diffusion *config) {
  gd_json_table table = table_of(config, NULL);
  gd_err err = check_class(path, config);
  return err == GD_OK ? gd_json_check(path, &table) : err;
}

gd_diffusers_scheduler gd_scheduler_choose(const gd_diffusion *config, gd_sampler_id sampler) {
  gd_diffusers_scheduler scheduler = gd_sampler_get(sampler)->diffusers[config->path];
  if (scheduler.class_name) return scheduler;
  gd_sampler_id other = gd_sampler_of_path(config->path);
  gd_log(GD_LOG_WARN, "diffusers has no scheduler like the sampler %s: taking that of %s", gd_sampler_name(sampler),
         gd_sampler_name(other));
  return gd_sampler_get(other)->diffusers[config->path];
}

gd_err gd_scheduler_write_config(const char *path, const gd_diffusion *config, gd_diffusers_scheduler scheduler) {
  char *own = gd_format("{\"_class_name\": \"%s\"%s%s}", scheduler.class_name, scheduler.keys ? ", " : "",
                        scheduler.keys ? scheduler.keys : "");
  gd_json_table table = table_of(config, own);
  gd_err err = gd_json_write(path, &table);
  gd_free(own);
  return err;
}
