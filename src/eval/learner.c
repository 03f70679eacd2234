/* The step shared by the evaluation classifier and the solver: fill rows, forward, cross entropy, backward, reduce over
 * slots and ranks, Adam. What the rows are, and for how long, is the caller's. */
#include "eval/learner.h"

#include <math.h>
#include <string.h>

struct gd_learner {
  const gd_comm *comm;
  gd_comm *workers;  // the ranks that have slots; NULL on the others
  const gd_net *net;
  const gd_param_table *table;
  int n_slots, n_classes, n_inputs, slot_rows;
  int64_t steps;
  float *params, *m, *v;
  float *targets;  // (slot_rows, n_classes)
  gd_plan *plan;   // NULL on idle ranks
  gd_slot_sum *sum;
};

static gd_err make_worker(gd_learner *l) {
  gd_err err = gd_plan_create(&l->plan, l->net, l->slot_rows, GD_TRAINING, GD_FLOAT32);
  if (err != GD_OK) return err;
  gd_plan_load(l->plan, l->params);
  gd_slot_sum_create(&l->sum, l->workers, l->n_slots, l->table->total + 1, GD_REDUCTION_TREE);
  l->m = GD_NEW_ARRAY(float, l->table->total);
  l->v = GD_NEW_ARRAY(float, l->table->total);
  l->targets = GD_NEW_ARRAY(float, (int64_t)l->slot_rows * l->n_classes);
  return GD_OK;
}

gd_err gd_learner_create(gd_learner **out, const gd_comm *comm, const gd_net *net, int n_slots, int64_t n_rows,
                         uint64_t seed, const float *params) {
  gd_learner *l = GD_NEW(gd_learner);
  l->comm = comm;
  l->net = net;
  l->table = gd_net_params(net);
  l->n_slots = n_slots;
  l->n_classes = gd_net_output_shape(net).c;
  l->n_inputs = gd_net_n_inputs(net);
  l->slot_rows = (int)((n_rows + n_slots - 1) / n_slots);
  GD_REQUIRE(l->n_inputs <= GD_LEARNER_MAX_INPUTS && n_rows > 0);
  l->params = GD_NEW_ARRAY(float, l->table->total);
  if (params)
    memcpy(l->params, params, (size_t)l->table->total * sizeof *params);
  else
    gd_param_table_initialise(l->table, seed, l->params);
  l->workers = gd_comm_first(comm, n_slots);
  gd_err err = gd_comm_agree(comm, l->workers ? make_worker(l) : GD_OK);
  if (err != GD_OK) gd_learner_destroy(&l);
  *out = l;
  return err;
}

void gd_learner_destroy(gd_learner **learner) {
  gd_learner *l = *learner;
  if (!l) return;
  gd_slot_sum_destroy(&l->sum);
  gd_plan_destroy(&l->plan);
  gd_comm_destroy(&l->workers);
  gd_free(l->params);
  gd_free(l->m);
  gd_free(l->v);
  gd_free(l->targets);
  gd_free(l);
  *learner = NULL;
}

double gd_learner_row_loss(const gd_learner_row *row, int n, const float *logits, float *gradient) {
  double t = row->temperature, most = logits[0], total = 0, loss = 0;
  for (int c = 1; c < n; c++)
    if (logits[c] > most) most = logits[c];
  for (int c = 0; c < n; c++) total += exp((logits[c] - most) / t);
  for (int c = 0; c < n; c++) {
    double log_p = (logits[c] - most) / t - log(total);
    loss -= (double)row->target[c] * log_p;
    gradient[c] = (float)(row->weight * t * (exp(log_p) - (double)row->target[c]));
  }
  return row->weight * t * t * loss;
}

static gd_learner_row row_of(const gd_learner *l, int i) {
  gd_learner_row row = {.target = l->targets + (int64_t)i * l->n_classes, .temperature = 1};
  memset(row.target, 0, (size_t)l->n_classes * sizeof(float));
  for (int k = 0; k < l->n_inputs; k++) {
    gd_shape shape = gd_net_input_shape(l->net, k);
    row.inputs[k] = gd_plan_input(l->plan, k) + (int64_t)i * shape.h * shape.w * shape.c;
  }
  return row;
}

// Forward, loss and backward of the rows of one slot; leaves the gradient and, behind it, the loss in `out`.
static void work_slot(gd_learner *l, gd_range rows, gd_fill_row fill, void *context, float *out) {
  gd_learner_row *filled = GD_NEW_ARRAY(gd_learner_row, l->slot_rows);
  int n = (int)(rows.end - rows.begin);
#pragma omp parallel for
  for (int i = 0; i < l->slot_rows; i++) {
    filled[i] = row_of(l, i);
    if (i < n) fill(context, rows.begin + i, &filled[i]);
  }
  const float *logits = gd_plan_forward(l->plan);
  float *gradient = gd_plan_output_gradient(l->plan);
  double loss = 0;
  for (int i = 0; i < l->slot_rows; i++)
    loss += gd_learner_row_loss(&filled[i], l->n_classes, logits + (int64_t)i * l->n_classes,
                                gradient + (int64_t)i * l->n_classes);
  gd_plan_backward(l->plan, out, NULL, NULL);
  out[l->table->total] = (float)loss;
  gd_free(filled);
}

gd_err gd_learner_step(gd_learner *l, double learning_rate, int64_t n_rows, gd_fill_row fill, void *context,
                       double *loss) {
  *loss = 0;
  if (!l->workers) return GD_OK;
  gd_range mine = gd_range_block(l->n_slots, l->workers->size, l->workers->rank);
  for (int64_t slot = mine.begin; slot < mine.end; slot++) {
    work_slot(l, gd_range_block(n_rows, l->n_slots, slot), fill, context, gd_slot_sum_buffer(l->sum));
    gd_slot_sum_push(l->sum, (int)slot);
  }
  const float *grads = gd_slot_sum_finish(l->sum);
  *loss = grads[l->table->total];
  double norm = gd_gradient_norm(l->table, grads);
  if (!isfinite(*loss) || !isfinite(norm))
    return gd_error(GD_ERR_FAILED, "step %lld: the loss is %g, the gradient's norm %g: try a smaller learning rate",
                    (long long)l->steps + 1, *loss, norm);
  const gd_adam adam = {.learning_rate = (float)learning_rate, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
  gd_adam_step(&adam, l->table, ++l->steps, 1.0f, l->n_slots, grads, l->params, l->m, l->v);
  gd_plan_load(l->plan, l->params);
  return gd_comm_agree(l->workers, gd_stop_check());
}

const float *gd_learner_params(gd_learner *l) {
  gd_comm_broadcast(l->comm, l->params, l->table->total, MPI_FLOAT, 0);
  return l->params;
}
