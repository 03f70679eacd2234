/* The comparison of src/nn with plain loops: see nn_check.h.
 *
 * Gradients are those of L = sum_i r_i y_i with random r. The expected ones are central differences of the reference
 * in double precision, whose own error is about 1e-9. */
#include "nn_check.h"

#include <math.h>
#include <string.h>

enum { STREAM_INPUT = 100, STREAM_PARAM = 200, STREAM_OUTPUT = 300 };

static gd_random stream(uint32_t variant) {
  return (gd_random){.seed = 1, .purpose = GD_RANDOM_NOISE, .step = variant};
}

static int64_t count(gd_shape s) {
  return (int64_t)s.h * s.w * s.c;
}

// ---- Fixture

// Initial values (biases 0, norm weights 1) would hide mistakes: all parameters become random, variances positive.
static void fill_params(const gd_param_table *table, float *params) {
  for (int i = 0; i < table->n; i++) {
    const gd_param *p = &table->params[i];
    float *values = params + p->offset;
    gd_random_uniform(stream(0), STREAM_PARAM + (uint64_t)i, (size_t)p->count, values);
    for (int64_t j = 0; j < p->count; j++) {
      if (p->init == GD_INIT_UNIFORM) values[j] = (2 * values[j] - 1) * 2 / sqrtf((float)p->fan_in);
      if (p->init == GD_INIT_ZERO) values[j] -= 0.5f;
      if (p->init == GD_INIT_ONE) values[j] += 0.5f;
    }
  }
}

void nn_fill_input(nn_fixture *f, int i, int first, uint32_t variant) {
  int64_t n = count(f->c->in[i]);
  float scale = f->c->scale != 0 ? f->c->scale : 1;
  for (int image = first; image < f->c->batch; image++) {
    float *x = gd_plan_input(f->plan, i) + image * n;
    gd_random_normal(stream(variant), STREAM_INPUT + (uint64_t)i * 1000 + (uint64_t)image, (size_t)n, x);
    for (int64_t j = 0; j < n; j++) x[j] = x[j] * scale + f->c->offset;
  }
}

nn_fixture nn_open(const nn_graph *graph, const nn_case *c, gd_mode mode) {
  nn_fixture f = {.graph = graph, .c = c};
  gd_tensor x[NN_MAX_INPUTS] = {0};
  gd_net_create(&f.net);
  for (int i = 0; i < NN_MAX_INPUTS && c->in[i].c > 0; i++) {
    x[i] = gd_net_input(f.net, c->in[i]);
    if (!(c->fixed_inputs >> i & 1)) gd_net_input_gradient(f.net, x[i]);
    f.n_in[f.n_inputs++] = c->batch * count(c->in[i]);
  }
  gd_tensor y = graph->build(f.net, x, c);
  gd_net_output(f.net, y);
  f.n_out = c->batch * count(gd_net_shape(f.net, y));
  f.table = gd_net_params(f.net);
  f.params = GD_NEW_ARRAY(float, f.table->total + 1);  // an op without parameters has a total of 0
  f.grads = GD_NEW_ARRAY(float, f.table->total + 1);
  fill_params(f.table, f.params);
  assert_ok(gd_plan_create(&f.plan, f.net, c->batch, mode, c->precision));
  gd_plan_load(f.plan, f.params);
  for (int i = 0; i < f.n_inputs; i++) nn_fill_input(&f, i, 0, 0);
  return f;
}

void nn_close(nn_fixture *f) {
  gd_plan_destroy(&f->plan);
  gd_net_destroy(&f->net);
  gd_free(f->params);
  gd_free(f->grads);
}

static void fill_output_gradient(const nn_fixture *f, float *r) {
  int64_t n = f->n_out / f->c->batch;
  for (int image = 0; image < f->c->batch; image++)
    gd_random_normal(stream(0), STREAM_OUTPUT + (uint64_t)image, (size_t)n, r + image * n);
}

const float *nn_run(nn_fixture *f) {
  const float *y = gd_plan_forward(f->plan);
  fill_output_gradient(f, gd_plan_output_gradient(f->plan));
  for (int64_t i = 0; i < f->table->total; i++) f->grads[i] = NAN;  // shows elements that are not written
  gd_plan_backward(f->plan, f->grads, NULL, NULL);
  return y;
}

