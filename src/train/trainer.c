/* Making a trainer and starting its tasks: parameters, optimiser state, teacher, plans. */
#include "train/trainer.h"

#include <string.h>

const gd_net *gd_trainer_net(const gd_trainer *trainer) {
  return trainer->net;
}

gd_plan *gd_trainer_plan(const gd_trainer *trainer) {
  return trainer->plan;
}

gd_generator *gd_trainer_generator(const gd_trainer *trainer) {
  return trainer->generator;
}

bool gd_trainer_replays(const gd_trainer *trainer) {
  return trainer->task > 0 && trainer->strategy->input != GD_INPUT_NONE;
}

gd_range gd_trainer_images(const gd_trainer *t, int rank, int64_t n) {
  int n_slots = t->config->training.slots;
  gd_range slots = gd_range_block(n_slots, t->comm->size, rank);
  return (gd_range){gd_range_block(n, n_slots, slots.begin).begin, gd_range_block(n, n_slots, slots.end - 1).end};
}

static gd_err check_fit(const gd_comm *comm, const gd_config *config) {
  if (comm->size > config->training.slots)
    return gd_error(GD_ERR_INPUT,
                    "%d ranks, but training.slots is %d: a rank needs a slot, so set training.slots to a "
                    "power of two of at least %d",
                    comm->size, config->training.slots, comm->size);
  if (config->replay.batch && gd_strategy_get(config->strategy.name)->input == GD_INPUT_CURRENT &&
      config->replay.batch != config->training.batch_size)
    return gd_error(GD_ERR_INPUT,
                    "replay.batch is %d, but strategy lwf replays the current batch: leave replay.batch at 0",
                    config->replay.batch);
  return GD_OK;
}

gd_err gd_trainer_check(const gd_comm *comm, const gd_config *config) {
  return gd_comm_agree(comm, check_fit(comm, config));
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
  int channels = gd_dataset_channels(config->dataset.name), size = config->dataset.image_size;
  t->n_elements = (int64_t)size * size * channels;
  gd_schedule_create(&t->schedule, &config->diffusion);
  gd_unet_create(&t->net, &config->model, size, channels);
  t->table = gd_net_params(t->net);
  t->params = GD_NEW_ARRAY(float, t->table->total);
  t->m = GD_NEW_ARRAY(float, t->table->total);
  t->v = GD_NEW_ARRAY(float, t->table->total);
  gd_param_table_initialise(t->table, config->seed, t->params);
  if (config->training.ema_decay > 0) {
    t->ema = GD_NEW_ARRAY(float, t->table->total);
    memcpy(t->ema, t->params, (size_t)t->table->total * sizeof(float));
  }
  gd_slot_sum_create(&t->sum, comm, config->training.slots, t->table->total + N_TAIL, config->training.reduction);
  *out = t;
  return GD_OK;
}

static void release_plans(gd_trainer *t) {
  gd_plan_destroy(&t->plan);
  gd_generator_destroy(&t->generator);
  gd_free(t->noise_current);
  gd_free(t->target_replay);
  gd_free(t->draws.start);
  gd_free(t->draws.timesteps);
  gd_free(t->draws.noise);
  gd_free(t->drawn);
  t->noise_current = t->target_replay = NULL;
  t->drawn = NULL;
  t->draws = (gd_replay_draws){0};
}

void gd_trainer_destroy(gd_trainer **trainer) {
  gd_trainer *t = *trainer;
  if (!t) return;
  release_plans(t);
  gd_pool_destroy(&t->pool);
  gd_slot_sum_destroy(&t->sum);
  gd_free(t->params);
  gd_free(t->m);
  gd_free(t->v);
  gd_free(t->teacher);
  gd_free(t->ema);
  gd_net_destroy(&t->net);
  gd_schedule_destroy(&t->schedule);
  gd_free(t);
  *trainer = NULL;
}

// Most images of n that one unit of work has: a slot, or all of this rank's slots where they may be merged.
static int unit_size(const gd_trainer *t, int n) {
  int slots = t->config->training.slots;
  if (t->config->training.reduction == GD_REDUCTION_TREE) return (n + slots - 1) / slots;
  gd_range mine = gd_trainer_images(t, t->comm->rank, n);
  return (int)(mine.end - mine.begin);
}

// Most replay images of a step of the present task.
static int replay_batch(const gd_trainer *t) {
  if (!gd_trainer_replays(t)) return 0;
  return t->strategy->input == GD_INPUT_CURRENT ? t->config->training.batch_size
                                                : gd_replay_most(t->config, t->n_steps);
}

