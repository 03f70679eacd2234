/* The network engine: one parameter table, one description of a network, plans that execute it.
 *
 * A gd_net describes ops on tensors, per image. A gd_plan compiles it for a batch, for training or inference, in
 * float32 or bfloat16. Activations are channels-last, (N, H, W, C). Parameters are flat float32 arrays in PyTorch's
 * layouts: convolution (O, I, kh, kw), linear (O, I). All functions are local except gd_precision_agree. */
#ifndef GENDISTILL_NN_H
#define GENDISTILL_NN_H

#include "gendistill/base.h"
#include "gendistill/comm.h"

/* ---- Parameters ------------------------------------------------------------------------------ */

typedef enum gd_init {
  GD_INIT_ZERO,
  GD_INIT_ONE,
  GD_INIT_NORMAL,  /* standard normal, PyTorch's default for embeddings */
  GD_INIT_UNIFORM, /* uniform in +-1/sqrt(fan_in), PyTorch's default for weights and biases */
} gd_init;

typedef struct gd_param {
  char *name;
  int n_dims;
  int64_t dims[4];
  int64_t offset; /* of its first element in the flat array */
  int64_t count;  /* product of dims */
  gd_init init;
  int64_t fan_in;
  /* A running statistic of batch normalisation: its "gradient" is the statistic of the batch, towards which the
   * optimiser moves it. Not part of the gradient norm. */
  bool is_statistic;
} gd_param;

/* The layout of parameters, gradients, moments and EMA: parameter i is elements offset .. offset+count-1 of each flat
 * array of `total` floats. */
typedef struct gd_param_table {
  gd_param *params;
  int n;
  int64_t total;
} gd_param_table;

/* The parameter called `name`, or NULL. */
const gd_param *gd_param_table_find(const gd_param_table *table, const char *name);

/* Fills `values` (total floats) with initial values keyed by (seed, parameter, element). */
void gd_param_table_initialise(const gd_param_table *table, uint64_t seed, float *values);

/* Digest of a flat array with the layout of `table`. */
uint64_t gd_param_table_digest(const gd_param_table *table, const float *values);

/* ---- Network description --------------------------------------------------------------------- */

typedef struct gd_net gd_net;
typedef int gd_tensor; /* index of a tensor in its net */

typedef struct gd_shape {
  int h, w, c; /* per image; a vector is 1 x 1 x c */
} gd_shape;

typedef enum gd_activation { GD_LINEAR, GD_SILU, GD_RELU } gd_activation;

/* Creates an empty network. */
void gd_net_create(gd_net **out);
/* Accepts NULL, sets NULL. */
void gd_net_destroy(gd_net **net);
const gd_param_table *gd_net_params(const gd_net *net);
gd_shape gd_net_shape(const gd_net *net, gd_tensor tensor);

int gd_net_n_inputs(const gd_net *net);
gd_shape gd_net_input_shape(const gd_net *net, int i);
gd_shape gd_net_output_shape(const gd_net *net);

/* Adds an input of the network; inputs are numbered in the order of these calls. */
gd_tensor gd_net_input(gd_net *net, gd_shape shape);

/* Declares the network's only output. */
void gd_net_output(gd_net *net, gd_tensor x);

/* Each of the following adds one op and returns its output. Parameters are called NAME.weight and NAME.bias. */
gd_tensor gd_net_conv(gd_net *net, gd_tensor x, const char *name, int c_out, int kernel, int stride, int pad,
                      bool bias);
gd_tensor gd_net_conv_rect(gd_net *net, gd_tensor x, const char *name, int c_out, int kernel_h, int kernel_w,
                           int stride, int pad_h, int pad_w, bool bias);
gd_tensor gd_net_linear(gd_net *net, gd_tensor x, const char *name, int c_out); /* on the channels of each pixel */
/* The same plus `residual`, which has the output's shape: one pass over memory less than with gd_net_add. */
gd_tensor gd_net_conv_add(gd_net *net, gd_tensor x, gd_tensor residual, const char *name, int c_out, int kernel,
                          int pad);
