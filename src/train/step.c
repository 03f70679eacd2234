/* One training step of the U-Net: fills the slots' rows, computes the loss, and lets the learner do the rest. All
 * random numbers are keyed by the image's place in the global batch, so a unit's work does not depend on who does it.
 */
#include <math.h>
#include <string.h>

#include "train/loss.h"
#include "train/trainer.h"

typedef struct train_step {
  gd_trainer *trainer;
  gd_random key;               // purpose filled in at each use
  const uint32_t *indices;     // (n_batch)
  int n_batch, n_replay;       // of the whole step, all ranks
  unsigned requests;           // this rank's
  gd_batch current, replayed;  // of the present unit
  double unit_seconds;         // of the present unit's replay
  double replay_seconds;       // of all units so far
  double penalty;              // of the regulariser
} train_step;

/* ---- Fill ---- */

static gd_random step_key(const train_step *s, gd_purpose purpose) {
  gd_random key = s->key;
  key.purpose = purpose;
  return key;
}

// Image i of the batch, its noise, and its timestep, which is returned.
static int draw_current(const train_step *s, int64_t i, float *image, float *noise) {
  const gd_trainer *t = s->trainer;
  bool flip = t->config->dataset.horizontal_flip && gd_random_below(step_key(s, GD_RANDOM_FLIP), (uint64_t)i, 2);
  gd_dataset_image(t->dataset, s->indices[i], flip, image);
  gd_random_normal(step_key(s, GD_RANDOM_NOISE), (uint64_t)i, (size_t)t->n_elements, noise);
  return (int)gd_random_below(step_key(s, GD_RANDOM_TIMESTEP), (uint64_t)i, (uint32_t)t->schedule->timesteps);
}

static int take_given(const gd_trainer *t, int64_t i, float *image, float *noise) {
  size_t nbytes = (size_t)t->n_elements * sizeof(float);
  memcpy(image, t->given->images + i * t->n_elements, nbytes);
  memcpy(noise, t->given->noise + i * t->n_elements, nbytes);
  return t->given->timesteps[i];
}

static void fill_current(const train_step *s, gd_range images, gd_batch *batch) {
  const gd_trainer *t = s->trainer;
#pragma omp parallel for
  for (int64_t i = images.begin; i < images.end; i++) {
    int64_t row = i - images.begin;
    float *image = batch->x + row * t->n_elements, *noise = batch->target + row * t->n_elements;
    batch->timesteps[row] = t->given ? take_given(t, i, image, noise) : draw_current(s, i, image, noise);
    if (batch->label) batch->label[row] = t->dataset->labels[s->indices[i]];
  }
  batch->n = (int)(images.end - images.begin);
  gd_batch_drop_labels(batch, t->config, step_key(s, GD_RANDOM_LABEL_DROP), images.begin);
  gd_batch_add_noise(batch, t->schedule);
}

// The current images' rows, or those behind them.
static gd_batch replay_rows(const train_step *s) {
  const gd_trainer *t = s->trainer;
  gd_batch rows = t->replayed;
  bool shared = gd_replay_shares_rows(t->config);
  rows.x = s->current.x + (shared ? 0 : t->n_current * t->n_elements);
  rows.t = s->current.t + (shared ? 0 : t->n_current);
  rows.label = s->current.label ? s->current.label + (shared ? 0 : t->n_current) : NULL;
  if (shared) rows.timesteps = s->current.timesteps, rows.weights = s->current.weights;
  return rows;
}

// Dropout's random numbers follow from the image's place in the step, too.
static void set_draws(const train_step *s, gd_range current, gd_range replayed, gd_plan *plan) {
  const uint32_t is_replayed = 1u << 31;
  int n_rows = gd_plan_batch(plan),
      n_current = gd_replay_shares_rows(s->trainer->config) ? n_rows : s->trainer->n_current;
  uint32_t *rows = gd_plan_begin_draws(plan, step_key(s, GD_RANDOM_NETWORK_DROPOUT));
  for (int i = 0; i < n_rows; i++)
    rows[i] = i < n_current ? (uint32_t)(current.begin + i) : (uint32_t)(replayed.begin + i - n_current) | is_replayed;
}

