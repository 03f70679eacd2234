/* Adam with clipping, running statistics, gradient norm and moving average against double precision; thread counts. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "support.h"

enum { N_STEPS = 5, N_SLOTS = 4 };

enum { WEIGHT_DECAY = 7 };

static const gd_adam adam = {.learning_rate = 2e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
static const gd_adam adam_w = {
    .learning_rate = 2e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .weight_decay = WEIGHT_DECAY};

// Parameters of odd sizes, one of them larger than any block of work, with running statistics in between.
static gd_net *make_net(void) {
  gd_net *net;
  gd_net_create(&net);
  gd_tensor x = gd_net_input(net, (gd_shape){1, 1, 151});
  x = gd_net_linear(net, x, "wide", 173);
  x = gd_net_batch_norm(net, x, "bn", 1e-5f);
  x = gd_net_linear(net, x, "narrow", 3);
  gd_net_output(net, x);
  return net;
}

// The norm of the gradient changes from step to step, so that only some steps clip.
static void fill_gradients(const gd_param_table *table, int step, float *grads) {
  gd_random key = {.seed = 5, .purpose = GD_RANDOM_NOISE, .step = (uint32_t)step};
  float size = step % 2 ? 0.1f : 1e-4f;
  gd_random_normal(key, 0, (size_t)table->total, grads);
  for (int64_t i = 0; i < table->total; i++) grads[i] *= size;
}

static bool *statistic_mask(const gd_param_table *table) {
  bool *mask = GD_NEW_ARRAY(bool, table->total);
  for (int i = 0; i < table->n; i++)
    for (int64_t j = 0; j < table->params[i].count; j++)
      mask[table->params[i].offset + j] = table->params[i].is_statistic;
  return mask;
}

static double plain_norm(const bool *is_statistic, int64_t n, const float *grads) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    if (!is_statistic[i]) sum += (double)grads[i] * grads[i];
  return sqrt(sum);
}

// ---- The reference: Kingma and Ba 2015, algorithm 1, and Loshchilov and Hutter 2019, algorithm 2, on one element

typedef struct gd_element {
  double value, m, v;
} gd_element;

static void plain_adam(gd_element *e, int step, double gradient, double weight_decay) {
  e->m = 0.9 * e->m + 0.1 * gradient;
  e->v = 0.999 * e->v + 0.001 * gradient * gradient;
  double m_hat = e->m / (1 - pow(0.9, step)), v_hat = e->v / (1 - pow(0.999, step));
  e->value -= 2e-3 * (m_hat / (sqrt(v_hat) + 1e-8) + weight_decay * e->value);
}

static void assert_close(const char *what, int step, int64_t i, double got, double expected, double tolerance) {
  if (!(fabs(got - expected) <= tolerance))
    fail_msg("step %d: %s of element %lld is %.9g, expected %.9g", step, what, (long long)i, got, expected);
}

static void check_step(int step, const bool *is_statistic, int64_t n, const gd_element *expected, const float *params,
                       const float *m, const float *v) {
  for (int64_t i = 0; i < n; i++) {
    const gd_element *e = &expected[i];
    assert_close("value", step, i, params[i], e->value, 1e-6);
    assert_close("first moment", step, i, m[i], e->m, 1e-5 * fabs(e->m) + 1e-8);
    assert_close("second moment", step, i, v[i], e->v, 1e-4 * e->v);
    if (is_statistic[i]) assert_true(m[i] == 0 && v[i] == 0);
  }
}

static void check_adam(const gd_adam *method) {
  gd_net *net = make_net();
  const gd_param_table *table = gd_net_params(net);
  int64_t n = table->total;
  float *params = GD_NEW_ARRAY(float, n), *m = GD_NEW_ARRAY(float, n), *v = GD_NEW_ARRAY(float, n);
  float *grads = GD_NEW_ARRAY(float, n);
  bool *is_statistic = statistic_mask(table);
  gd_element *expected = GD_NEW_ARRAY(gd_element, n);
  int n_clipped = 0;
  gd_param_table_initialise(table, 3, params);
  for (int64_t i = 0; i < n; i++) expected[i].value = params[i];
  for (int step = 1; step <= N_STEPS; step++) {
    fill_gradients(table, step, grads);
    double scale = fmin(1, 1 / (plain_norm(is_statistic, n, grads) + 1e-6));
    n_clipped += scale < 1;
    float own_scale = (float)fmin(1, 1 / (gd_gradient_norm(table, grads) + 1e-6));
    gd_adam_step(method, table, step, own_scale, N_SLOTS, grads, params, m, v);
    for (int64_t i = 0; i < n; i++) {
      if (is_statistic[i])
        expected[i].value = 0.9 * expected[i].value + 0.1 * grads[i] / N_SLOTS;
      else
        plain_adam(&expected[i], step, grads[i] * scale, method->weight_decay);
    }
    check_step(step, is_statistic, n, expected, params, m, v);
  }
  assert_int_equal(n_clipped, 3);
  gd_free(params);
  gd_free(m);
  gd_free(v);
  gd_free(grads);
  gd_free(is_statistic);
  gd_free(expected);
  gd_net_destroy(&net);
}

static void adam_with_clipping_matches(void **state) {
  (void)state;
  check_adam(&adam);
}

static void weight_decay_matches(void **state) {
  (void)state;
  check_adam(&adam_w);
}

static void assert_rate(gd_rate_schedule schedule, double warmup, int64_t step, int64_t n_steps, double expected) {
  double is = gd_rate_factor(schedule, warmup, step, n_steps);
  if (!(fabs(is - expected) < 1e-12))
    fail_msg("schedule %d, warm-up %g, step %d of %d: %g, not %g", (int)schedule, warmup, (int)step, (int)n_steps, is,
             expected);
}

static void learning_rates_match(void **state) {
  (void)state;
  static const gd_rate_schedule all[] = {GD_RATE_CONSTANT, GD_RATE_COSINE, GD_RATE_LINEAR};
  for (int i = 0; i < 3; i++) {
    assert_rate(all[i], 0, 1, 1, 1);
    assert_rate(all[i], 0, 1, 8, 1);
    assert_rate(all[i], 0.5, 1, 8, 0.2);  // four steps of warm-up
    assert_rate(all[i], 0.5, 4, 8, 0.8);
    assert_rate(all[i], 0.5, 5, 8, 1);
    assert_rate(all[i], 1, 7, 8, 7.0 / 9);
  }
  assert_true(gd_rate_factor(GD_RATE_CONSTANT, 0, 8, 8) == 1);  // exactly: the run's numbers depend on it
  assert_rate(GD_RATE_LINEAR, 0, 8, 8, 0.125);
  assert_rate(GD_RATE_LINEAR, 0.5, 7, 8, 0.5);
  assert_rate(GD_RATE_COSINE, 0, 5, 8, 0.5);
  assert_rate(GD_RATE_COSINE, 0, 3, 8, 0.5 + sqrt(0.125));
  assert_rate(GD_RATE_COSINE, 0.5, 7, 8, 0.5);
}

static void gradient_norm_matches_and_leaves_statistics_out(void **state) {
  (void)state;
  gd_net *net = make_net();
  const gd_param_table *table = gd_net_params(net);
  float *grads = GD_NEW_ARRAY(float, table->total);
  bool *is_statistic = statistic_mask(table);
  for (int step = 1; step <= 4; step++) {
    fill_gradients(table, step, grads);
    double expected = plain_norm(is_statistic, table->total, grads);
    assert_float_equal(gd_gradient_norm(table, grads), expected, 1e-6 * expected);
    for (int64_t i = 0; i < table->total; i++)
      if (is_statistic[i]) grads[i] = 1e20f;
    assert_float_equal(gd_gradient_norm(table, grads), expected, 1e-6 * expected);
  }
  memset(grads, 0, (size_t)table->total * sizeof(float));
  assert_true(gd_gradient_norm(table, grads) == 0);
  grads[table->total - 1] = -3;  // the last element counts too
  assert_true(gd_gradient_norm(table, grads) == 3);
  grads[17] = NAN;
  assert_true(isnan(gd_gradient_norm(table, grads)));  // a NaN must not be hidden
  gd_free(grads);
  gd_free(is_statistic);
  gd_net_destroy(&net);
}

static void moving_average_matches(void **state) {
  (void)state;
  gd_net *net = make_net();
  const gd_param_table *table = gd_net_params(net);
  int64_t n = table->total;
  float *params = GD_NEW_ARRAY(float, n), *ema = GD_NEW_ARRAY(float, n);
  double *expected = GD_NEW_ARRAY(double, n);
  gd_param_table_initialise(table, 1, ema);
  for (int64_t i = 0; i < n; i++) expected[i] = ema[i];
  for (int step = 1; step <= N_STEPS; step++) {
    fill_gradients(table, step, params);
    gd_ema_update(table, 0.75f, params, ema);
    for (int64_t i = 0; i < n; i++) {
      expected[i] = 0.75 * expected[i] + 0.25 * params[i];
      assert_close("average", step, i, ema[i], expected[i], 1e-6);
    }
  }
  gd_free(params);
  gd_free(ema);
  gd_free(expected);
  gd_net_destroy(&net);
}

// One digest of all arrays that the optimiser computes from one gradient.
static uint64_t digest_with_threads(const gd_param_table *table, int n_threads) {
  int64_t n = table->total;
  float *all = GD_NEW_ARRAY(float, 5 * n), *grads = all + 3 * n, *ema = all + 4 * n;
  omp_set_num_threads(n_threads);
  gd_param_table_initialise(table, 9, all);
  for (int step = 1; step <= 2; step++) {
    fill_gradients(table, step, grads);
    gd_adam_step(&adam, table, step, 0.5f, 1, grads, all, all + n, all + 2 * n);
    gd_ema_update(table, 0.9f, all, ema);
  }
  double norm = gd_gradient_norm(table, all);
  uint64_t digest = gd_digest(all, 5 * (size_t)n * sizeof(float), gd_digest(&norm, sizeof norm, 0));
  gd_free(all);
  return digest;
}

static void results_do_not_depend_on_threads(void **state) {
  (void)state;
  int n_threads = omp_get_max_threads();
  gd_net *net = make_net();
  uint64_t one = digest_with_threads(gd_net_params(net), 1);
  assert_true(digest_with_threads(gd_net_params(net), 2) == one);
  assert_true(digest_with_threads(gd_net_params(net), 3) == one);
  omp_set_num_threads(n_threads);
  gd_net_destroy(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(adam_with_clipping_matches), cmocka_unit_test(weight_decay_matches),
      cmocka_unit_test(learning_rates_match),       cmocka_unit_test(gradient_norm_matches_and_leaves_statistics_out),
      cmocka_unit_test(moving_average_matches),     cmocka_unit_test(results_do_not_depend_on_threads)};
  return GD_TEST_MAIN(tests);
}