// Plans and work arrays for the present task: without replay rows where nothing is replayed.
static gd_err make_plans(gd_trainer *t) {
  gd_err err = GD_OK;
  release_plans(t);
  bool shares_rows = t->strategy->input == GD_INPUT_CURRENT;
  t->n_current = unit_size(t, t->config->training.batch_size);
  t->n_replay = unit_size(t, replay_batch(t));
  if (t->n_current == 0) t->n_current = 1;  // fewer images than slots: this rank's slots are empty
  size_t row_nbytes = (size_t)t->n_elements * sizeof(float);
  t->noise_current = gd_alloc_zero((size_t)t->n_current * row_nbytes);
  GD_TRY(gd_plan_create(&t->plan, t->net, t->n_current + (shares_rows ? 0 : t->n_replay), GD_TRAINING, t->precision));
  gd_plan_load(t->plan, t->params);
  if (!gd_trainer_replays(t)) goto done;
  int n = t->n_replay ? t->n_replay : 1;
  t->target_replay = gd_alloc_zero((size_t)n * row_nbytes);
  t->draws = (gd_replay_draws){.start = gd_alloc_zero((size_t)n * row_nbytes),
                               .timesteps = GD_NEW_ARRAY(int, n),
                               .noise = gd_alloc_zero((size_t)n * row_nbytes)};
  GD_TRY(gd_generator_create(&t->generator, t->net, t->schedule, n, t->precision));
  gd_generator_load(t->generator, t->teacher);
done:
  return err;
}

static gd_err make_pool(gd_trainer *t, const char *folder, gd_replay_cost *cost) {
  gd_generator *teacher = NULL;
  gd_range mine = gd_trainer_images(t, t->comm->rank, gd_replay_most(t->config, t->n_steps));
  uint64_t digest = gd_param_table_digest(t->table, t->teacher);
  char *path = gd_pool_path(folder, t->task);
  gd_err err = gd_generator_create(&teacher, t->net, t->schedule, GD_IMAGE_CHUNK, t->precision);
  GD_TRY(gd_comm_agree(t->comm, err));
  gd_generator_load(teacher, t->teacher);
  GD_TRY(gd_pool_create(&t->pool, t->comm, t->config, teacher, gd_net_shape(t->net, 0), t->task, digest, path, cost));
  t->drawn = gd_alloc((size_t)(mine.end - mine.begin) * (size_t)t->n_elements + 1);
done:
  gd_generator_destroy(&teacher);
  gd_free(path);
  return err;
}

gd_err gd_trainer_prepare(gd_trainer *t, int64_t n_steps, const char *folder, gd_replay_cost *pool) {
  *pool = (gd_replay_cost){0};
  gd_pool_destroy(&t->pool);
  t->n_steps = n_steps;
  gd_err err = gd_comm_agree(t->comm, make_plans(t));
  if (err == GD_OK && folder && gd_trainer_replays(t) && gd_replay_has_pool(t->config))
    err = make_pool(t, folder, pool);
  return err;
}

void gd_trainer_begin_task(gd_trainer *t, int task) {
  size_t nbytes = (size_t)t->table->total * sizeof(float);
  t->task = task;
  if (gd_trainer_replays(t)) {
    if (!t->teacher) t->teacher = gd_alloc(nbytes);
    memcpy(t->teacher, t->params, nbytes);
  }
  memset(t->m, 0, nbytes);
  memset(t->v, 0, nbytes);
  t->replay_seconds = 0;
}

bool gd_trainer_has_learned(const gd_trainer *t) {
  int64_t i = 0;
  while (i < t->table->total && t->m[i] == 0) i++;
  return i < t->table->total;
}

size_t gd_trainer_nbytes(const gd_trainer *t) {
  size_t n_arrays = 3 + (t->teacher != NULL) + (t->ema != NULL);
  // the slot tree holds one array a level that this rank's slots reach, and one being filled
  int slots = (t->config->training.slots + t->comm->size - 1) / t->comm->size;
  for (n_arrays += 1; t->config->training.reduction == GD_REDUCTION_TREE && slots > 0; slots /= 2) n_arrays++;
  size_t nbytes = n_arrays * (size_t)t->table->total * sizeof(float);
  if (t->plan) nbytes += gd_plan_nbytes(t->plan);
  if (t->generator) nbytes += gd_generator_nbytes(t->generator);
  if (t->pool) nbytes += gd_pool_nbytes(t->pool);
  if (t->dataset) nbytes += gd_dataset_nbytes(t->dataset);
  return nbytes;
}
