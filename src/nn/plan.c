/* A network compiled for a batch: creating it, running its ops in order, and their profile. plan_memory.c places its
 * memory. */
#include "nn/plan.h"

#include "nn/bfloat16.h"

int gd_plan_batch(const gd_plan *plan) {
  return plan->batch;
}

size_t gd_plan_nbytes(const gd_plan *plan) {
  return plan->nbytes + plan->arena.nbytes;
}

int64_t gd_plan_count(const gd_plan *plan, gd_tensor t) {
  return plan->batch * gd_shape_count(plan->net->shapes[t]);
}

bool gd_plan_runs_backward(const gd_plan *plan, int node) {
  return plan->mode == GD_TRAINING && plan->net->needs_grad[plan->net->nodes[node].output];
}

// ---- Create and destroy

// Backward runs from the last op to the first, so the gradients of earlier ops' parameters follow later.
static void compute_ready(gd_plan *plan) {
  const gd_param_table *table = &plan->net->table;
  int64_t end = 0;
  for (int i = 0; i < plan->net->n_nodes; i++) {
    const gd_node *node = &plan->net->nodes[i];
    plan->ready[i] = end;
    for (int k = 0; k < node->n_params; k++) {
      const gd_param *param = &table->params[node->params[k]];
      if (param->offset + param->count > end) end = param->offset + param->count;
    }
  }
}

// Inputs that are read in parts are float32; all others have the type of the first.
static gd_err check_op_types(const gd_op *op) {
  const gd_op_class *kind = op->node->kind;
  for (int k = 0; k < op->node->n_inputs; k++) {
    gd_precision expected = kind->reads_part >> k & 1 ? GD_FLOAT32 : op->x_type[0];
    if (op->x_type[k] != expected)
      return gd_error(GD_ERR_FAILED, "the op %s would mix bfloat16 and float32 in its inputs", kind->kind);
  }
  if (op->dy_type == GD_BFLOAT16 && !kind->bfloat16)
    return gd_error(GD_ERR_FAILED, "the op %s computes in float32 only, not in bfloat16", kind->kind);
  return GD_OK;
}

static void describe_op(gd_plan *plan, int i) {
  gd_op *op = &plan->ops[i];
  op->node = &plan->net->nodes[i];
  op->table = &plan->net->table;
  op->batch = plan->batch;
  op->training = plan->mode == GD_TRAINING;
  op->draws = &plan->draws;
  op->out = plan->net->shapes[op->node->output];
  for (int k = 0; k < op->node->n_inputs; k++) {
    op->in[k] = plan->net->shapes[op->node->inputs[k]];
    op->wants_dx[k] = gd_plan_runs_backward(plan, i) && plan->net->needs_grad[op->node->inputs[k]];
  }
}

static const gd_op_class *passes_of(const gd_op *op) {
  const gd_op_class *kind = op->node->kind, *special = kind->special;
  return special && special->suits(op) ? special : kind;
}

gd_err gd_plan_create(gd_plan **out, const gd_net *net, int batch, gd_mode mode, gd_precision precision) {
  GD_REQUIRE(batch > 0 && net->output >= 0);
  gd_err err = GD_OK;
  gd_plan *plan = GD_NEW(gd_plan);
  *plan = (gd_plan){.net = net, .batch = batch, .mode = mode};
  plan->ops = GD_NEW_ARRAY(gd_op, net->n_nodes);
  plan->contributions = gd_alloc_zero((size_t)net->n_nodes * sizeof *plan->contributions);
  plan->times = GD_NEW_ARRAY(gd_op_times, net->n_nodes);
  plan->ready = GD_NEW_ARRAY(int64_t, net->n_nodes);
  plan->types = GD_NEW_ARRAY(gd_precision, net->n_tensors);
  plan->values = GD_NEW_ARRAY(void *, net->n_tensors);
  plan->grads = GD_NEW_ARRAY(void *, net->n_tensors);
  plan->inputs = GD_NEW_ARRAY(float *, net->n_inputs);
  plan->input_grads = GD_NEW_ARRAY(float *, net->n_inputs);
  plan->draws.rows = GD_NEW_ARRAY(uint32_t, batch);
  for (int i = 0; i < batch; i++) plan->draws.rows[i] = (uint32_t)i;
  for (int i = 0; i < net->n_nodes; i++) describe_op(plan, i);
  gd_plan_choose_types(plan, precision);
  for (int i = 0; i < net->n_nodes; i++) plan->ops[i].passes = passes_of(&plan->ops[i]);
  for (int i = 0; i < net->n_nodes; i++) GD_TRY(check_op_types(&plan->ops[i]));
  for (int i = 0; i < net->n_nodes; i++)
    if (plan->ops[i].passes->prepare) GD_TRY(plan->ops[i].passes->prepare(&plan->ops[i]));
  gd_plan_allocate(plan);
  compute_ready(plan);
done:
  if (err != GD_OK) gd_plan_destroy(&plan);
  *out = plan;
  return err;
}

void gd_plan_destroy(gd_plan **plan) {
  gd_plan *p = *plan;
  if (!p) return;
  for (int i = 0; i < p->net->n_nodes; i++)
    if (p->ops[i].passes->release) p->ops[i].passes->release(&p->ops[i]);
  gd_plan_release_memory(p);
  gd_free(p->ops);
  gd_free(p->contributions);
  gd_free(p->times);
  gd_free(p->ready);
  gd_free(p->types);
  gd_free(p->values);
  gd_free(p->grads);
  gd_free(p->inputs);
  gd_free(p->input_grads);
  gd_free(p->draws.rows);
  gd_free(p);
  *plan = NULL;
}

