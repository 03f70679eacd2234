/* Training of classifiers: rows with soft or hard targets through the data-parallel step. What the rows are, and for
 * how long, is the caller's. */
#include "learn/classification.h"

#include <math.h>
#include <string.h>

struct gd_classification {
  const gd_comm *comm;
  const gd_net *net;
  const gd_param_table *table;
  int n_slots, n_classes, n_inputs, slot_rows;
  int64_t steps;
  float *params, *m, *v;
  gd_classification_row *rows;  // (slot_rows)
  float *targets;               // (slot_rows, n_classes)
  gd_learner *learner;
  gd_parameter_loss penalty;
};

// A step: its rows, and who fills them.
typedef struct classification_step {
  gd_classification *of;
  int64_t n_rows;
  gd_fill_row fill;
  void *context;
} classification_step;

gd_err gd_classification_create(gd_classification **out, const gd_comm *comm, const gd_net *net, int n_slots,
                                int64_t n_rows, uint64_t seed, const float *params) {
  gd_classification *c = GD_NEW(gd_classification);
  const gd_param_table *table = gd_net_params(net);
  *c = (gd_classification){.comm = comm,
                           .net = net,
                           .table = table,
                           .n_slots = n_slots,
                           .n_classes = gd_net_output_shape(net).c,
                           .n_inputs = gd_net_n_inputs(net),
                           .slot_rows = (int)((n_rows + n_slots - 1) / n_slots)};
  GD_REQUIRE(c->n_inputs <= GD_CLASSIFICATION_MAX_INPUTS && n_rows > 0);
  c->params = GD_NEW_ARRAY(float, table->total);
  if (params)
    memcpy(c->params, params, (size_t)table->total * sizeof *params);
  else
    gd_param_table_initialise(table, seed, c->params);
  if (comm->rank < n_slots) {
    c->m = GD_NEW_ARRAY(float, table->total);
    c->v = GD_NEW_ARRAY(float, table->total);
    c->rows = GD_NEW_ARRAY(gd_classification_row, c->slot_rows);
    c->targets = GD_NEW_ARRAY(float, (int64_t)c->slot_rows * c->n_classes);
  }
  gd_learner_settings settings = {
      .net = net, .n_slots = n_slots, .n_sums = 1, .params = c->params, .m = c->m, .v = c->v};
  gd_learner_create(&c->learner, comm, &settings);
  gd_err err = gd_comm_agree(comm, gd_learner_make_plan(c->learner, c->slot_rows));
  if (err != GD_OK) gd_classification_destroy(&c);
  *out = c;
  return err;
}

void gd_classification_destroy(gd_classification **classification) {
  gd_classification *c = *classification;
  if (!c) return;
  gd_learner_destroy(&c->learner);
  gd_free(c->params);
  gd_free(c->m);
  gd_free(c->v);
  gd_free(c->rows);
  gd_free(c->targets);
  gd_free(c);
  *classification = NULL;
}

/* ---- Step ---- */

// -sum p log q with p of the network's output and q of the target.
static double swapped_loss(const gd_classification_row *row, int n, const double *p, float *gradient) {
  double loss = 0;
  for (int c = 0; c < n; c++) loss -= p[c] * (double)row->target[c];
  for (int c = 0; c < n; c++)
    gradient[c] = (float)(row->weight * row->temperature * p[c] * (-(double)row->target[c] - loss));
  return row->weight * row->temperature * row->temperature * loss;
}

static bool is_active(const gd_classification_row *row, int c) {
  return !row->active || row->active[c];
}

