/* A network compiled for a batch: ops in order, one arena for activations and their gradients.
 *
 * Forward of node i happens at time i, its backward at time 2n-1-i. Every tensor lives from the first time it is
 * written to the last time it is read, and tensors that never live at the same time may share memory. Where a
 * tensor feeds several ops, the first backward writes its gradient and the later ones are added to it. */
#include "nn/plan.h"

#include <string.h>

#include "nn/net.h"

// Gradient of a tensor: who has written to it already decides between writing and adding.
typedef struct gd_grad_slot {
  bool accumulate[GD_MAX_INPUTS];  // this op's contribution to input i comes on top of another
} gd_grad_slot;

struct gd_plan {
  const gd_net *net;
  int batch;
  gd_mode mode;
  gd_op *ops;
  gd_grad_slot *slots;  // (n_nodes)
  float **values;       // (n_tensors) activations
  float **grads;        // (n_tensors) gradients, NULL where not needed
  gd_arena arena;
  float *output_gradient;
  void *scratch;
  float *extra[GD_MAX_INPUTS];  // contributions on their way to being added
  size_t nbytes;                // besides the arena
};

int gd_plan_batch(const gd_plan *plan) {
  return plan->batch;
}

size_t gd_plan_nbytes(const gd_plan *plan) {
  return plan->nbytes + plan->arena.nbytes;
}

static size_t tensor_nbytes(const gd_plan *plan, gd_tensor t) {
  return (size_t)plan->batch * (size_t)gd_shape_count(plan->net->shapes[t]) * sizeof(float);
}

static void *plan_alloc(gd_plan *plan, size_t nbytes) {
  plan->nbytes += nbytes;
  return gd_alloc_zero(nbytes);  // zeroed by the thread that will use it: padding images must hold finite numbers
}

static bool runs_backward(const gd_plan *plan, int i) {
  return plan->mode == GD_TRAINING && plan->net->needs_grad[plan->net->nodes[i].output];
}

static int backward_time(const gd_plan *plan, int i) {
  return 2 * plan->net->n_nodes - 1 - i;
}

static bool is_input(const gd_net *net, gd_tensor t) {
  for (int i = 0; i < net->n_inputs; i++)
    if (net->inputs[i] == t) return true;
  return false;
}

// When each activation is first written and last read.
static void activation_lifetimes(const gd_plan *plan, gd_lifetime *lives) {
  const gd_net *net = plan->net;
  for (int i = 0; i < net->n_nodes; i++) {
    const gd_node *node = &net->nodes[i];
    bool backward = runs_backward(plan, i);
    lives[node->output].first = i;
    lives[node->output].last = backward && node->kind->backward_reads_output ? backward_time(plan, i) : i;
    for (int k = 0; k < node->n_inputs; k++) {
      gd_lifetime *life = &lives[node->inputs[k]];
      int last = backward && (node->kind->backward_reads_inputs >> k & 1) ? backward_time(plan, i) : i;
      if (last > life->last) life->last = last;
    }
  }
  lives[net->output].last = 2 * net->n_nodes;  // the caller reads it between and after
}

// The same for gradients; also notes which contributions must be added.
static void gradient_lifetimes(gd_plan *plan, gd_lifetime *lives) {
  const gd_net *net = plan->net;
  bool *written = GD_NEW_ARRAY(bool, net->n_tensors);
  written[net->output] = true;  // the caller writes it
  for (int i = net->n_nodes - 1; i >= 0; i--) {
    if (!runs_backward(plan, i)) continue;
    const gd_node *node = &net->nodes[i];
    int now = backward_time(plan, i);
    lives[node->output].last = now;
    for (int k = 0; k < node->n_inputs; k++) {
      gd_tensor t = node->inputs[k];
      if (!net->needs_grad[t]) continue;
      plan->slots[i].accumulate[k] = written[t];
      if (!written[t]) lives[t].first = now;
      written[t] = true;
      lives[t].last = is_input(net, t) ? 2 * net->n_nodes : now;
    }
  }
  gd_free(written);
}

static void place_tensors(gd_plan *plan) {
  const gd_net *net = plan->net;
  int n = net->n_tensors;
  gd_lifetime *lives = GD_NEW_ARRAY(gd_lifetime, 2 * n);
  activation_lifetimes(plan, lives);
  if (plan->mode == GD_TRAINING) gradient_lifetimes(plan, lives + n);
  for (int t = 0; t < n; t++) {
    bool grad = plan->mode == GD_TRAINING && net->needs_grad[t] && t != net->output;
    if (!is_input(net, t)) gd_arena_want(&plan->arena, tensor_nbytes(plan, t), lives[t], (void **)&plan->values[t]);
    if (grad) gd_arena_want(&plan->arena, tensor_nbytes(plan, t), lives[n + t], (void **)&plan->grads[t]);
  }
  gd_arena_place(&plan->arena);
  for (int i = 0; i < net->n_inputs; i++)
    plan->values[net->inputs[i]] = plan_alloc(plan, tensor_nbytes(plan, net->inputs[i]));
  if (plan->mode == GD_TRAINING)
    plan->grads[net->output] = plan->output_gradient = plan_alloc(plan, tensor_nbytes(plan, net->output));
  gd_free(lives);
}

