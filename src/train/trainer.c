/* Making a trainer and starting its tasks: state, learner, plans, replay. */
#include "train/trainer.h"

#include <string.h>

const gd_net *gd_trainer_net(const gd_trainer *trainer) {
  return trainer->net;
}

gd_plan *gd_trainer_plan(const gd_trainer *trainer) {
  return gd_learner_plan(trainer->learner);
}

gd_generator *gd_trainer_generator(const gd_trainer *trainer) {
  return trainer->replay ? gd_replay_teacher(trainer->replay) : NULL;
}

bool gd_trainer_has_teacher(const gd_trainer *trainer) {
  return trainer->task > 0 && gd_strategy_has_teacher(trainer->config);
}

bool gd_trainer_replays(const gd_trainer *trainer) {
  return trainer->task > 0 && gd_strategy_replays(trainer->config);
}

static gd_err check_fit(const gd_comm *comm, const gd_config *config) {
  if (comm->size > config->training.slots)
    return gd_error(GD_ERR_INPUT,
                    "%d ranks, but training.slots is %d: a rank needs a slot, so set training.slots to a "
                    "power of two of at least %d",
                    comm->size, config->training.slots, comm->size);
  if (config->replay.batch && gd_replay_shares_rows(config) && config->replay.batch != config->training.batch_size)
    return gd_error(GD_ERR_INPUT,
                    "replay.batch is %d, but strategy %s replays the current batch: leave replay.batch at 0",
                    config->replay.batch, gd_strategy_name(config->strategy.name));
  return GD_OK;
}

gd_err gd_trainer_check(const gd_comm *comm, const gd_config *config) {
  return gd_comm_agree(comm, check_fit(comm, config));
}

static void create_learner(gd_trainer *t) {
  const gd_config *config = t->config;
  gd_learner_settings settings = {.net = t->net,
                                  .precision = t->precision,
                                  .n_slots = config->training.slots,
                                  .reduction = config->training.reduction,
                                  .n_sums = N_STEP_SUMS,
                                  .gradient_clip = config->training.gradient_clip,
                                  .weight_decay = config->training.weight_decay,
                                  .params = t->params,
                                  .m = t->m,
                                  .v = t->v};
  gd_learner_create(&t->learner, t->comm, &settings);
}

gd_err gd_trainer_create(gd_trainer **out, const gd_comm *comm, const gd_config *config, const gd_dataset *dataset) {
  *out = NULL;
  gd_err err = gd_trainer_check(comm, config);
  if (err != GD_OK) return err;
  gd_trainer *t = GD_NEW(gd_trainer);
  t->comm = comm;
  t->config = config;
  t->dataset = dataset;
  t->strategy = gd_strategy_get(config->strategy.name);
  t->precision = gd_precision_agree(comm, config->training.precision);
  t->task = -1;
  gd_schedule_create(&t->schedule, &config->diffusion);
  gd_model_create(&t->net, config);
  t->table = gd_net_params(t->net);
  gd_shape shape = gd_net_shape(t->net, 0);
  t->n_elements = (int64_t)shape.h * shape.w * shape.c;
  gd_state_allocate(t);
  gd_regulariser_settings penalty = gd_regulariser_settings_of(config);
  gd_regularisation_create(&t->regularisation, &penalty, t->table);
  gd_param_table_initialise(t->table, config->seed, t->params);
  if (t->ema) memcpy(t->ema, t->params, (size_t)t->table->total * sizeof(float));
  create_learner(t);
  *out = t;
  return GD_OK;
}

static void release_replay(gd_trainer *t) {
  gd_replay_destroy(&t->replay);
  gd_batch_clear(&t->current);
  gd_batch_clear(&t->replayed);
}

void gd_trainer_destroy(gd_trainer **trainer) {
  gd_trainer *t = *trainer;
  if (!t) return;
  release_replay(t);
  gd_learner_destroy(&t->learner);
  gd_regularisation_destroy(&t->regularisation);
  gd_networks_free(t);
  gd_state_free(t);
  gd_net_destroy(&t->net);
  gd_schedule_destroy(&t->schedule);
  gd_free(t);
  *trainer = NULL;
}

// Maximum number of replay images of a step of the present task.
static int replay_batch(const gd_trainer *t) {
  if (!gd_trainer_replays(t)) return 0;
  return gd_replay_shares_rows(t->config) ? t->config->training.batch_size
                                          : gd_replay_max_images(t->config, t->task, t->n_steps);
}

