/* Where the tensors of a plan are in memory: their types, how long each is in use, and which of them share memory.
 *
 * Time is counted in ops: with n nodes forward of node i happens at time i, its backward at time 2n-1-i.
 *
 *   time        0   1  ...  n-1 | n  ...  2n-2  2n-1 | 2n
 *   node        0   1  ...  n-1 | n-1 ...    1     0 |     the caller reads output and input gradients
 *               forward           backward
 *
 * Memory is shared in two ways:
 * - Each block is in use from the first time it is written to the last time it is read. Blocks that are never in use at
 *   the same time may overlap (arena.c).
 * - Two tensors have one block where an op may write its output over an input that is not read later, or where the
 *   gradient by an input is the gradient by the output (GD_SHARE). The block belongs to one of them, its owner, and is
 * in use as long as any of them. */
#include "nn/bfloat16.h"
#include "nn/plan.h"

// Of all activations, or of all gradients: (n_tensors) each.
typedef struct gd_sharing {
  gd_tensor *owner;    // of the tensor's block; the tensor itself at first
  gd_lifetime *lives;  // of the blocks, by owner
} gd_sharing;

static gd_sharing sharing_create(int n) {
  gd_sharing sharing = {.owner = GD_NEW_ARRAY(gd_tensor, n), .lives = GD_NEW_ARRAY(gd_lifetime, n)};
  for (int t = 0; t < n; t++) sharing.owner[t] = t;
  return sharing;
}

static void sharing_destroy(gd_sharing *sharing) {
  gd_free(sharing->owner);
  gd_free(sharing->lives);
}

// The tensor is in use at this time.
static void extend_life(const gd_sharing *sharing, gd_tensor t, int time) {
  gd_lifetime *life = &sharing->lives[sharing->owner[t]];
  if (time > life->last) life->last = time;
}

static int backward_time(const gd_plan *plan, int i) {
  return 2 * plan->net->n_nodes - 1 - i;
}

static int end_time(const gd_plan *plan) {
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

// Maps stay in the plan's precision: an op's output has the type of its first input. The network's output is not
// rounded where its op can write float32.
void gd_plan_choose_types(gd_plan *plan, gd_precision precision) {
  const gd_net *net = plan->net;
  bool may_keep_float32 = !is_read(net, net->output);
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
    if (node->output == net->output && may_keep_float32 && node->kind->may_write_float32) op->y_type = GD_FLOAT32;
    if (node->output == net->output) plan->output_type = op->y_type;
  }
}

static size_t tensor_nbytes(const gd_plan *plan, gd_tensor t, gd_precision type) {
  return (size_t)gd_plan_count(plan, t) * gd_element_nbytes(type);
}

// ---- Activations: lifetimes and sharing

static void find_activation_lives(const gd_plan *plan, gd_sharing *values) {
  const gd_net *net = plan->net;
  for (int i = 0; i < net->n_nodes; i++) {
    const gd_node *node = &net->nodes[i];
    bool backward = gd_plan_runs_backward(plan, i);
    values->lives[node->output] = (gd_lifetime){i, i};
    if (backward && node->kind->backward_reads_output) extend_life(values, node->output, backward_time(plan, i));
    for (int k = 0; k < node->n_inputs; k++) {
      bool kept = backward && has_bit(node->kind->backward_reads_inputs, k);
      extend_life(values, node->inputs[k], kept ? backward_time(plan, i) : i);
    }
  }
  extend_life(values, net->output, end_time(plan));
}

// Whether node i may write its output over its input k: the node is the last to read that block, and only as input k.
static bool may_overwrite(const gd_plan *plan, const gd_sharing *values, int i, int k) {
  const gd_node *node = &plan->net->nodes[i];
  gd_tensor owner = values->owner[node->inputs[k]];
  if (is_input(plan->net, owner) || values->lives[owner].last != i) return false;
  for (int j = 0; j < node->n_inputs; j++)
    if (j != k && values->owner[node->inputs[j]] == owner) return false;
  return plan->ops[i].y_type == plan->ops[i].x_type[k];
}

