/* One data-parallel step: every rank works its slots, the slot tree sums the gradients, Adam moves the parameters.
 *
 * A unit of work is one slot (reduction: tree) or all of a rank's slots at once (fast). All random numbers are keyed by
 * the image's place in the global batch, so a unit's work does not depend on who does it. */
#include <math.h>
#include <string.h>

#include "train/trainer.h"

typedef struct gd_step_context {
  gd_trainer *t;
  gd_random key;            // purpose filled in at each use
  const uint32_t *indices;  // (n_batch)
  int n_batch, n_replay;    // of the whole step, all ranks
  unsigned requests;        // this rank's
  gd_step_metrics *metrics;
} gd_step_context;

static gd_random keyed(const gd_step_context *s, gd_purpose purpose) {
  gd_random key = s->key;
  key.purpose = purpose;
  return key;
}

// Image i of the batch, its noise, and its timestep, which is returned.
static int draw_current(const gd_step_context *s, int64_t i, float *image, float *noise) {
  const gd_trainer *t = s->t;
  bool flip = t->config->dataset.horizontal_flip && gd_random_below(keyed(s, GD_RANDOM_FLIP), (uint64_t)i, 2);
  gd_dataset_image(t->dataset, s->indices[i], flip, image);
  gd_random_normal(keyed(s, GD_RANDOM_NOISE), (uint64_t)i, (size_t)t->n_elements, noise);
  return (int)gd_random_below(keyed(s, GD_RANDOM_TIMESTEP), (uint64_t)i, (uint32_t)t->schedule->timesteps);
}

static int take_current(const gd_trainer *t, int64_t i, float *image, float *noise) {
  size_t nbytes = (size_t)t->n_elements * sizeof(float);
  memcpy(image, t->given->images + i * t->n_elements, nbytes);
  memcpy(noise, t->given->noise + i * t->n_elements, nbytes);
  return t->given->timesteps[i];
}

// Rows of the current images: x_t, t, and their noise, which is the target.
static void fill_current(const gd_step_context *s, gd_range images, float *x, float *t) {
  gd_trainer *tr = s->t;
#pragma omp parallel for
  for (int64_t i = images.begin; i < images.end; i++) {
    int64_t row = i - images.begin;
    float *image = x + row * tr->n_elements, *noise = tr->noise_current + row * tr->n_elements;
    int time = tr->given ? take_current(tr, i, image, noise) : draw_current(s, i, image, noise);
    gd_schedule_add_noise(tr->schedule, time, tr->n_elements, image, noise, image);
    t[row] = (float)time;
  }
}

static void take_replay(const gd_trainer *t, int64_t first, int n) {
  const gd_replay_draws *given = &t->given->replay;
  if (t->strategy->input == GD_INPUT_CURRENT) return;
  size_t nbytes = (size_t)n * (size_t)t->n_elements * sizeof(float);
  memcpy(t->draws.start, given->start + first * t->n_elements, nbytes);
  memcpy(t->draws.noise, given->noise + first * t->n_elements, nbytes);
  memcpy(t->draws.timesteps, given->timesteps + first, (size_t)n * sizeof(int));
}

// Rows of the replay images, made by the teacher, and their targets.
static void fill_replay(const gd_step_context *s, gd_range images, float *x, float *t) {
  gd_trainer *tr = s->t;
  int n = (int)(images.end - images.begin);
  if (n == 0) return;
  gd_strategy_id strategy = tr->config->strategy.name;
  const gd_config_sampling *sampling = tr->pool ? NULL : &tr->config->replay.sampling;
  if (tr->given)
    take_replay(tr, images.begin, n);
  else
    gd_replay_draw(strategy, s->key, (uint64_t)images.begin, tr->schedule->timesteps, tr->n_elements, n, !tr->pool,
                   &tr->draws);
  if (tr->pool) {
    int64_t first = images.begin - gd_trainer_images(tr, tr->comm->rank, s->n_replay).begin;
    gd_pixels_normalise(tr->drawn + first * tr->n_elements, n * tr->n_elements, tr->draws.start);
  }
  gd_replay_make(strategy, tr->generator, tr->schedule, sampling, s->key, (uint64_t)images.begin, tr->n_elements,
                 &tr->draws, n, x, t, tr->target_replay);
}

