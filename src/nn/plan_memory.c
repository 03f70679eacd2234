/* Where a plan's tensors stand: types, lifetimes, who shares memory with whom.
 *
 * Forward of node i happens at time i, its backward at time 2n-1-i. Every tensor lives from the first time it is
 * written to the last time it is read, and tensors that never live at the same time may share memory. Where an op may
 * overwrite an input that nobody reads later, or hands its output's gradient on as it is, two tensors have one home. */
#include <string.h>

#include "nn/bfloat16.h"
#include "nn/plan.h"

// Lifetimes of homes, and the home of each tensor (itself, if it shares with none before it). All (n_tensors).
typedef struct gd_homes {
  gd_lifetime *lives;
  gd_tensor *home;
} gd_homes;

static gd_homes homes_create(int n) {
  gd_homes homes = {.lives = GD_NEW_ARRAY(gd_lifetime, n), .home = GD_NEW_ARRAY(gd_tensor, n)};
  for (int t = 0; t < n; t++) homes.home[t] = t;
  return homes;
}

static void homes_destroy(gd_homes *homes) {
  gd_free(homes->lives);
  gd_free(homes->home);
}

static void extend(const gd_homes *homes, gd_tensor t, int time) {
  gd_lifetime *life = &homes->lives[homes->home[t]];
  if (time > life->last) life->last = time;
}

static int backward_time(const gd_plan *plan, int i) {
  return 2 * plan->net->n_nodes - 1 - i;
}

// The caller reads inputs' gradients and the output between and after the runs.
static int always(const gd_plan *plan) {
  return 2 * plan->net->n_nodes;
}

static bool is_input(const gd_net *net, gd_tensor t) {
  for (int i = 0; i < net->n_inputs; i++)
    if (net->inputs[i] == t) return true;
  return false;
}

static bool has_bit(unsigned mask, int k) {
  return mask >> k & 1;
}

// ---- Types

static bool is_read(const gd_net *net, gd_tensor t) {
  for (int i = 0; i < net->n_nodes; i++)
    for (int k = 0; k < net->nodes[i].n_inputs; k++)
      if (net->nodes[i].inputs[k] == t) return true;
  return false;
}

// What is a map stays one: an op's output has the type of its first input. The network's output need not be rounded.
void gd_plan_choose_types(gd_plan *plan, gd_precision precision) {
  const gd_net *net = plan->net;
  bool exact = !is_read(net, net->output);
  for (int i = 0; i < net->n_inputs; i++) {
    gd_shape s = net->shapes[net->inputs[i]];
    plan->types[net->inputs[i]] = s.h * s.w > 1 ? precision : GD_FLOAT32;
  }
  for (int i = 0; i < net->n_nodes; i++) {
    const gd_node *node = &net->nodes[i];
    gd_op *op = &plan->ops[i];
    for (int k = 0; k < node->n_inputs; k++) op->x_type[k] = plan->types[node->inputs[k]];
    op->dy_type = plan->types[node->output] = op->x_type[0];
    op->y_type = op->dy_type;
    if (node->output == net->output && exact && node->kind->may_write_float32) op->y_type = GD_FLOAT32;
    if (node->output == net->output) plan->output_type = op->y_type;
  }
}

static size_t nbytes_of(const gd_plan *plan, gd_tensor t, gd_precision type) {
  return (size_t)gd_plan_count(plan, t) * gd_element_nbytes(type);
}

// ---- Lifetimes

// When each activation is first written and last read.
static void activation_lifetimes(const gd_plan *plan, gd_homes *homes) {
  const gd_net *net = plan->net;
  for (int i = 0; i < net->n_nodes; i++) {
    const gd_node *node = &net->nodes[i];
    bool backward = gd_plan_runs_backward(plan, i);
    homes->lives[node->output] = (gd_lifetime){i, i};
    if (backward && node->kind->backward_reads_output) extend(homes, node->output, backward_time(plan, i));
    for (int k = 0; k < node->n_inputs; k++)
      extend(homes, node->inputs[k],
             backward && has_bit(node->kind->backward_reads_inputs, k) ? backward_time(plan, i) : i);
  }
  extend(homes, net->output, always(plan));
}

