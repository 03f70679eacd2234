/* The data-parallel step. A unit of work is one slot (reduction: tree) or all of a rank's slots at once (fast). What a
 * unit computes does not depend on who does it, as long as its rows do not. */
#include <math.h>

#include "gendistill/learn.h"

struct gd_learner {
  gd_learner_settings of;
  const gd_param_table *table;
  gd_comm *workers;  // the ranks that have slots; NULL on the others
  gd_plan *plan;     // NULL on idle ranks
  gd_slot_sum *sum;  // of the gradient, and behind it n_sums numbers
};

gd_range gd_slots_rows(gd_range slots, int n_slots, int64_t n) {
  return (gd_range){gd_range_block(n, n_slots, slots.begin).begin, gd_range_block(n, n_slots, slots.end - 1).end};
}

gd_range gd_rank_rows(int size, int rank, int n_slots, int64_t n) {
  return gd_slots_rows(gd_range_block(n_slots, size, rank), n_slots, n);
}

void gd_learner_create(gd_learner **out, const gd_comm *comm, const gd_learner_settings *settings) {
  gd_learner *l = GD_NEW(gd_learner);
  l->of = *settings;
  l->table = gd_net_params(settings->net);
  l->workers = gd_comm_part(comm, comm->rank < settings->n_slots);
  if (l->workers)
    gd_slot_sum_create(&l->sum, l->workers, settings->n_slots, l->table->total + settings->n_sums, settings->reduction);
  *out = l;
}

void gd_learner_destroy(gd_learner **learner) {
  gd_learner *l = *learner;
  if (!l) return;
  gd_plan_destroy(&l->plan);
  gd_slot_sum_destroy(&l->sum);
  gd_comm_destroy(&l->workers);
  gd_free(l);
  *learner = NULL;
}

/* ---- Plan ---- */

int gd_learner_unit_rows(const gd_learner *l, int n) {
  if (!l->workers) return 0;
  if (l->of.reduction == GD_REDUCTION_TREE) return (n + l->of.n_slots - 1) / l->of.n_slots;
  gd_range mine = gd_rank_rows(l->workers->size, l->workers->rank, l->of.n_slots, n);
  return (int)(mine.end - mine.begin);
}

gd_err gd_learner_make_plan(gd_learner *l, int n_rows) {
  gd_plan_destroy(&l->plan);
  if (!l->workers) return GD_OK;
  gd_err err = gd_plan_create(&l->plan, l->of.net, n_rows, GD_TRAINING, l->of.precision);
  if (err == GD_OK) gd_plan_load(l->plan, l->of.params);
  return err;
}

gd_plan *gd_learner_plan(const gd_learner *l) {
  return l->plan;
}

size_t gd_learner_nbytes(const gd_learner *l) {
  if (!l->workers) return 0;
  // the slot tree holds one array per level that this rank's slots reach, and one being filled
  size_t n_arrays = 1;
  int slots = (l->of.n_slots + l->workers->size - 1) / l->workers->size;
  for (; l->of.reduction == GD_REDUCTION_TREE && slots > 0; slots /= 2) n_arrays++;
  return n_arrays * (size_t)l->table->total * sizeof(float) + (l->plan ? gd_plan_nbytes(l->plan) : 0);
}

/* ---- Step ---- */

// Called by backward: what is final may be reduced meanwhile.
static void gradient_ready(void *context, int64_t first) {
  gd_slot_sum_ready(context, true, first);
}

static void work_unit(gd_learner *l, const gd_learner_work *work, gd_range slots, bool is_last) {
  float *gradient = gd_slot_sum_buffer(l->sum);
  work->fill(work->context, slots, l->plan);
  const float *output = gd_plan_forward(l->plan);
  work->loss(work->context, slots, output, gd_plan_output_gradient(l->plan), gradient + l->table->total);
  gd_plan_backward(l->plan, gradient, is_last ? gradient_ready : NULL, l->sum);
  gd_slot_sum_push(l->sum, (int)slots.begin);
}

static void work_slots(gd_learner *l, const gd_learner_work *work) {
  gd_range mine = gd_range_block(l->of.n_slots, l->workers->size, l->workers->rank);
  bool merged = l->of.reduction == GD_REDUCTION_FAST;
  for (int64_t slot = mine.begin, next; slot < mine.end; slot = next) {
    next = merged ? mine.end : slot + 1;
    work_unit(l, work, (gd_range){slot, next}, next == mine.end);
  }
}

static void update(gd_learner *l, int64_t step, double learning_rate, const float *gradient, double norm) {
  double clip = l->of.gradient_clip;
  float scale = clip > 0 ? (float)fmin(1.0, clip / (norm + 1e-6)) : 1.0f;
  gd_adam adam = {.learning_rate = (float)learning_rate,
                  .beta1 = 0.9f,
                  .beta2 = 0.999f,
                  .eps = 1e-8f,
                  .weight_decay = (float)l->of.weight_decay};
  gd_adam_step(&adam, l->table, step, scale, l->of.n_slots, gradient, l->of.params, l->of.m, l->of.v);
  gd_plan_load(l->plan, l->of.params);
}

// Backward goes through the parameters from the last to the first, so the last one is nearest to where it began.
static gd_err record_nonfinite(const gd_learner *l, const float *gradient, const gd_learner_result *result) {
  int n = 0;
  const char *last = "none";
  for (int i = 0; i < l->table->n; i++) {
    const gd_param *param = &l->table->params[i];
    if (gd_first_nonfinite(gradient + param->offset, param->count) < 0) continue;
    last = param->name;
    n++;
  }
  return gd_error(GD_ERR_FAILED,
                  "not finite: loss %g, gradient norm %g, gradients of %d of %d parameter arrays, the last of them %s",
                  result->loss, result->gradient_norm, n, l->table->n, last);
}

gd_err gd_learner_step(gd_learner *l, int64_t step, double learning_rate, const gd_learner_work *work,
                       gd_learner_result *out) {
  *out = (gd_learner_result){0};
  if (!l->workers) return GD_OK;
  work_slots(l, work);
  double worked = gd_seconds();
  float *gradient = gd_slot_sum_finish(l->sum);
  out->seconds_reduction = gd_seconds() - worked;
  out->sums = gradient + l->table->total;
  out->loss = work->total(work->context, out->sums);
  if (work->penalty) out->loss += work->penalty(work->context, gradient);
  out->gradient_norm = gd_gradient_norm(l->table, gradient);
  if (!isfinite(out->loss) || !isfinite(out->gradient_norm)) return record_nonfinite(l, gradient, out);
  update(l, step, learning_rate, gradient, out->gradient_norm);
  return GD_OK;
}

gd_err gd_learner_agree(gd_learner *l, gd_err local) {
  return l->workers ? gd_comm_agree(l->workers, local) : GD_OK;
}