// This rank's images of the step from the pool.
static void draw_from_pool(const gd_step_context *s) {
  gd_trainer *t = s->t;
  gd_range *ranges = GD_NEW_ARRAY(gd_range, t->comm->size);
  for (int r = 0; r < t->comm->size; r++) ranges[r] = gd_trainer_images(t, r, s->n_replay);
  gd_pool_draw(t->pool, ((int64_t)s->key.step - 1) * s->n_replay, s->n_replay, ranges, t->drawn);
  gd_free(ranges);
}

// Images of 0 .. n-1 that belong to the slots.
static gd_range unit_images(const gd_trainer *t, gd_range slots, int64_t n) {
  int n_slots = t->config->training.slots;
  return (gd_range){gd_range_block(n, n_slots, slots.begin).begin, gd_range_block(n, n_slots, slots.end - 1).end};
}

// Called by backward: what is final may be reduced meanwhile.
static void gradient_ready(void *context, int64_t first) {
  gd_slot_sum_ready(context, true, first);
}

static gd_loss_weights loss_weights(const gd_trainer *t) {
  return gd_loss_weigh(t->task + 1, gd_trainer_replays(t), t->config->strategy.lambda);
}

// Forward, loss and backward of one unit; leaves gradient and tail in `out`. last: of this rank's units.
static void work_unit(const gd_step_context *s, gd_range slots, bool last, float *out) {
  gd_trainer *t = s->t;
  gd_range current = unit_images(t, slots, s->n_batch), replay = unit_images(t, slots, s->n_replay);
  int replay_row = t->strategy->input == GD_INPUT_CURRENT ? 0 : t->n_current;
  float *x = gd_plan_input(t->plan, 0), *times = gd_plan_input(t->plan, 1);
  gd_loss_weights weights = loss_weights(t);
  double batch_elements = (double)s->n_batch * (double)t->n_elements;
  double replay_elements = (double)s->n_replay * (double)t->n_elements, squares_current, squares_replay;

  fill_current(s, current, x, times);
  double start = gd_seconds();
  if (gd_trainer_replays(t)) fill_replay(s, replay, x + replay_row * t->n_elements, times + replay_row);
  double seconds_replay = gd_seconds() - start;
  s->metrics->replay.seconds += seconds_replay;
  const float *output = gd_plan_forward(t->plan);
  gd_loss_rows rows = {.n_current = (int)(current.end - current.begin),
                       .n_replay = (int)(replay.end - replay.begin),
                       .replay_row = replay_row,
                       .n_rows = gd_plan_batch(t->plan),
                       .n_elements = t->n_elements,
                       .target_current = t->noise_current,
                       .target_replay = t->target_replay,
                       .weight_current = 1.0 / weights.data_divisor / batch_elements,
                       .weight_replay = s->n_replay ? weights.replay / replay_elements : 0};
  gd_loss_gradient(&rows, output, gd_plan_output_gradient(t->plan), &squares_current, &squares_replay);
  float *tail = out + t->table->total;
  tail[TAIL_LOSS_DATA] = (float)(squares_current / batch_elements);
  tail[TAIL_LOSS_REPLAY] = s->n_replay ? (float)(squares_replay / replay_elements) : 0;
  tail[TAIL_REPLAY_SECONDS] = (float)seconds_replay;
  tail[TAIL_CHECKPOINT] = s->requests & GD_REQUEST_CHECKPOINT ? 1.0f : 0.0f;
  tail[TAIL_STOP] = s->requests & GD_REQUEST_STOP ? 1.0f : 0.0f;
  gd_plan_backward(t->plan, out, last ? gradient_ready : NULL, t->sum);
}

// All of this rank's units.
static void work_slots(const gd_step_context *s) {
  gd_trainer *t = s->t;
  gd_range mine = gd_range_block(t->config->training.slots, t->comm->size, t->comm->rank);
  bool merged = t->config->training.reduction == GD_REDUCTION_FAST;
  for (int64_t slot = mine.begin, next; slot < mine.end; slot = next) {
    next = merged ? mine.end : slot + 1;
    work_unit(s, (gd_range){slot, next}, next == mine.end, gd_slot_sum_buffer(t->sum));
    gd_slot_sum_push(t->sum, (int)slot);
  }
}

