/* Inside of a plan, and its memory: tensors with lifetimes share one arena. */
#ifndef GD_NN_PLAN_H
#define GD_NN_PLAN_H

#include "nn/net.h"

/* First and last time, both included, at which a block is in use. */
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

/* Asks for a block; *target is set by gd_arena_place. */
void gd_arena_want(gd_arena *arena, size_t nbytes, gd_lifetime life, void **target);
/* Decides all offsets, allocates, and sets the targets. */
void gd_arena_place(gd_arena *arena);
void gd_arena_release(gd_arena *arena);

/* How an op's gradient by input k reaches the tensor's: the first contribution is written, later ones are added. */
typedef enum gd_contribution {
  GD_WRITE,      /* backward writes it straight into the tensor's gradient */
  GD_WRITE_COPY, /* it is dy, copied */
  GD_SHARE,      /* it is dy, and stays where that is */
  GD_ADD,        /* backward writes it into an extra array, or it is dy; the plan adds it */
} gd_contribution;

/* Time spent in one op. */
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
  int64_t *ready;           /* (n_nodes) once backward of this op is done, gradients from here on are final */
  gd_precision *types;      /* (n_tensors) of values and gradients */
  gd_precision output_type; /* of the output's values: may be float32 where its gradient is not */
  void **values;            /* (n_tensors) activations */
  void **grads;             /* (n_tensors) gradients, NULL where not needed */
  gd_arena arena;
  /* What the caller sees, always float32: the tensors themselves, or copies where those are bfloat16. */
  float **inputs, **input_grads; /* (n_inputs) */
  float *output, *output_grad;
  void *scratch;
  void *extra[GD_MAX_INPUTS]; /* contributions on their way to being added */
  size_t nbytes;              /* besides the arena */
};

int64_t gd_plan_count(const gd_plan *plan, gd_tensor t); /* elements of the whole batch */
bool gd_plan_runs_backward(const gd_plan *plan, int node);

/* Decides types and contributions, then (once the ops are prepared) places all tensors and gives every op its pointers.
 */
void gd_plan_choose_types(gd_plan *plan, gd_precision precision);
void gd_plan_allocate(gd_plan *plan);
void gd_plan_release_memory(gd_plan *plan);

#endif