gd_tensor gd_net_linear_add(gd_net *net, gd_tensor x, gd_tensor residual, const char *name, int c_out);
/* n linear maps of the same tensor as one matrix product. Their outputs are concatenated along the channels. */
gd_tensor gd_net_linear_group(gd_net *net, gd_tensor x, int n, const char *const *names, const int *c_out);
gd_tensor gd_net_group_norm(gd_net *net, gd_tensor x, const char *name, int groups, float eps,
                            gd_activation activation); /* GD_LINEAR or GD_SILU */
/* Group norm of x + v, where v is the channels begin .. begin+C-1 of the vector `shifts`. All readers of `shifts`
 * together must read each of its channels once. */
gd_tensor gd_net_group_norm_shifted(gd_net *net, gd_tensor x, gd_tensor shifts, int begin, const char *name, int groups,
                                    float eps, gd_activation activation);
/* In training with the statistics of the plan's batch. Also has the parameters NAME.running_mean, NAME.running_var. */
gd_tensor gd_net_batch_norm(gd_net *net, gd_tensor x, const char *name, float eps);
gd_tensor gd_net_activation(gd_net *net, gd_tensor x, gd_activation activation);
/* softmax(q k^T / sqrt(head_dim)) v over the pixels, heads of head_dim channels. */
gd_tensor gd_net_attention(gd_net *net, gd_tensor q, gd_tensor k, gd_tensor v, int head_dim);
gd_tensor gd_net_add(gd_net *net, gd_tensor a, gd_tensor b);      /* same shapes */
gd_tensor gd_net_multiply(gd_net *net, gd_tensor a, gd_tensor b); /* same shapes */
gd_tensor gd_net_concat(gd_net *net, gd_tensor a, gd_tensor b);   /* along channels */
gd_tensor gd_net_upsample(gd_net *net, gd_tensor x);              /* nearest, x2 */
gd_tensor gd_net_max_pool(gd_net *net, gd_tensor x, int kernel, int stride, int pad);
/* With count_padding the zeros of the padding are part of the average, otherwise only the pixels of the image. */
gd_tensor gd_net_avg_pool(gd_net *net, gd_tensor x, int kernel, int stride, int pad, bool count_padding);
gd_tensor gd_net_global_avg_pool(gd_net *net, gd_tensor x);
gd_tensor gd_net_global_max_pool(gd_net *net, gd_tensor x);
/* In training zero with probability `rate`, otherwise x / (1 - rate); see gd_plan_begin_draws. In inference x. */
gd_tensor gd_net_dropout(gd_net *net, gd_tensor x, double rate);
/* Row number `index` (1,1,1), a whole number below n_rows, of the table NAME.weight (n_rows, channels). */
gd_tensor gd_net_embedding(gd_net *net, gd_tensor index, const char *name, int n_rows, int channels);
/* Sinusoidal embedding of a (1,1,1) tensor of timesteps: cos first, then sin, base 10000; no gradient. */
gd_tensor gd_net_time_embedding(gd_net *net, gd_tensor t, int channels);

/* ---- Plan ------------------------------------------------------------------------------------ */

typedef struct gd_plan gd_plan;

typedef enum gd_mode { GD_INFERENCE, GD_TRAINING } gd_mode;

/* The precision of a plan. With GD_BFLOAT16, maps (tensors of more than one pixel) and the packed weights that multiply
 * them are bfloat16. Vectors, parameters, their gradients, sums, statistics and softmax stay float32, as do the plan's
 * inputs, its output and their gradients. */
typedef enum gd_precision { GD_FLOAT32, GD_BFLOAT16 } gd_precision;

/* "oneDNN 2.6.3 (AVX512_CORE_BF16)": the library in use, and the best instructions that it uses here. New string,
 * gd_free. Local. */
char *gd_nn_library(void);

/* Whether this CPU has instructions for this precision (bfloat16: AVX512_BF16 or AMX). */
bool gd_precision_supported(gd_precision precision);

/* `wanted`, or GD_FLOAT32 with a warning (once) if the CPU of some rank does not support it. Collective on comm. */
gd_precision gd_precision_agree(const gd_comm *comm, gd_precision wanted);

/* Compiles `net`, which must outlive the plan, for `batch` images. An inference plan keeps no activations.
 * GD_ERR_FAILED if oneDNN has no implementation, or an op none in this precision. */
