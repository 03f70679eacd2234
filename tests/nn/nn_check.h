/* Compares a small network of src/nn with its reference in plain loops: output, and gradients by finite differences.
 *
 * A graph is a pair of functions that build the same network twice; a case is one row of a table: shapes and the
 * numbers that describe the op. Every comparison is relative to the largest expected element. */
#ifndef GENDISTILL_TESTS_NN_CHECK_H
#define GENDISTILL_TESTS_NN_CHECK_H

#include "nn/net.h"
#include "nn_reference.h"
#include "support.h"

enum { NN_MAX_INPUTS = 3 };

typedef struct nn_case {
  const char *label;
  int batch;
  gd_shape in[NN_MAX_INPUTS]; /* the inputs; unused ones are zero */
  int c_out, kernel, stride, pad, groups, head_dim;
  int kernel_w, pad_w; /* rectangular filters: `kernel` and `pad` are for the height */
  bool bias, count_padding;
  gd_activation activation;
  float scale, offset;   /* inputs are normal numbers times scale (0 means 1) plus offset */
  double tolerance;      /* 0 means 1e-5, between precisions 1e-2 */
  int n_samples;         /* elements of each array checked by finite differences; 0 means 300 */
  unsigned fixed_inputs; /* bit i: no gradient by input i is computed */
  gd_precision precision;
} nn_case;

typedef struct nn_graph {
  gd_tensor (*build)(gd_net *net, const gd_tensor *x, const nn_case *c);
  /* x: inputs; p: parameters in the table's order; y: output. NULL if only bits are compared. */
  void (*reference)(const nn_case *c, const double *const *x, const double *const *p, double *y);
  bool modes_differ; /* inference does not compute what training does: batch normalisation */
} nn_graph;

/* A graph compiled for a case, with random parameters and inputs that depend only on their index. */
typedef struct nn_fixture {
  const nn_graph *graph;
  const nn_case *c;
  gd_net *net;
  const gd_param_table *table;
  gd_plan *plan;
  float *params, *grads;
  int n_inputs;
  int64_t n_in[NN_MAX_INPUTS], n_out; /* elements of the whole batch */
} nn_fixture;

nn_fixture nn_open(const nn_graph *graph, const nn_case *c, gd_mode mode);
void nn_close(nn_fixture *f);

/* Fills images first .. batch-1 of input i with random numbers; variant 0 is what nn_open writes. */
void nn_fill_input(nn_fixture *f, int i, int first, uint32_t variant);

/* Forward, and backward from a random gradient of the output. Overwrites every element of f->grads. */
const float *nn_run(nn_fixture *f);

/* Runs nn_run; returns the output and the gradients by inputs and parameters in one array of n elements. */
float *nn_results(nn_fixture *f, int64_t *n);

/* Output and gradients of one case against the reference; training and inference must give the same bits. */
void nn_check(const nn_graph *graph, const nn_case *c);
void nn_check_all(const nn_graph *graph, const nn_case *cases, size_t n);
#define NN_CHECK_ALL(graph, cases) nn_check_all(graph, cases, sizeof(cases) / sizeof((cases)[0]))

/* Each case in bfloat16 against the same in float32: ||b - f|| / ||f|| is within the case's tolerance for the output,
 * and within twice that for the gradient by every input and parameter. The outputs must differ. */
void nn_check_bfloat16(const nn_graph *graph, const nn_case *cases, size_t n);
#define NN_CHECK_BFLOAT16(graph, cases) nn_check_bfloat16(graph, cases, sizeof(cases) / sizeof((cases)[0]))

/* ||a - b|| / ||b|| */
double nn_distance(const float *a, const float *b, int64_t n);

/* Fails unless |got - expected| <= tolerance * largest |expected| everywhere. */
void nn_compare(const char *label, const char *what, const float *got, const double *expected, int64_t n,
                double tolerance);

#endif
