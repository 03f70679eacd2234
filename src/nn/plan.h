/* Inside of a plan. Its tensors share one arena: two of them may use the same memory at different times. */
#ifndef GD_NN_PLAN_H
#define GD_NN_PLAN_H

#include "nn/net.h"

/* First and last time, both included, at which a block of memory is in use; plan_memory.c says what a time is. */
typedef struct gd_lifetime {
  int first, last;
} gd_lifetime;

typedef struct gd_block {
  size_t nbytes, offset;
  gd_lifetime life;
  void **target;
} gd_block;

typedef struct gd_arena {
  gd_block *blocks;
  int n, capacity;
  void *memory;
  size_t nbytes;
} gd_arena;

/* Requests a block; gd_arena_place sets *target. */
void gd_arena_request(gd_arena *arena, size_t nbytes, gd_lifetime life, void **target);
/* Decides all offsets, allocates the memory and sets the targets. */
void gd_arena_place(gd_arena *arena);
void gd_arena_release(gd_arena *arena);

/* How an op's gradient by input k becomes part of that tensor's gradient, which is the sum over all readers of the
 * tensor. The first contribution in the order of backward creates the gradient, later ones are added. */
typedef enum gd_contribution {
  GD_WRITE,      /* backward writes it into the tensor's gradient */
  GD_WRITE_COPY, /* it equals dy: the plan copies it */
  GD_SHARE,      /* it equals dy: both are one array */
  GD_ADD,        /* the plan adds it: from an extra array that backward writes, or from dy */
} gd_contribution;

/* Runs of one op and the time spent in them. */
typedef struct gd_op_times {
  int64_t n_forward, n_backward;
  double seconds_forward, seconds_backward;
} gd_op_times;

struct gd_plan {
  const gd_net *net;
  int batch;
  gd_mode mode;
  gd_op *ops;
  gd_contribution (*contributions)[GD_MAX_INPUTS]; /* (n_nodes) */
  gd_op_times *times;                              /* (n_nodes) */
  int64_t *ready;           /* (n_nodes) after backward of this op the flat gradients from here on are final */
  gd_precision *types;      /* (n_tensors) of values and gradients */
  gd_precision output_type; /* of the output's values; may be float32 where its gradient is bfloat16 */
  void **values;            /* (n_tensors) activations */
  void **grads;             /* (n_tensors) gradients, NULL where not needed */
  gd_arena arena;
  /* The caller's arrays, always float32: the tensors themselves, or copies where those are bfloat16. */
  float **inputs, **input_grads; /* (n_inputs) */
  float *output, *output_grad;
  gd_row_draws draws;
  void *scratch;
  void *extra[GD_MAX_INPUTS]; /* contributions to be added: see GD_ADD */
  size_t nbytes;              /* of memory besides the arena */
};

/* Elements of a tensor for the whole batch. */
int64_t gd_plan_count(const gd_plan *plan, gd_tensor t);
/* Whether gd_plan_backward runs this node. */
bool gd_plan_runs_backward(const gd_plan *plan, int node);

/* Decides the types of all tensors and ops. */
void gd_plan_choose_types(gd_plan *plan, gd_precision precision);
/* Decides the contributions, places all tensors and sets the pointers of all ops, which have been prepared. */
void gd_plan_allocate(gd_plan *plan);
void gd_plan_release_memory(gd_plan *plan);

#endif