gd_err gd_plan_create(gd_plan **out, const gd_net *net, int batch, gd_mode mode, gd_precision precision);
/* Accepts NULL, sets NULL. */
void gd_plan_destroy(gd_plan **plan);

int gd_plan_batch(const gd_plan *plan);
size_t gd_plan_nbytes(const gd_plan *plan); /* memory held by the plan */

/* Loads parameters (flat, table->total floats): packs weights into the layouts of the primitives. `params` must stay
 * valid until the next load. */
void gd_plan_load(gd_plan *plan, const float *params);

/* The array to write input `i` into, (batch, H, W, C). The same for the plan's lifetime. */
float *gd_plan_input(gd_plan *plan, int i);

/* What dropout draws from now on: the numbers of `key`, of image i of the batch for the sample number that is written
 * into element i of the result, (batch). At first they are 0 .. batch-1 of an empty key. */
uint32_t *gd_plan_begin_draws(gd_plan *plan, gd_random key);

/* Runs the network. Returns its output, (batch, H, W, C), valid until the next call on this plan. */
const float *gd_plan_forward(gd_plan *plan);

/* Called during backward: the elements of `grads` from `first` on have their final values. */
typedef void (*gd_gradient_ready)(void *context, int64_t first);

/* The array of a training plan to write the gradient of the loss by the output into, (batch, H, W, C). */
float *gd_plan_output_gradient(gd_plan *plan);

/* After gd_plan_forward: writes the gradient by every parameter into `grads` (flat, overwritten). `ready` (may be NULL)
 * is called after every op; its `first` never rises. */
void gd_plan_backward(gd_plan *plan, float *grads, gd_gradient_ready ready, void *context);

/* One op of a plan and the total time of its runs so far. */
typedef struct gd_op_profile {
  const char *kind, *name; /* name: of its parameters' module, or "" */
  gd_shape in, out;        /* per image */
  double flops;            /* of one forward run of the batch; backward data and backward weights each cost as much */
  int64_t n_parameters;    /* of the op; the parameter table is in the order of the ops */
  bool by_data;            /* backward also computes the gradient by the (first) input */
  int64_t n_forward, n_backward;
  double seconds_forward, seconds_backward_data, seconds_backward_weights; /* ops without weights: all in _data */
} gd_op_profile;

int gd_plan_n_ops(const gd_plan *plan);
gd_op_profile gd_plan_profile(const gd_plan *plan, int i);
void gd_plan_profile_reset(gd_plan *plan);

/* Measures a large matrix product with this rank's threads, the best of several runs, in under a second. The result is
 * float32, the factors are in `precision`, which the CPU must support. Floating-point operations per second. */
double gd_measure_matmul(gd_precision precision);
/* Measures the triad a = b + s c over arrays much larger than the cache, likewise. Bytes per second of three arrays. */
double gd_measure_memory(void);

/* ---- Optimiser ------------------------------------------------------------------------------- */

typedef struct gd_adam {
  float learning_rate, beta1, beta2, eps;
  float weight_decay; /* AdamW's: parameters are first multiplied by 1 - learning_rate weight_decay */
} gd_adam;

typedef enum gd_rate_schedule { GD_RATE_CONSTANT, GD_RATE_COSINE, GD_RATE_LINEAR } gd_rate_schedule;

/* Factor of the learning rate at step `step` (from 1) of n_steps: rises linearly over the share `warmup` of the steps,
 * then stays, or falls to zero behind the last step along half a cosine or a line. Local. */
double gd_rate_factor(gd_rate_schedule schedule, double warmup, int64_t step, int64_t n_steps);

/* Euclidean norm of a flat gradient without the running statistics, accumulated in double in a fixed order. */
double gd_gradient_norm(const gd_param_table *table, const float *grads);

/* Adam step number `step` (from 1) on the flat arrays params, m and v. grads (flat) are first multiplied by `scale`,
 * for clipping. Running statistics move by 0.1 of the difference towards grads / n_slots. */
void gd_adam_step(const gd_adam *adam, const gd_param_table *table, int64_t step, float scale, int n_slots,
                  const float *grads, float *params, float *m, float *v);

/* ema <- decay ema + (1 - decay) params. */
void gd_ema_update(const gd_param_table *table, float decay, const float *params, float *ema);

#endif