// Whether node i may write its output over its input k: the last to read it, and not through another input.
static bool may_overwrite(const gd_plan *plan, const gd_homes *homes, int i, int k) {
  const gd_node *node = &plan->net->nodes[i];
  gd_tensor home = homes->home[node->inputs[k]];
  if (is_input(plan->net, home) || homes->lives[home].last != i) return false;
  for (int j = 0; j < node->n_inputs; j++)
    if (j != k && homes->home[node->inputs[j]] == home) return false;
  return plan->ops[i].y_type == plan->ops[i].x_type[k];
}

static void share_activations(const gd_plan *plan, gd_homes *homes) {
  for (int i = 0; i < plan->net->n_nodes; i++) {
    const gd_node *node = &plan->net->nodes[i];
    for (int k = 0; k < node->n_inputs; k++) {
      if (!has_bit(node->kind->overwrites_inputs, k) || !may_overwrite(plan, homes, i, k)) continue;
      int last = homes->lives[node->output].last;
      homes->home[node->output] = homes->home[node->inputs[k]];
      extend(homes, node->output, last);
      break;
    }
  }
}

static gd_contribution contribution(const gd_plan *plan, int i, int k, bool written, bool dy_is_taken) {
  const gd_node *node = &plan->net->nodes[i];
  gd_tensor t = node->inputs[k];
  bool passes = has_bit(node->kind->passes_gradient, k);
  if (written) return has_bit(node->kind->reads_part, k) ? GD_WRITE : GD_ADD;
  if (!passes) return GD_WRITE;
  bool shares = !dy_is_taken && node->output != plan->net->output && !is_input(plan->net, t);
  return shares ? GD_SHARE : GD_WRITE_COPY;
}

// Nobody adds up gradients of a tensor whose readers take parts: the parts must be the whole.
static void check_parts(const gd_net *net) {
  int *channels = GD_NEW_ARRAY(int, net->n_tensors);
  bool *in_parts = GD_NEW_ARRAY(bool, net->n_tensors);
  for (int i = 0; i < net->n_nodes; i++) {
    const gd_node *node = &net->nodes[i];
    for (int k = 0; k < node->n_inputs; k++) {
      bool part = has_bit(node->kind->reads_part, k);
      channels[node->inputs[k]] += part ? net->shapes[node->output].c : net->shapes[node->inputs[k]].c;
      in_parts[node->inputs[k]] |= part;
    }
  }
  for (int t = 0; t < net->n_tensors; t++) GD_REQUIRE(!in_parts[t] || channels[t] == net->shapes[t].c);
  gd_free(channels);
  gd_free(in_parts);
}

// Lifetimes of gradients, and how each is put together.
static void gradient_lifetimes(gd_plan *plan, gd_homes *homes) {
  const gd_net *net = plan->net;
  check_parts(net);
  bool *written = GD_NEW_ARRAY(bool, net->n_tensors);
  written[net->output] = true;  // the caller writes it
  for (int i = net->n_nodes - 1; i >= 0; i--) {
    if (!gd_plan_runs_backward(plan, i)) continue;
    const gd_node *node = &net->nodes[i];
    int now = backward_time(plan, i);
    bool dy_is_taken = false;
    extend(homes, node->output, now);
    for (int k = 0; k < node->n_inputs; k++) {
      gd_tensor t = node->inputs[k];
      if (!net->needs_grad[t]) continue;
      plan->contributions[i][k] = contribution(plan, i, k, written[t], dy_is_taken);
      if (plan->contributions[i][k] == GD_SHARE) {
        homes->home[t] = homes->home[node->output];
        dy_is_taken = true;
      } else if (!written[t]) {
        homes->lives[t].first = now;
      }
      written[t] = true;
      extend(homes, t, is_input(net, t) ? always(plan) : now);
    }
  }
  gd_free(written);
}

// ---- Placement

static void *plan_alloc(gd_plan *plan, size_t nbytes) {
  plan->nbytes += nbytes;
  return gd_alloc_zero(nbytes);  // zeroed: padding images must hold finite numbers
}

static void place_in_arena(gd_plan *plan, const gd_homes *values, const gd_homes *grads) {
  const gd_net *net = plan->net;
  for (int i = 0; i < net->n_nodes; i++) {
    gd_tensor t = net->nodes[i].output;
    if (values->home[t] == t)
      gd_arena_want(&plan->arena, nbytes_of(plan, t, plan->ops[i].y_type), values->lives[t], &plan->values[t]);
  }
  for (int t = 0; grads && t < net->n_tensors; t++)
    if (net->needs_grad[t] && t != net->output && grads->home[t] == t)
      gd_arena_want(&plan->arena, nbytes_of(plan, t, plan->types[t]), grads->lives[t], &plan->grads[t]);
  gd_arena_place(&plan->arena);
  for (int t = 0; t < net->n_tensors; t++) {
    plan->values[t] = plan->values[values->home[t]];
    if (grads) plan->grads[t] = plan->grads[grads->home[t]];
  }
}