double gd_classification_row_loss(const gd_classification_row *row, int n, const float *logits, float *gradient) {
  double t = row->temperature, largest = -INFINITY, total = 0, loss = 0;
  for (int c = 0; c < n; c++)
    if (is_active(row, c) && logits[c] > largest) largest = logits[c];
  for (int c = 0; c < n; c++)
    if (is_active(row, c)) total += exp((logits[c] - largest) / t);
  if (row->swapped) {
    double p[GD_CLASSIFICATION_MAX_CLASSES];
    GD_REQUIRE(n <= GD_CLASSIFICATION_MAX_CLASSES);
    for (int c = 0; c < n; c++) p[c] = exp((logits[c] - largest) / t) / total;
    return swapped_loss(row, n, p, gradient);
  }
  for (int c = 0; c < n; c++) {
    double log_p = (logits[c] - largest) / t - log(total);
    gradient[c] = 0;
    if (!is_active(row, c)) continue;
    loss -= (double)row->target[c] * log_p;
    gradient[c] = (float)(row->weight * t * (exp(log_p) - (double)row->target[c]));
  }
  return row->weight * t * t * loss;
}

static gd_classification_row blank_row(const gd_classification *c, gd_plan *plan, int i) {
  gd_classification_row row = {.target = c->targets + (int64_t)i * c->n_classes, .temperature = 1};
  memset(row.target, 0, (size_t)c->n_classes * sizeof(float));
  for (int k = 0; k < c->n_inputs; k++) {
    gd_shape shape = gd_net_input_shape(c->net, k);
    row.inputs[k] = gd_plan_input(plan, k) + (int64_t)i * shape.h * shape.w * shape.c;
  }
  return row;
}

static void fill_slot(void *context, gd_range slots, gd_plan *plan) {
  const classification_step *step = context;
  gd_classification *c = step->of;
  gd_range rows = gd_slots_rows(slots, c->n_slots, step->n_rows);
#pragma omp parallel for
  for (int i = 0; i < c->slot_rows; i++) {
    c->rows[i] = blank_row(c, plan, i);
    if (rows.begin + i < rows.end) step->fill(step->context, rows.begin + i, &c->rows[i]);
  }
}

static void slot_loss(void *context, gd_range slots, const float *output, float *gradient, float *sums) {
  const gd_classification *c = ((const classification_step *)context)->of;
  double loss = 0;
  (void)slots;
  for (int i = 0; i < c->slot_rows; i++) {
    int64_t at = (int64_t)i * c->n_classes;
    loss += gd_classification_row_loss(&c->rows[i], c->n_classes, output + at, gradient + at);
  }
  sums[0] = (float)loss;
}

static double step_loss(void *context, const float *sums) {
  (void)context;
  return sums[0];
}

void gd_classification_penalise(gd_classification *c, gd_parameter_loss loss) {
  GD_REQUIRE(c->comm->size <= c->n_slots);
  c->penalty = loss;
}

static double add_penalty(void *context, float *gradient) {
  const gd_classification *c = ((const classification_step *)context)->of;
  return c->penalty.add(c->penalty.context, c->params, gradient);
}

gd_err gd_classification_step(gd_classification *c, double learning_rate, int64_t n_rows, gd_fill_row fill,
                              void *context, double *loss) {
  classification_step step = {.of = c, .n_rows = n_rows, .fill = fill, .context = context};
  gd_learner_work work = {.context = &step,
                          .fill = fill_slot,
                          .loss = slot_loss,
                          .total = step_loss,
                          .penalty = c->penalty.add ? add_penalty : NULL};
  gd_learner_result result;
  gd_err err = gd_learner_step(c->learner, ++c->steps, learning_rate, &work, &result);
  *loss = result.loss;
  if (err != GD_OK)
    return gd_error(err, "step %lld: %s: try a smaller learning rate", (long long)c->steps, gd_error_message());
  if (c->penalty.after_step) c->penalty.after_step(c->penalty.context, c->params);
  return gd_learner_agree(c->learner, gd_stop_check());
}

const float *gd_classification_params(gd_classification *c) {
  gd_comm_broadcast(c->comm, c->params, c->table->total, MPI_FLOAT, 0);
  return c->params;
}