// Gives every op its pointers, and scratch as large as the neediest wants.
static void connect_ops(gd_plan *plan) {
  size_t scratch_nbytes = 0, extra_nbytes[GD_MAX_INPUTS] = {0};
  for (int i = 0; i < plan->net->n_nodes; i++) {
    const gd_op *op = &plan->ops[i];
    if (op->scratch_nbytes > scratch_nbytes) scratch_nbytes = op->scratch_nbytes;
    for (int k = 0; k < op->node->n_inputs; k++) {
      size_t nbytes = tensor_nbytes(plan, op->node->inputs[k]);
      if (op->wants_dx[k] && plan->slots[i].accumulate[k] && nbytes > extra_nbytes[k]) extra_nbytes[k] = nbytes;
    }
  }
  plan->scratch = plan_alloc(plan, scratch_nbytes);
  for (int k = 0; k < GD_MAX_INPUTS; k++) plan->extra[k] = plan_alloc(plan, extra_nbytes[k]);
  for (int i = 0; i < plan->net->n_nodes; i++) {
    gd_op *op = &plan->ops[i];
    op->scratch = plan->scratch;
    op->saved = plan_alloc(plan, op->saved_nbytes);
    op->y = plan->values[op->node->output];
    op->dy = plan->grads[op->node->output];
    for (int k = 0; k < op->node->n_inputs; k++) {
      op->x[k] = plan->values[op->node->inputs[k]];
      if (op->wants_dx[k]) op->dx[k] = plan->slots[i].accumulate[k] ? plan->extra[k] : plan->grads[op->node->inputs[k]];
    }
  }
}

gd_err gd_plan_create(gd_plan **out, const gd_net *net, int batch, gd_mode mode) {
  GD_REQUIRE(batch > 0 && net->output >= 0);
  gd_err err = GD_OK;
  gd_plan *plan = GD_NEW(gd_plan);
  *plan = (gd_plan){.net = net, .batch = batch, .mode = mode};
  plan->ops = GD_NEW_ARRAY(gd_op, net->n_nodes);
  plan->slots = GD_NEW_ARRAY(gd_grad_slot, net->n_nodes);
  plan->values = GD_NEW_ARRAY(float *, net->n_tensors);
  plan->grads = GD_NEW_ARRAY(float *, net->n_tensors);
  for (int i = 0; i < net->n_nodes; i++) {
    gd_op *op = &plan->ops[i];
    op->node = &net->nodes[i];
    op->table = &net->table;
    op->batch = batch;
    op->training = mode == GD_TRAINING;
    op->out = net->shapes[op->node->output];
    for (int k = 0; k < op->node->n_inputs; k++) {
      op->in[k] = net->shapes[op->node->inputs[k]];
      op->wants_dx[k] = runs_backward(plan, i) && net->needs_grad[op->node->inputs[k]];
    }
    GD_TRY(op->node->kind->prepare(op));
  }
  place_tensors(plan);
  connect_ops(plan);
done:
  if (err != GD_OK) gd_plan_destroy(&plan);
  *out = plan;
  return err;
}

void gd_plan_destroy(gd_plan **plan) {
  gd_plan *p = *plan;
  if (!p) return;
  for (int i = 0; i < p->net->n_nodes; i++) {
    if (p->ops[i].node && p->ops[i].node->kind->release) p->ops[i].node->kind->release(&p->ops[i]);
    gd_free(p->ops[i].saved);
  }
  for (int i = 0; i < p->net->n_inputs; i++) gd_free(p->values[p->net->inputs[i]]);
  for (int k = 0; k < GD_MAX_INPUTS; k++) gd_free(p->extra[k]);
  gd_arena_release(&p->arena);
  gd_free(p->output_gradient);
  gd_free(p->scratch);
  gd_free(p->ops);
  gd_free(p->slots);
  gd_free(p->values);
  gd_free(p->grads);
  gd_free(p);
  *plan = NULL;
}

void gd_plan_load(gd_plan *plan, const float *params) {
  for (int i = 0; i < plan->net->n_nodes; i++) {
    gd_op *op = &plan->ops[i];
    op->params = params;
    if (op->node->kind->load) op->node->kind->load(op, params);
  }
}

float *gd_plan_input(gd_plan *plan, int i) {
  return plan->values[plan->net->inputs[i]];
}

const float *gd_plan_forward(gd_plan *plan) {
  for (int i = 0; i < plan->net->n_nodes; i++) plan->ops[i].node->kind->forward(&plan->ops[i]);
  return plan->values[plan->net->output];
}

float *gd_plan_output_gradient(gd_plan *plan) {
  GD_REQUIRE(plan->mode == GD_TRAINING);
  return plan->output_gradient;
}

static void add_in_place(float *sum, const float *term, int64_t n) {
#pragma omp parallel for simd
  for (int64_t i = 0; i < n; i++) sum[i] += term[i];
}

void gd_plan_backward(gd_plan *plan, float *grads) {
  GD_REQUIRE(plan->mode == GD_TRAINING);
  for (int i = plan->net->n_nodes - 1; i >= 0; i--) {
    if (!runs_backward(plan, i)) continue;
    gd_op *op = &plan->ops[i];
    op->node->kind->backward(op, grads);
    for (int k = 0; k < op->node->n_inputs; k++) {
      if (!op->wants_dx[k] || !plan->slots[i].accumulate[k]) continue;
      add_in_place(plan->grads[op->node->inputs[k]], op->dx[k], plan->batch * gd_shape_count(op->in[k]));
    }
  }
}

const float *gd_plan_input_gradient(gd_plan *plan, int i) {
  return plan->grads[plan->net->inputs[i]];
}
