/* Inside of a network description: tensors, nodes, and the interface that every kind of op implements. */
#ifndef GD_NN_NET_H
#define GD_NN_NET_H

#include "gendistill/nn.h"

enum { GD_MAX_INPUTS = 3, GD_MAX_OP_PARAMS = 4 };

/* Settings of one op; each kind uses some of them. */
typedef struct gd_attributes {
  int kernel[2], stride, pad[2]; /* of a filter or pooling window; [0] along the height, [1] along the width */
  int groups;
  int part_begin; /* first channel of the part that is read of an input: see reads_part */
  int head_dim;
  float rate;  /* of dropout */
  int ordinal; /* of the network's dropout ops */
  float eps;
  gd_activation activation;
  bool bias;
  bool average;       /* pooling: average instead of maximum */
  bool count_padding; /* average pooling: divide by all pixels of the window, also at the border */
} gd_attributes;

typedef struct gd_op gd_op;
typedef struct gd_op_class gd_op_class;

/* One kind of op. Its functions work on the whole batch of the plan. */
struct gd_op_class {
  const char *kind;
  /* What backward reads, and the plan therefore keeps: inputs (bit i: input i) and the output. */
  unsigned backward_reads_inputs;
  bool backward_reads_output;
  unsigned overwrites_inputs; /* bit i: y may be the same array as input i */
  unsigned passes_gradient;   /* bit i: the gradient by input i is dy; the plan passes it on, not backward */
  unsigned reads_part;        /* bit i: reads only some channels of input i; its readers together read each once */
  bool bfloat16;              /* supports bfloat16 maps */
  bool may_write_float32;     /* y may be float32 where x is bfloat16 */
  /* Optional: creates primitives; sets scratch_nbytes and saved_nbytes. */
  gd_err (*prepare)(gd_op *op);
  void (*load)(gd_op *op, const float *params); /* optional: takes in new parameters */
  void (*forward)(gd_op *op);
  /* Writes dx[i] where it is not NULL, and the parameters' gradients into the flat array `grads`. */
  void (*backward)(gd_op *op, float *grads);
  void (*release)(gd_op *op); /* optional: frees op->state */
  /* Optional: a class whose five functions above replace these for the ops that its `suits` accepts. */
  const gd_op_class *special;
  bool (*suits)(const gd_op *op);
};

typedef struct gd_node {
  const gd_op_class *kind;
  char *name; /* of the module that its parameters belong to; "": none */
  int n_inputs;
  gd_tensor inputs[GD_MAX_INPUTS];
  gd_tensor output;
  int n_params;
  int params[GD_MAX_OP_PARAMS]; /* indices in the parameter table */
  gd_attributes attributes;
} gd_node;

struct gd_net {
  gd_param_table table;
  gd_shape *shapes; /* (n_tensors) */
  bool *needs_grad; /* (n_tensors) depends on a parameter, or on an input whose gradient is wanted */
  int n_tensors;
  gd_node *nodes; /* in order of execution */
  int n_nodes;
  gd_tensor *inputs;
  int n_inputs;
  gd_tensor output;
  int n_dropouts;
};

/* Where dropout's random numbers come from. */
typedef struct gd_row_draws {
  gd_random key;
  uint32_t *rows; /* (batch) number of each image */
} gd_row_draws;

/* A node compiled for a plan. */
struct gd_op {
  const gd_node *node;
  const gd_op_class *passes; /* its functions: of the node's kind or of that kind's special class */
  const gd_param_table *table;
  int batch;
  bool training;
  gd_shape in[GD_MAX_INPUTS], out; /* per image */
  bool wants_dx[GD_MAX_INPUTS];
  gd_precision x_type[GD_MAX_INPUTS], y_type, dy_type; /* dx has the type of x */
  /* Set by the plan before the first run: (batch, h, w, c) each, of these types. */
  void *x[GD_MAX_INPUTS];
  void *y;
  void *dx[GD_MAX_INPUTS]; /* NULL where not wanted */
  void *dy;
  const float *params; /* the flat array of the last load */
  const gd_row_draws *draws;
  size_t scratch_nbytes; /* needed during load, forward or backward; shared by all ops */
  void *scratch;
  size_t saved_nbytes; /* kept from forward to backward */
  void *saved;
  void *state;            /* of the op class */
  double seconds_weights; /* part of backward's time: gradients of weights */
};

/* The op's parameter number i, and its gradient, in the flat arrays. */
static inline const float *gd_op_param(const gd_op *op, int i) {
  return op->params + op->table->params[op->node->params[i]].offset;
}
static inline float *gd_op_grad(const gd_op *op, float *grads, int i) {
  return grads + op->table->params[op->node->params[i]].offset;
}

static inline int64_t gd_shape_count(gd_shape s) {
  return (int64_t)s.h * s.w * s.c;
}

/* Makes backward compute the gradient by this input; before any op is added. */
void gd_net_input_gradient(gd_net *net, gd_tensor input);
/* After gd_plan_backward: the gradient by input i, (batch, H, W, C); NULL if gd_net_input_gradient was not called. */
const float *gd_plan_input_gradient(gd_plan *plan, int i);

extern const gd_op_class gd_op_conv, gd_op_winograd, gd_op_linear, gd_op_group_norm, gd_op_batch_norm, gd_op_activation,
    gd_op_attention, gd_op_add, gd_op_multiply, gd_op_concat, gd_op_upsample, gd_op_pool, gd_op_time_embedding,
    gd_op_embedding, gd_op_dropout;

#endif