float *nn_results(nn_fixture *f, int64_t *n) {
  const float *y = nn_run(f);
  *n = f->n_out + f->table->total;
  for (int i = 0; i < f->n_inputs; i++)
    if (gd_plan_input_gradient(f->plan, i)) *n += f->n_in[i];
  float *all = GD_NEW_ARRAY(float, *n), *to = all;
  memcpy(to, y, (size_t)f->n_out * sizeof(float));
  to += f->n_out;
  for (int i = 0; i < f->n_inputs; i++) {
    const float *dx = gd_plan_input_gradient(f->plan, i);
    if (!dx) continue;
    memcpy(to, dx, (size_t)f->n_in[i] * sizeof(float));
    to += f->n_in[i];
  }
  memcpy(to, f->grads, (size_t)f->table->total * sizeof(float));
  return all;
}

// ---- Reference

// The inputs and parameters of a fixture in double precision, and the reference's output.
typedef struct nn_double {
  double *x[NN_MAX_INPUTS], *p[64], *y;
  float *r;
} nn_double;

static double *to_double(const float *values, int64_t n) {
  double *out = GD_NEW_ARRAY(double, n);
  for (int64_t i = 0; i < n; i++) out[i] = values[i];
  return out;
}

static nn_double double_create(const nn_fixture *f) {
  nn_double d = {.y = GD_NEW_ARRAY(double, f->n_out), .r = GD_NEW_ARRAY(float, f->n_out)};
  assert_true(f->table->n <= 64);
  for (int i = 0; i < f->n_inputs; i++) d.x[i] = to_double(gd_plan_input(f->plan, i), f->n_in[i]);
  for (int i = 0; i < f->table->n; i++)
    d.p[i] = to_double(f->params + f->table->params[i].offset, f->table->params[i].count);
  fill_output_gradient(f, d.r);
  return d;
}

static void double_destroy(nn_double *d) {
  for (int i = 0; i < NN_MAX_INPUTS; i++) gd_free(d->x[i]);
  for (int i = 0; i < 64; i++) gd_free(d->p[i]);
  gd_free(d->y);
  gd_free(d->r);
}

static double loss(const nn_fixture *f, nn_double *d) {
  double sum = 0;
  f->graph->reference(f->c, (const double *const *)d->x, (const double *const *)d->p, d->y);
  for (int64_t i = 0; i < f->n_out; i++) sum += d->r[i] * d->y[i];
  return sum;
}

static double central_difference(const nn_fixture *f, nn_double *d, double *value) {
  double kept = *value, h = 1e-5 * fmax(1, fabs(kept));
  *value = kept + h;
  double above = loss(f, d);
  *value = kept - h;
  double below = loss(f, d);
  *value = kept;
  return (above - below) / (2 * h);
}

// ---- Comparison

void nn_compare(const char *label, const char *what, const float *got, const double *expected, int64_t n,
                double tolerance) {
  double largest = 1e-2;  // rounding errors are not relative to values that are all nearly zero
  for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(expected[i]));
  for (int64_t i = 0; i < n; i++)
    if (!(fabs(got[i] - expected[i]) <= tolerance * largest))
      fail_msg("%s: %s, element %lld of %lld is %.8g, expected %.8g (largest %.3g)", label, what, (long long)i,
               (long long)n, got[i], expected[i], largest);
}

static double tolerance_of(const nn_case *c) {
  return c->tolerance > 0 ? c->tolerance : 1e-5;
}

// Gradient `got` by the array `values`, at up to n_samples evenly spaced elements.
static void check_gradient(const nn_fixture *f, nn_double *d, const char *what, double *values, const float *got,
                           int64_t n) {
  int64_t wanted = f->c->n_samples > 0 ? f->c->n_samples : 300;
  int64_t n_samples = n < wanted ? n : wanted;
  float *sampled = GD_NEW_ARRAY(float, n_samples);
  double *expected = GD_NEW_ARRAY(double, n_samples);
  for (int64_t k = 0; k < n_samples; k++) {
    int64_t i = k * n / n_samples;
    sampled[k] = got[i];
    expected[k] = central_difference(f, d, &values[i]);
  }
  nn_compare(f->c->label, what, sampled, expected, n_samples, tolerance_of(f->c));
  gd_free(sampled);
  gd_free(expected);
}