// The caller's side of a tensor: itself, or a float32 copy.
static float *open_port(gd_plan *plan, gd_tensor t, gd_precision type, void *tensor) {
  return type == GD_FLOAT32 ? tensor : plan_alloc(plan, nbytes_of(plan, t, GD_FLOAT32));
}

static void open_inputs(gd_plan *plan) {
  for (int i = 0; i < plan->net->n_inputs; i++) {
    gd_tensor t = plan->net->inputs[i];
    plan->values[t] = plan_alloc(plan, nbytes_of(plan, t, plan->types[t]));
    plan->inputs[i] = open_port(plan, t, plan->types[t], plan->values[t]);
    if (plan->grads[t]) plan->input_grads[i] = open_port(plan, t, plan->types[t], plan->grads[t]);
  }
}

static void open_output(gd_plan *plan) {
  gd_tensor out = plan->net->output;
  plan->output = open_port(plan, out, plan->output_type, plan->values[out]);
  if (plan->mode != GD_TRAINING) return;
  plan->grads[out] = plan_alloc(plan, nbytes_of(plan, out, plan->types[out]));
  plan->output_grad = open_port(plan, out, plan->types[out], plan->grads[out]);
}

static bool adds_extra(const gd_plan *plan, int i, int k) {
  const gd_op *op = &plan->ops[i];
  return op->wants_dx[k] && plan->contributions[i][k] == GD_ADD && !has_bit(op->node->kind->passes_gradient, k);
}

// Gives every op its pointers, and scratch as large as the neediest wants.
static void connect_ops(gd_plan *plan) {
  size_t scratch_nbytes = 0, extra_nbytes[GD_MAX_INPUTS] = {0};
  for (int i = 0; i < plan->net->n_nodes; i++) {
    const gd_op *op = &plan->ops[i];
    if (op->scratch_nbytes > scratch_nbytes) scratch_nbytes = op->scratch_nbytes;
    for (int k = 0; k < op->node->n_inputs; k++) {
      size_t nbytes = nbytes_of(plan, op->node->inputs[k], op->x_type[k]);
      if (adds_extra(plan, i, k) && nbytes > extra_nbytes[k]) extra_nbytes[k] = nbytes;
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
      if (op->wants_dx[k] && !has_bit(op->node->kind->passes_gradient, k))
        op->dx[k] = adds_extra(plan, i, k) ? plan->extra[k] : plan->grads[op->node->inputs[k]];
    }
  }
}

void gd_plan_allocate(gd_plan *plan) {
  int n = plan->net->n_tensors;
  bool training = plan->mode == GD_TRAINING;
  gd_homes values = homes_create(n), grads = homes_create(n);
  activation_lifetimes(plan, &values);
  share_activations(plan, &values);
  if (training) gradient_lifetimes(plan, &grads);
  place_in_arena(plan, &values, training ? &grads : NULL);
  open_inputs(plan);
  open_output(plan);
  connect_ops(plan);
  homes_destroy(&values);
  homes_destroy(&grads);
}

static void close_port(float *port, const void *tensor) {
  if (port != tensor) gd_free(port);
}

void gd_plan_release_memory(gd_plan *plan) {
  const gd_net *net = plan->net;
  for (int i = 0; i < net->n_inputs; i++) {
    gd_tensor t = net->inputs[i];
    close_port(plan->inputs[i], plan->values[t]);
    close_port(plan->input_grads[i], plan->grads[t]);
    gd_free(plan->values[t]);
  }
  close_port(plan->output, plan->values[net->output]);
  close_port(plan->output_grad, plan->grads[net->output]);
  gd_free(plan->grads[net->output]);
  for (int i = 0; i < net->n_nodes; i++) gd_free(plan->ops[i].saved);
  for (int k = 0; k < GD_MAX_INPUTS; k++) gd_free(plan->extra[k]);
  gd_free(plan->scratch);
  gd_arena_release(&plan->arena);
}