// Plans and work arrays for the present task: without replay rows where nothing is replayed.
static gd_err make_plans(gd_trainer *t) {
  gd_err err;
  release_replay(t);
  t->n_current = gd_learner_unit_rows(t->learner, t->config->training.batch_size);
  if (t->n_current == 0) t->n_current = 1;  // fewer images than slots: this rank's slots are empty
  int n_replay = gd_learner_unit_rows(t->learner, replay_batch(t));
  t->current = gd_batch_make(t->n_current, t->n_elements);
  GD_TRY(gd_learner_make_plan(t->learner, t->n_current + (gd_replay_shares_rows(t->config) ? 0 : n_replay)));
  if (!gd_trainer_replays(t)) goto done;
  if (n_replay == 0) n_replay = 1;
  gd_replay_setting setting = {.comm = t->comm,
                               .config = t->config,
                               .dataset = t->dataset,
                               .schedule = t->schedule,
                               .net = t->net,
                               .precision = t->precision,
                               .teacher = t->teacher,
                               .task = t->task,
                               .n_steps = t->n_steps};
  t->replayed = gd_batch_make(n_replay, t->n_elements);
  err = gd_replay_create(&t->replay, &setting, n_replay);
done:
  return err;
}

gd_err gd_trainer_prepare(gd_trainer *t, int64_t n_steps, const char *folder, gd_replay_cost *prepared) {
  *prepared = (gd_replay_cost){0};
  t->n_steps = n_steps;
  gd_err err = gd_comm_agree(t->comm, make_plans(t));
  return err == GD_OK && folder && t->replay ? gd_replay_prepare(t->replay, folder, prepared) : err;
}

gd_err gd_trainer_begin_epoch(gd_trainer *t, int epoch, gd_replay_cost *cost) {
  *cost = (gd_replay_cost){0};
  return t->replay ? gd_replay_begin_epoch(t->replay, epoch, cost) : GD_OK;
}

/* ---- Tasks ---- */

void gd_trainer_begin_task(gd_trainer *t, int task) {
  size_t nbytes = (size_t)t->table->total * sizeof(float);
  t->task = task;
  gd_state_allocate(t);
  gd_networks_begin_task(t, task);
  bool averaged = t->ema && t->config->strategy.teacher == GD_TEACHER_EMA;
  if (t->teacher) memcpy(t->teacher, averaged ? t->ema : t->params, nbytes);
  memset(t->m, 0, nbytes);
  memset(t->v, 0, nbytes);
  t->replay_seconds = 0;
  if (t->regularisation) gd_regularisation_begin_task(t->regularisation, task, t->params);
}

gd_err gd_trainer_end_task(gd_trainer *t, const uint32_t *images, int64_t n_images, int64_t *n_gradients) {
  *n_gradients = 0;
  if (!t->regularisation) return GD_OK;
  gd_diffusion_images of = {.config = t->config,
                            .dataset = t->dataset,
                            .schedule = t->schedule,
                            .task = t->task,
                            .images = images,
                            .n_images = n_images};
  gd_image_gradients gradients = {.comm = t->comm,
                                  .net = t->net,
                                  .precision = t->precision,
                                  .params = t->params,
                                  .n_slots = t->config->training.slots,
                                  .n_images = t->config->strategy.fisher_images,
                                  .loss = &gd_diffusion_loss,
                                  .context = &of};
  gd_err err = gd_regularisation_end_task(t->regularisation, &gradients, n_gradients);
  return err == GD_ERR_FAILED ? gd_error_context(err, "task %d", t->task + 1) : err;
}

bool gd_trainer_has_learned(const gd_trainer *t) {
  int64_t i = 0;
  while (i < t->table->total && t->m[i] == 0) i++;
  return i < t->table->total;
}

/* ---- Memory ---- */

int64_t gd_trainer_checkpoint_nbytes(const gd_trainer *t) {
  gd_named_array arrays[GD_MAX_ARRAYS];
  return gd_state_list(t, arrays) * t->table->total * (int64_t)sizeof(float);
}

size_t gd_trainer_nbytes(const gd_trainer *t) {
  size_t nbytes = (size_t)gd_trainer_checkpoint_nbytes(t) + gd_learner_nbytes(t->learner);
  if (t->regularisation) nbytes += gd_regularisation_nbytes(t->regularisation);
  if (t->replay) nbytes += gd_replay_nbytes(t->replay);
  return nbytes;
}