static void update(gd_trainer *t, int64_t step, const float *grads, double norm) {
  double clip = t->config->training.gradient_clip;
  float scale = clip > 0 ? (float)fmin(1.0, clip / (norm + 1e-6)) : 1.0f;
  gd_adam adam = {
      .learning_rate = (float)t->config->training.learning_rate, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
  gd_adam_step(&adam, t->table, step, scale, t->config->training.slots, grads, t->params, t->m, t->v);
  if (t->ema) {
    // warm-up: from 2/11 at the first step of a task, or the average would keep its start for 1 / (1 - decay) steps
    double warm = (1.0 + (double)step) / (10.0 + (double)step);
    gd_ema_update(t->table, (float)fmin(t->config->training.ema_decay, warm), t->params, t->ema);
  }
  gd_plan_load(t->plan, t->params);
}

// Backward goes through the parameters from the last to the first, so the last one is nearest to where it began.
static void record_nonfinite(const gd_trainer *t, int64_t step, const float *grads, const gd_step_metrics *s) {
  int n = 0;
  const char *last = "none";
  for (int i = 0; i < t->table->n; i++) {
    const gd_param *param = &t->table->params[i];
    int64_t k = 0;
    while (k < param->count && isfinite(grads[param->offset + k])) k++;
    if (k == param->count) continue;
    last = param->name;
    n++;
  }
  gd_error_record(
      "task %d, step %lld: not finite: loss %g (data %g, replay %g), gradient norm %g, gradients of %d of %d parameter "
      "arrays, the last of them %s",
      t->task + 1, (long long)step, s->loss, s->loss_data, s->loss_replay, s->gradient_norm, n, t->table->n, last);
}

gd_err gd_trainer_step(gd_trainer *t, int64_t step, const uint32_t *indices, int n, unsigned requests,
                       gd_step_metrics *out) {
  *out = (gd_step_metrics){0};
  bool replays = gd_trainer_replays(t);
  int n_replay = 0;
  if (replays && t->strategy->input == GD_INPUT_CURRENT)
    n_replay = n;
  else if (replays)
    n_replay = gd_replay_images(t->config, step, t->n_steps, t->replay_seconds);
  gd_step_context s = {
      .t = t, .indices = indices, .n_batch = n, .n_replay = n_replay, .requests = requests, .metrics = out};
  s.key = (gd_random){.seed = t->config->seed, .task = (uint32_t)t->task, .step = (uint32_t)step};

  double start = gd_seconds();
  if (t->pool) {
    draw_from_pool(&s);
    out->replay.seconds = gd_seconds() - start;
  }
  work_slots(&s);
  double worked = gd_seconds();
  const float *grads = gd_slot_sum_finish(t->sum), *tail = grads + t->table->total;
  double reduced = gd_seconds();
  out->loss_data = tail[TAIL_LOSS_DATA];
  out->loss_replay = tail[TAIL_LOSS_REPLAY];
  out->replay.images = n_replay;
  out->replay.evaluations = gd_replay_evaluations(t->config, n_replay);
  t->replay_seconds += tail[TAIL_REPLAY_SECONDS] / t->comm->size;
  if (tail[TAIL_CHECKPOINT] > 0) out->requests |= GD_REQUEST_CHECKPOINT;
  if (tail[TAIL_STOP] > 0) out->requests |= GD_REQUEST_STOP;
  out->loss = gd_loss_total(loss_weights(t), out->loss_data, out->loss_replay);
  out->gradient_norm = gd_gradient_norm(t->table, grads);
  out->skipped = !isfinite(out->loss) || !isfinite(out->gradient_norm);
  if (out->skipped) {
    record_nonfinite(t, step, grads, out);
    if (t->config->training.nonfinite == GD_NONFINITE_STOP) return GD_ERR_FAILED;
    gd_log(GD_LOG_WARN, "%s; the step is skipped", gd_error_message());
  } else {
    update(t, step, grads, out->gradient_norm);
  }
  out->seconds_reduction = reduced - worked;
  out->seconds_compute = gd_seconds() - start - out->seconds_reduction - out->replay.seconds;
  return GD_OK;
}