static void fill_unit(void *context, gd_range slots, gd_plan *plan) {
  train_step *s = context;
  gd_trainer *t = s->trainer;
  int n_slots = t->config->training.slots;
  s->current = t->current;
  s->current.x = gd_plan_input(plan, 0);
  s->current.t = gd_plan_input(plan, 1);
  s->current.label = t->config->model.conditional ? gd_plan_input(plan, 2) : NULL;
  gd_range current = gd_slots_rows(slots, n_slots, s->n_batch), replayed = gd_slots_rows(slots, n_slots, s->n_replay);
  fill_current(s, current, &s->current);
  if (t->config->model.dropout > 0) set_draws(s, current, replayed, plan);
  double start = gd_seconds();
  s->replayed = replay_rows(s);
  if (t->replay) gd_replay_fill(t->replay, replayed, &s->replayed);
  s->unit_seconds = gd_seconds() - start;
  s->replay_seconds += s->unit_seconds;
}

/* ---- Loss ---- */

static gd_loss_weights loss_weights(const gd_trainer *t) {
  return gd_loss_weigh(t->task + 1, gd_trainer_replays(t), t->config);
}

// Where the bins of a half begin in the sums.
static int bins_at(int half) {
  return SUM_BINS + half * 2 * GD_LOSS_BINS;
}

static void put_bins(const gd_loss_bins *bins, float *sums) {
  for (int i = 0; i < GD_LOSS_BINS; i++) {
    sums[i] = (float)bins->squares[i];
    sums[GD_LOSS_BINS + i] = (float)bins->images[i];
  }
}

static void add_bins(const float *sums, gd_loss_bins *bins) {
  for (int i = 0; i < GD_LOSS_BINS; i++) {
    bins->squares[i] += sums[i];
    bins->images[i] += sums[GD_LOSS_BINS + i];
  }
}

static void unit_loss(void *context, gd_range slots, const float *output, float *gradient, float *sums) {
  const train_step *s = context;
  const gd_trainer *t = s->trainer;
  gd_loss_weights weights = loss_weights(t);
  double batch_elements = (double)s->n_batch * (double)t->n_elements;
  double replay_elements = (double)s->n_replay * (double)t->n_elements;
  int replay_row = (int)((s->replayed.x - s->current.x) / t->n_elements);
  gd_loss_part parts[] = {
      {.batch = &s->current, .factor = 1.0 / weights.data_divisor / batch_elements},
      {.batch = &s->replayed, .first_row = replay_row, .factor = s->n_replay ? weights.replay / replay_elements : 0}};
  (void)slots;
  int n_rows = gd_plan_batch(gd_learner_plan(t->learner));
  gd_loss_gradient(N_HALVES, parts, t->schedule->timesteps, output, n_rows, gradient);
  for (int half = 0; half < N_HALVES; half++) put_bins(&parts[half].bins, sums + bins_at(half));
  sums[SUM_LOSS_DATA] = (float)(parts[0].squares / batch_elements);
  sums[SUM_LOSS_REPLAY] = s->n_replay ? (float)(parts[1].squares / replay_elements) : 0;
  sums[SUM_REPLAY_SECONDS] = (float)s->unit_seconds;
  sums[SUM_CHECKPOINT] = s->requests & GD_REQUEST_CHECKPOINT ? 1.0f : 0.0f;
  sums[SUM_STOP] = s->requests & GD_REQUEST_STOP ? 1.0f : 0.0f;
}

static double total_loss(void *context, const float *sums) {
  const train_step *s = context;
  return gd_loss_total(loss_weights(s->trainer), sums[SUM_LOSS_DATA], sums[SUM_LOSS_REPLAY]);
}