static void share_activations(const gd_plan *plan, gd_sharing *values) {
  for (int i = 0; i < plan->net->n_nodes; i++) {
    const gd_node *node = &plan->net->nodes[i];
    for (int k = 0; k < node->n_inputs; k++) {
      if (!has_bit(node->kind->overwrites_inputs, k) || !may_overwrite(plan, values, i, k)) continue;
      int last = values->lives[node->output].last;
      values->owner[node->output] = values->owner[node->inputs[k]];
      extend_life(values, node->output, last);
      break;
    }
  }
}

// ---- Gradients: contributions, lifetimes and sharing

// Contributions in parts are written, never added: check that the readers' parts cover the tensor.
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

// Whether an earlier input of node i shares dy's block. A second one must not: later contributions to the first would
// change it.
static bool is_dy_shared(const gd_plan *plan, int i, int k) {
  for (int j = 0; j < k; j++)
    if (plan->contributions[i][j] == GD_SHARE) return true;
  return false;
}

// Of node i to the gradient of its input k, the first in the order of backward. A tensor that the caller reads or
// writes has a block of its own.
static gd_contribution first_contribution(const gd_plan *plan, int i, int k) {
  const gd_node *node = &plan->net->nodes[i];
  if (!has_bit(node->kind->passes_gradient, k)) return GD_WRITE;
  bool is_callers = node->output == plan->net->output || is_input(plan->net, node->inputs[k]);
  return is_callers || is_dy_shared(plan, i, k) ? GD_WRITE_COPY : GD_SHARE;
}

static gd_contribution later_contribution(const gd_plan *plan, int i, int k) {
  return has_bit(plan->net->nodes[i].kind->reads_part, k) ? GD_WRITE : GD_ADD;
}

// Adds node i's contribution to the gradient of its input k. exists (n_tensors): gradients that have a contribution.
static void place_contribution(gd_plan *plan, gd_sharing *grads, bool *exists, int i, int k) {
  const gd_node *node = &plan->net->nodes[i];
  gd_tensor t = node->inputs[k];
  int now = backward_time(plan, i);
  if (exists[t]) {
    plan->contributions[i][k] = later_contribution(plan, i, k);
  } else {
    plan->contributions[i][k] = first_contribution(plan, i, k);
    if (plan->contributions[i][k] == GD_SHARE)
      grads->owner[t] = grads->owner[node->output];
    else
      grads->lives[t].first = now;
  }
  exists[t] = true;
  extend_life(grads, t, is_input(plan->net, t) ? end_time(plan) : now);
}

// In the order of backward, in which a node comes after all readers of its output: when it runs, the gradient by its
// output is complete, and read for the last time.
static void place_gradients(gd_plan *plan, gd_sharing *grads) {
  const gd_net *net = plan->net;
  bool *exists = GD_NEW_ARRAY(bool, net->n_tensors);
  check_parts(net);
  exists[net->output] = true;  // the caller writes it
  for (int i = net->n_nodes - 1; i >= 0; i--) {
    const gd_node *node = &net->nodes[i];
    if (!gd_plan_runs_backward(plan, i)) continue;
    extend_life(grads, node->output, backward_time(plan, i));
    for (int k = 0; k < node->n_inputs; k++)
      if (net->needs_grad[node->inputs[k]]) place_contribution(plan, grads, exists, i, k);
  }
  gd_free(exists);
}

// ---- Memory

static void *plan_alloc(gd_plan *plan, size_t nbytes) {
  plan->nbytes += nbytes;
  return gd_alloc_zero(nbytes);  // zeroed: padding images must hold finite numbers
}

// The arena holds all activations but the inputs, and all gradients but the output's. grads: NULL for inference.
static void place_in_arena(gd_plan *plan, const gd_sharing *values, const gd_sharing *grads) {
  const gd_net *net = plan->net;
  for (int i = 0; i < net->n_nodes; i++) {
    gd_tensor t = net->nodes[i].output;
    if (values->owner[t] == t)
      gd_arena_request(&plan->arena, tensor_nbytes(plan, t, plan->ops[i].y_type), values->lives[t], &plan->values[t]);
  }
  for (int t = 0; grads && t < net->n_tensors; t++)
    if (net->needs_grad[t] && t != net->output && grads->owner[t] == t)
      gd_arena_request(&plan->arena, tensor_nbytes(plan, t, plan->types[t]), grads->lives[t], &plan->grads[t]);
  gd_arena_place(&plan->arena);
  for (int t = 0; t < net->n_tensors; t++) {
    plan->values[t] = plan->values[values->owner[t]];
    if (grads) plan->grads[t] = plan->grads[grads->owner[t]];
  }
}

