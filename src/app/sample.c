/* gendistill sample: images from a checkpoint, for any rank count the same bits. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"
#include "gendistill/model.h"
#include "gendistill/store.h"
#include "gendistill/train.h"

typedef struct gd_sample_options {
  const char *checkpoint, *output, *initial_noise, *grid;
  // read as keys of the configuration; NULL: not given
  const char *sampler, *steps, *eta, *guidance, *timesteps, *seed;
  int64_t count, index, label;
} gd_sample_options;

static const int64_t not_given = INT64_MIN;  // a count that nobody would write

// One image of a set alone.
static gd_err check_index(gd_sample_options *o) {
  if (o->count != not_given) return gd_error(GD_ERR_INPUT, "--index makes one image: leave --count out");
  if (o->index < 0 || o->index >= INT32_MAX)
    return gd_error(GD_ERR_INPUT, "--index: must be from 0 to %d, is %lld", INT32_MAX - 1, (long long)o->index);
  o->count = 1;
  return GD_OK;
}

static gd_err parse_sample(int argc, char **argv, gd_sample_options *o) {
  *o = (gd_sample_options){.count = not_given, .index = not_given, .label = not_given};
  const gd_option options[] = {{"checkpoint", GD_OPTION_TEXT, &o->checkpoint, true},
                               {"output", GD_OPTION_TEXT, &o->output, true},
                               {"count", GD_OPTION_INT, &o->count, false},
                               {"sampler", GD_OPTION_TEXT, &o->sampler, false},
                               {"index", GD_OPTION_INT, &o->index, false},
                               {"steps", GD_OPTION_TEXT, &o->steps, false},
                               {"eta", GD_OPTION_TEXT, &o->eta, false},
                               {"guidance", GD_OPTION_TEXT, &o->guidance, false},
                               {"label", GD_OPTION_INT, &o->label, false},
                               {"timesteps", GD_OPTION_TEXT, &o->timesteps, false},
                               {"seed", GD_OPTION_TEXT, &o->seed, false},
                               {"initial-noise", GD_OPTION_TEXT, &o->initial_noise, false},
                               {"grid", GD_OPTION_TEXT, &o->grid, false},
                               {0}};
  gd_err err = gd_options_parse(argc, argv, options, NULL, NULL);
  if (err == GD_OK && o->index != not_given) return check_index(o);
  if (err == GD_OK && o->count == not_given && !o->initial_noise)
    err = gd_error(GD_ERR_INPUT, "sample: needs --count or --index");
  if (err == GD_OK && o->count != not_given && (o->count < 1 || o->count > INT32_MAX))
    err = gd_error(GD_ERR_INPUT, "--count: must be from 1 to %d, is %lld", INT32_MAX, (long long)o->count);
  return err;
}

// Before the long work, and before an output replaces an input.
static gd_err check_outputs(const gd_sample_options *o) {
  gd_err err;
  GD_TRY(gd_output_check("output", o->output));
  GD_TRY(gd_output_check_other("output", o->output, "checkpoint", o->checkpoint));
  GD_TRY(gd_output_check_other("output", o->output, "initial-noise", o->initial_noise));
  if (!o->grid) goto done;
  GD_TRY(gd_output_check("grid", o->grid));
  GD_TRY(gd_output_check_other("grid", o->grid, "output", o->output));
  GD_TRY(gd_output_check_other("grid", o->grid, "checkpoint", o->checkpoint));
  err = gd_output_check_other("grid", o->grid, "initial-noise", o->initial_noise);
done:
  return err;
}

// Of the checkpoint's configuration; another sampler may leave no choice of steps and eta.
static void follow_sampler(const gd_sample_options *o, const gd_config *stored, char **sets, int *n) {
  for (int id = 0; o->sampler && id < GD_N_SAMPLERS; id++) {
    if (strcmp(o->sampler, gd_sampler_name((gd_sampler_id)id)) != 0) continue;
    const gd_sampler *sampler = gd_sampler_get((gd_sampler_id)id);
    if (sampler->has_own_eta && !o->eta) sets[(*n)++] = gd_format("evaluation.eta=%g", sampler->eta);
    if (sampler->takes_all_timesteps && !o->steps)
      sets[(*n)++] = gd_format("evaluation.steps=%d", stored->diffusion.timesteps);
  }
}

static char *timesteps_set(const char *list) {
  return *list == '[' ? gd_format("evaluation.timesteps=%s", list) : gd_format("evaluation.timesteps=[%s]", list);
}

// The checkpoint's configuration with the command line's sampling put over it, checked as any configuration is.
static gd_err make_sampling_config(gd_config **out, const gd_sample_options *o, const char *text) {
  char *sets[8];
  int n = 0;
  gd_config *stored;
  gd_err err = gd_config_create_from_text(&stored, o->checkpoint, text, 0, NULL);
  if (err != GD_OK) return err;
  if (o->count != not_given) sets[n++] = gd_format("evaluation.samples=%lld", (long long)o->count);
  if (o->sampler) sets[n++] = gd_format("evaluation.sampler=%s", o->sampler);
  follow_sampler(o, stored, sets, &n);
  if (o->steps) sets[n++] = gd_format("evaluation.steps=%s", o->steps);
  if (o->eta) sets[n++] = gd_format("evaluation.eta=%s", o->eta);
  if (o->guidance) sets[n++] = gd_format("evaluation.guidance=%s", o->guidance);
  if (o->timesteps || o->steps || o->sampler) sets[n++] = timesteps_set(o->timesteps ? o->timesteps : "");
  if (o->seed) sets[n++] = gd_format("seed=%s", o->seed);
  err = gd_config_create_from_text(out, o->checkpoint, text, n, (const char *const *)sets);
  for (int i = 0; i < n; i++) gd_free(sets[i]);
  gd_config_destroy(&stored);
  return err;
}

// All classes in turn that the checkpoint's run has seen, or the one asked for.
static gd_err choose_labels(const gd_sample_options *o, const gd_config *config, int task, gd_label_cycle *labels) {
  *labels = gd_strategy_labels(config, gd_strategy_tasks_seen(config, task));
  if (o->label == not_given) return GD_OK;
  if (!config->model.conditional)
    return gd_error(GD_ERR_INPUT, "--label: the network of %s is not class-conditional", o->checkpoint);
  if (o->label < 0 || o->label >= config->model.n_classes)
    return gd_error(GD_ERR_INPUT, "--label: must be from 0 to %d, is %lld", config->model.n_classes - 1,
                    (long long)o->label);
  *labels = (gd_label_cycle){.n = 1, .classes = {(int)o->label}};
  return GD_OK;
}

static gd_err read_noise(const gd_comm *comm, const gd_sample_options *o, gd_config *config, gd_shape shape,
                         float **noise) {
  int n_dims;
  int64_t dims[4];
  gd_err err = gd_array_read(comm, o->initial_noise, "/x_T", noise, &n_dims, dims);
  if (err != GD_OK) return err;
  if (n_dims != 4 || dims[1] != shape.c || dims[2] != shape.h || dims[3] != shape.w)
    return gd_error(GD_ERR_INPUT, "%s: /x_T must have the shape (N, %d, %d, %d)", o->initial_noise, shape.c, shape.h,
                    shape.w);
  if (o->index >= dims[0])
    return gd_error(GD_ERR_INPUT, "%s: /x_T holds %lld noises, --index asks for number %lld", o->initial_noise,
                    (long long)dims[0], (long long)o->index);
  if (o->count > dims[0])
    return gd_error(GD_ERR_INPUT, "%s: /x_T holds %lld noises, --count asks for %lld", o->initial_noise,
                    (long long)dims[0], (long long)o->count);
  if (o->count == not_given) config->evaluation.samples = (int)dims[0];
  return GD_OK;
}

gd_err gd_command_sample(const gd_comm *comm, int argc, char **argv) {
  gd_err err = GD_OK;
  gd_sample_options o;
  gd_checkpoint header = {0}, checkpoint = {0};
  gd_config *config = NULL;
  gd_net *net = NULL;
  float *noise = NULL;
  const float *earlier[GD_MAX_ARRAYS];
  gd_label_cycle labels;
  GD_TRY(gd_comm_agree(comm, parse_sample(argc, argv, &o)));
  GD_TRY(gd_comm_agree(comm, comm->rank == 0 ? check_outputs(&o) : GD_OK));
  GD_TRY(gd_checkpoint_read_header(comm, o.checkpoint, &header));
  GD_TRY(gd_comm_agree(comm, make_sampling_config(&config, &o, header.config_text)));
  GD_REQUIRE(config);
  gd_model_create(&net, config);
  GD_TRY(gd_checkpoint_read(comm, o.checkpoint, gd_net_params(net), &checkpoint));
  if (o.initial_noise) GD_TRY(gd_comm_agree(comm, read_noise(comm, &o, config, gd_net_shape(net, 0), &noise)));
  GD_TRY(gd_comm_agree(comm, choose_labels(&o, config, checkpoint.task, &labels)));
  gd_sample_order order = {.net = net,
                           .params = gd_checkpoint_sampling_params(&checkpoint),
                           .n_earlier = gd_checkpoint_networks(&checkpoint, earlier),
                           .earlier = earlier,
                           .digest = checkpoint.digest,
                           .task = (uint32_t)checkpoint.task,
                           .initial_noise = noise,
                           .labels = labels,
                           .first = o.index == not_given ? 0 : o.index,
                           .path = o.output,
                           .png_path = o.grid};
  GD_TRY(gd_sample_write(comm, config, &order));
  if (comm->rank == 0) printf("%s\n", o.output);
done:
  gd_free(noise);
  gd_checkpoint_clear(&checkpoint);
  gd_checkpoint_clear(&header);
  gd_net_destroy(&net);
  gd_config_destroy(&config);
  return err;
}