static void check_gradients(const nn_fixture *f, nn_double *d) {
  for (int i = 0; i < f->n_inputs; i++) {
    const float *dx = gd_plan_input_gradient(f->plan, i);
    char *what = gd_format("gradient by input %d", i);
    if (f->c->fixed_inputs >> i & 1)
      assert_null(dx);
    else
      check_gradient(f, d, what, d->x[i], dx, f->n_in[i]);
    gd_free(what);
  }
  for (int i = 0; i < f->table->n; i++) {
    const gd_param *p = &f->table->params[i];
    if (!p->is_statistic) check_gradient(f, d, p->name, d->p[i], f->grads + p->offset, p->count);
  }
}

static void check_inference(const nn_fixture *training, const float *expected) {
  nn_fixture f = nn_open(training->graph, training->c, GD_INFERENCE);
  const float *y = gd_plan_forward(f.plan);
  if (memcmp(y, expected, (size_t)f.n_out * sizeof(float)) != 0)
    fail_msg("%s: inference differs from training by %g", f.c->label, relative_error(y, expected, f.n_out));
  nn_close(&f);
}

void nn_check(const nn_graph *graph, const nn_case *c) {
  nn_fixture f = nn_open(graph, c, GD_TRAINING);
  nn_double d = double_create(&f);
  loss(&f, &d);
  const float *y = nn_run(&f);
  nn_compare(c->label, "output", y, d.y, f.n_out, tolerance_of(c));
  check_gradients(&f, &d);
  if (!graph->modes_differ) check_inference(&f, y);
  double_destroy(&d);
  nn_close(&f);
}

// ---- Precisions

double nn_distance(const float *a, const float *b, int64_t n) {
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < n; i++) {
    difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    norm += (double)b[i] * b[i];
  }
  return sqrt(difference / norm);
}

static void check_distance(const nn_case *c, const char *what, const float *got, const float *expected, int64_t n,
                           double tolerance) {
  double distance = nn_distance(got, expected, n);
  if (!(distance <= tolerance)) fail_msg("%s: %s in bfloat16 differs by %g", c->label, what, distance);
}

static void check_bfloat16(const nn_graph *graph, const nn_case *c) {
  nn_case other = *c;
  other.precision = GD_BFLOAT16;
  nn_fixture f = nn_open(graph, c, GD_TRAINING), b = nn_open(graph, &other, GD_TRAINING);
  double tolerance = c->tolerance > 0 ? c->tolerance : 1e-2;
  const float *expected = nn_run(&f), *got = nn_run(&b);
  check_distance(c, "output", got, expected, f.n_out, tolerance);
  if (memcmp(got, expected, (size_t)f.n_out * sizeof(float)) == 0)
    fail_msg("%s: both precisions give the same output", c->label);
  check_inference(&b, got);
  for (int i = 0; i < f.n_inputs; i++)
    if (gd_plan_input_gradient(f.plan, i))
      check_distance(c, "an input's gradient", gd_plan_input_gradient(b.plan, i), gd_plan_input_gradient(f.plan, i),
                     f.n_in[i], 2 * tolerance);
  for (int i = 0; i < f.table->n; i++) {
    const gd_param *p = &f.table->params[i];
    check_distance(c, p->name, b.grads + p->offset, f.grads + p->offset, p->count, 2 * tolerance);
  }
  nn_close(&f);
  nn_close(&b);
}

void nn_check_bfloat16(const nn_graph *graph, const nn_case *cases, size_t n) {
  for (size_t i = 0; i < n; i++) check_bfloat16(graph, &cases[i]);
}

void nn_check_all(const nn_graph *graph, const nn_case *cases, size_t n) {
  for (size_t i = 0; i < n; i++) nn_check(graph, &cases[i]);
}