void gd_plan_load(gd_plan *plan, const float *params) {
  for (int i = 0; i < plan->net->n_nodes; i++) {
    gd_op *op = &plan->ops[i];
    op->params = params;
    if (op->passes->load) op->passes->load(op, params);
  }
}

// ---- Running

float *gd_plan_input(gd_plan *plan, int i) {
  return plan->inputs[i];
}

uint32_t *gd_plan_begin_draws(gd_plan *plan, gd_random key) {
  plan->draws.key = key;
  return plan->draws.rows;
}

const float *gd_plan_input_gradient(gd_plan *plan, int i) {
  return plan->input_grads[i];
}

float *gd_plan_output_gradient(gd_plan *plan) {
  GD_REQUIRE(plan->mode == GD_TRAINING);
  return plan->output_grad;
}

// Copy between the caller's float32 array and the tensor, unless they are the same array.
static void copy_in(const gd_plan *plan, const float *port, gd_tensor t, void *tensor) {
  if (port != tensor) gd_tensor_convert(GD_FLOAT32, port, plan->types[t], tensor, gd_plan_count(plan, t));
}

static void copy_out(const gd_plan *plan, gd_tensor t, const void *tensor, float *port) {
  if (port != tensor) gd_tensor_convert(plan->types[t], tensor, GD_FLOAT32, port, gd_plan_count(plan, t));
}

const float *gd_plan_forward(gd_plan *plan) {
  const gd_net *net = plan->net;
  for (int i = 0; i < net->n_inputs; i++) copy_in(plan, plan->inputs[i], net->inputs[i], plan->values[net->inputs[i]]);
  for (int i = 0; i < net->n_nodes; i++) {
    double start = gd_seconds();
    gd_progress(NULL);
    plan->ops[i].passes->forward(&plan->ops[i]);
    plan->times[i].seconds_forward += gd_seconds() - start;
    plan->times[i].n_forward++;
  }
  copy_out(plan, net->output, plan->values[net->output], plan->output);
  return plan->output;
}

// The contribution to the gradient of input k, where the op's backward did not write it there.
static void add_contribution(gd_plan *plan, int i, int k) {
  const gd_op *op = &plan->ops[i];
  gd_tensor t = op->node->inputs[k];
  const void *term = op->node->kind->passes_gradient >> k & 1 ? op->dy : op->dx[k];
  int64_t n = gd_plan_count(plan, t);
  if (plan->contributions[i][k] == GD_WRITE_COPY)
    gd_tensor_convert(op->dy_type, term, op->x_type[k], plan->grads[t], n);
  if (plan->contributions[i][k] == GD_ADD) gd_tensor_add(op->x_type[k], plan->grads[t], term, n);
}

void gd_plan_backward(gd_plan *plan, float *grads, gd_gradient_ready ready, void *context) {
  GD_REQUIRE(plan->mode == GD_TRAINING);
  const gd_net *net = plan->net;
  copy_in(plan, plan->output_grad, net->output, plan->grads[net->output]);
  for (int i = net->n_nodes - 1; i >= 0; i--) {
    if (!gd_plan_runs_backward(plan, i)) continue;
    gd_op *op = &plan->ops[i];
    double start = gd_seconds();
    gd_progress(NULL);
    op->passes->backward(op, grads);
    for (int k = 0; k < op->node->n_inputs; k++)
      if (op->wants_dx[k]) add_contribution(plan, i, k);
    plan->times[i].seconds_backward += gd_seconds() - start;
    plan->times[i].n_backward++;
    if (ready) ready(context, plan->ready[i]);
  }
  for (int i = 0; i < net->n_inputs; i++)
    copy_out(plan, net->inputs[i], plan->grads[net->inputs[i]], plan->input_grads[i]);
}

// ---- Profile

int gd_plan_n_ops(const gd_plan *plan) {
  return plan->net->n_nodes;
}

// Multiplications and additions of a forward run, per image.
static double image_flops(const gd_op *op) {
  double pixels = (double)op->out.h * op->out.w;
  const int *kernel = op->node->attributes.kernel;
  if (op->node->kind == &gd_op_conv) return 2.0 * pixels * op->out.c * op->in[0].c * kernel[0] * kernel[1];
  if (op->node->kind == &gd_op_linear) return 2.0 * pixels * op->out.c * op->in[0].c;
  if (op->node->kind == &gd_op_attention) return 4.0 * pixels * pixels * op->out.c;
  return 0;
}

gd_op_profile gd_plan_profile(const gd_plan *plan, int i) {
  const gd_op *op = &plan->ops[i];
  const gd_op_times *times = &plan->times[i];
  int64_t end = i + 1 < plan->net->n_nodes ? plan->ready[i + 1] : plan->net->table.total;
  return (gd_op_profile){.kind = op->node->kind->kind,
                         .name = op->node->name,
                         .in = op->in[0],
                         .out = op->out,
                         .flops = plan->batch * image_flops(op),
                         .n_parameters = end - plan->ready[i],
                         .by_data = op->wants_dx[0],
                         .n_forward = times->n_forward,
                         .n_backward = times->n_backward,
                         .seconds_forward = times->seconds_forward,
                         .seconds_backward_data = times->seconds_backward - op->seconds_weights,
                         .seconds_backward_weights = op->seconds_weights};
}

void gd_plan_profile_reset(gd_plan *plan) {
  for (int i = 0; i < plan->net->n_nodes; i++) {
    plan->times[i] = (gd_op_times){0};
    plan->ops[i].seconds_weights = 0;
  }
}