// The caller's array of a tensor: the tensor itself, or a float32 copy.
static float *open_port(gd_plan *plan, gd_tensor t, gd_precision type, void *tensor) {
  return type == GD_FLOAT32 ? tensor : plan_alloc(plan, tensor_nbytes(plan, t, GD_FLOAT32));
}

static void close_port(float *port, const void *tensor) {
  if (port != tensor) gd_free(port);
}

static void open_inputs(gd_plan *plan) {
  for (int i = 0; i < plan->net->n_inputs; i++) {
    gd_tensor t = plan->net->inputs[i];
    plan->values[t] = plan_alloc(plan, tensor_nbytes(plan, t, plan->types[t]));
    plan->inputs[i] = open_port(plan, t, plan->types[t], plan->values[t]);
    if (plan->grads[t]) plan->input_grads[i] = open_port(plan, t, plan->types[t], plan->grads[t]);
  }
}

static void open_output(gd_plan *plan) {
  gd_tensor out = plan->net->output;
  plan->output = open_port(plan, out, plan->output_type, plan->values[out]);
  if (plan->mode != GD_TRAINING) return;
  plan->grads[out] = plan_alloc(plan, tensor_nbytes(plan, out, plan->types[out]));
  plan->output_grad = open_port(plan, out, plan->types[out], plan->grads[out]);
}

// ---- Ops

// Whether backward writes its gradient by input k into an extra array.
static bool uses_extra(const gd_plan *plan, int i, int k) {
  const gd_op *op = &plan->ops[i];
  return op->wants_dx[k] && plan->contributions[i][k] == GD_ADD && !has_bit(op->node->kind->passes_gradient, k);
}

static void grow_to(size_t *nbytes, size_t needed) {
  if (needed > *nbytes) *nbytes = needed;
}

// Scratch and extra arrays are shared by all ops.
static void allocate_shared(gd_plan *plan) {
  size_t scratch_nbytes = 0, extra_nbytes[GD_MAX_INPUTS] = {0};
  for (int i = 0; i < plan->net->n_nodes; i++) {
    const gd_op *op = &plan->ops[i];
    grow_to(&scratch_nbytes, op->scratch_nbytes);
    for (int k = 0; k < op->node->n_inputs; k++)
      if (uses_extra(plan, i, k)) grow_to(&extra_nbytes[k], tensor_nbytes(plan, op->node->inputs[k], op->x_type[k]));
  }
  plan->scratch = plan_alloc(plan, scratch_nbytes);
  for (int k = 0; k < GD_MAX_INPUTS; k++) plan->extra[k] = plan_alloc(plan, extra_nbytes[k]);
}

static void connect_op(gd_plan *plan, int i) {
  gd_op *op = &plan->ops[i];
  op->scratch = plan->scratch;
  op->saved = plan_alloc(plan, op->saved_nbytes);
  op->y = plan->values[op->node->output];
  op->dy = plan->grads[op->node->output];
  for (int k = 0; k < op->node->n_inputs; k++) {
    op->x[k] = plan->values[op->node->inputs[k]];
    if (op->wants_dx[k] && !has_bit(op->node->kind->passes_gradient, k))
      op->dx[k] = uses_extra(plan, i, k) ? plan->extra[k] : plan->grads[op->node->inputs[k]];
  }
}

void gd_plan_allocate(gd_plan *plan) {
  int n = plan->net->n_tensors;
  bool training = plan->mode == GD_TRAINING;
  gd_sharing values = sharing_create(n), grads = sharing_create(n);
  find_activation_lives(plan, &values);
  share_activations(plan, &values);
  if (training) place_gradients(plan, &grads);
  place_in_arena(plan, &values, training ? &grads : NULL);
  open_inputs(plan);
  open_output(plan);
  allocate_shared(plan);
  for (int i = 0; i < plan->net->n_nodes; i++) connect_op(plan, i);
  sharing_destroy(&values);
  sharing_destroy(&grads);
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