static double add_penalty(void *context, float *gradient) {
  train_step *s = context;
  s->penalty = gd_regularisation_penalty(s->trainer->regularisation, s->trainer->params, gradient);
  return s->penalty;
}

/* ---- Step ---- */

static void take_sums(gd_trainer *t, const float *sums, gd_step_metrics *out) {
  out->loss_data = sums[SUM_LOSS_DATA];
  out->loss_replay = sums[SUM_LOSS_REPLAY];
  t->replay_seconds += sums[SUM_REPLAY_SECONDS] / t->comm->size;
  if (sums[SUM_CHECKPOINT] > 0) out->requests |= GD_REQUEST_CHECKPOINT;
  if (sums[SUM_STOP] > 0) out->requests |= GD_REQUEST_STOP;
}

static void after_step(gd_trainer *t, int64_t step, const float *sums) {
  for (int half = 0; half < N_HALVES; half++) add_bins(sums + bins_at(half), &t->bins[half]);
  t->bins_steps++;
  if (t->ema) {
    // warm-up: from 2/11 at the first step of a task, or the average would keep its start for 1 / (1 - decay) steps
    double warm = (1.0 + (double)step) / (10.0 + (double)step);
    gd_ema_update(t->table, (float)fmin(t->config->training.ema_decay, warm), t->params, t->ema);
  }
  if (t->regularisation) gd_regularisation_after_step(t->regularisation, t->params);
}

static double learning_rate(const gd_trainer *t, int64_t step) {
  return t->config->training.learning_rate *
         gd_rate_factor(t->config->training.schedule, t->config->training.warmup, step, t->n_steps);
}

// The learner has said what is not finite.
static gd_err refuse_or_skip(const gd_trainer *t, int64_t step, gd_step_metrics *out) {
  gd_error_record("task %d, step %lld: %s (loss of the data %g, of the replay %g)", t->task + 1, (long long)step,
                  gd_error_message(), out->loss_data, out->loss_replay);
  out->skipped = true;
  if (t->config->training.nonfinite == GD_NONFINITE_STOP) return GD_ERR_FAILED;
  gd_log(GD_LOG_WARN, "%s; the step is skipped", gd_error_message());
  return GD_OK;
}

gd_err gd_trainer_step(gd_trainer *t, int64_t step, const uint32_t *indices, int n, unsigned requests,
                       gd_step_metrics *out) {
  *out = (gd_step_metrics){0};
  train_step s = {.trainer = t, .indices = indices, .n_batch = n, .requests = requests};
  s.key = (gd_random){.seed = t->config->seed, .task = (uint32_t)t->task, .step = (uint32_t)step};
  gd_learner_work work = {.context = &s,
                          .fill = fill_unit,
                          .loss = unit_loss,
                          .total = total_loss,
                          .penalty = t->regularisation ? add_penalty : NULL};
  gd_learner_result result;
  double start = gd_seconds();
  if (t->replay) {
    gd_replay_give(t->replay, t->given ? &t->given->replay : NULL);
    gd_replay_step replay_step = {.number = step, .n_current = n, .current = indices, .seconds = t->replay_seconds};
    s.n_replay = gd_replay_begin_step(t->replay, &replay_step);
    out->replay.seconds = gd_seconds() - start;
  }
  gd_err err = gd_learner_step(t->learner, step, learning_rate(t, step), &work, &result);
  take_sums(t, result.sums, out);
  out->loss = result.loss;
  out->loss_penalty = s.penalty;
  out->gradient_norm = result.gradient_norm;
  out->replay.images = s.n_replay;
  out->replay.evaluations = t->replay ? gd_replay_step_evaluations(t->replay) : 0;
  if (err == GD_OK)
    after_step(t, step, result.sums);
  else
    err = refuse_or_skip(t, step, out);
  out->replay.seconds += s.replay_seconds;
  out->seconds_reduction = result.seconds_reduction;
  out->seconds_compute = gd_seconds() - start - out->seconds_reduction - out->replay.seconds;
  return err;
}
