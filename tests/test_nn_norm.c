/* Group norm, with and without SiLU, and batch norm against plain loops; batch norm's way to its running statistics. */

#include "nn_check.h"

static const float eps = 1e-5f;

static gd_tensor build_group_norm(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_group_norm(net, x[0], "norm", c->groups, eps, c->activation);
}

static void reference_group_norm(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_group_norm(x[0], c->batch, c->in[0], p[0], p[1], c->groups, eps, y);
  if (c->activation == GD_SILU) ref_silu(y, (int64_t)c->batch * c->in[0].h * c->in[0].w * c->in[0].c, y);
}

static const nn_graph group_norm = {build_group_norm, reference_group_norm, false};

static void group_norm_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "one group", .batch = 2, .in = {{3, 4, 5}}, .groups = 1},
      {.label = "a group a channel", .batch = 2, .in = {{3, 3, 5}}, .groups = 5},
      {.label = "3 groups of 1 pixel", .batch = 3, .in = {{1, 1, 12}}, .groups = 3},
      {.label = "8 groups", .batch = 3, .in = {{4, 4, 32}}, .groups = 8},
      {.label = "one channel", .batch = 2, .in = {{4, 4, 1}}, .groups = 1},
      {.label = "large mean", .batch = 2, .in = {{4, 4, 8}}, .groups = 2, .offset = 5, .tolerance = 1e-4},
      {.label = "tiny variance", .batch = 2, .in = {{4, 4, 8}}, .groups = 2, .scale = 3e-3f, .tolerance = 1e-4},
  };
  NN_CHECK_ALL(&group_norm, cases);
}

static void group_norm_with_silu_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "silu, one group", .batch = 2, .in = {{3, 4, 5}}, .groups = 1, .activation = GD_SILU},
      {.label = "silu, a group a channel", .batch = 2, .in = {{3, 3, 3}}, .groups = 3, .activation = GD_SILU},
      {.label = "silu, 8 groups", .batch = 3, .in = {{4, 5, 32}}, .groups = 8, .activation = GD_SILU},
      {.label = "silu, one image", .batch = 1, .in = {{8, 8, 16}}, .groups = 4, .activation = GD_SILU},
  };
  NN_CHECK_ALL(&group_norm, cases);
}

static gd_tensor build_batch_norm(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_batch_norm(net, x[0], "norm", eps);
}

static void reference_batch_norm(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  double mean[64], variance[64];
  assert_true(c->in[0].c <= 64);
  ref_channel_statistics(x[0], c->batch, c->in[0], mean, variance);
  ref_channel_norm(x[0], c->batch, c->in[0], p[0], p[1], mean, variance, eps, y);
}

static const nn_graph batch_norm = {build_batch_norm, reference_batch_norm, true};

static const nn_case batch_norm_cases[] = {
    {.label = "batch norm, odd channels", .batch = 3, .in = {{3, 2, 5}}},
    {.label = "batch norm, one channel", .batch = 2, .in = {{4, 4, 1}}},
    {.label = "batch norm, 32 channels", .batch = 4, .in = {{4, 4, 32}}},
    {.label = "batch norm, vectors", .batch = 8, .in = {{1, 1, 3}}},
    {.label = "batch norm, one image", .batch = 1, .in = {{4, 4, 3}}},
    {.label = "batch norm, offset", .batch = 3, .in = {{3, 3, 16}}, .offset = 3, .tolerance = 1e-4},
    {.label = "batch norm, over a block of rows", .batch = 3, .in = {{8, 7, 5}}, .n_samples = 80},
    {.label = "batch norm, fixed input", .batch = 3, .in = {{3, 3, 4}}, .fixed_inputs = 1},
};
enum { N_BATCH_NORM_CASES = sizeof batch_norm_cases / sizeof batch_norm_cases[0] };

static void batch_norm_in_training_matches(void **state) {
  (void)state;
  NN_CHECK_ALL(&batch_norm, batch_norm_cases);
}

static double *to_double(const float *values, int64_t n) {
  double *out = GD_NEW_ARRAY(double, n);
  for (int64_t i = 0; i < n; i++) out[i] = values[i];
  return out;
}

static void check_inference(const nn_case *c) {
  nn_fixture f = nn_open(&batch_norm, c, GD_INFERENCE);
  int64_t n = f.table->params[0].count;
  double *x = to_double(gd_plan_input(f.plan, 0), f.n_in[0]), *p = to_double(f.params, 4 * n);
  double *expected = GD_NEW_ARRAY(double, f.n_out);
  ref_channel_norm(x, c->batch, c->in[0], p, p + n, p + 2 * n, p + 3 * n, eps, expected);
  nn_compare(c->label, "inference", gd_plan_forward(f.plan), expected, f.n_out, 1e-5);
  gd_free(x);
  gd_free(p);
  gd_free(expected);
  nn_close(&f);
}

static void batch_norm_in_inference_uses_running_statistics(void **state) {
  (void)state;
  for (int i = 0; i < N_BATCH_NORM_CASES; i++) check_inference(&batch_norm_cases[i]);
}

// A step of the optimiser moves each running statistic by a tenth towards the batch's, with the unbiased variance.
static void check_statistics_step(const nn_case *c) {
  nn_fixture f = nn_open(&batch_norm, c, GD_TRAINING);
  int channels = c->in[0].c, rows = c->batch * c->in[0].h * c->in[0].w;
  double *x = to_double(gd_plan_input(f.plan, 0), f.n_in[0]), *expected = GD_NEW_ARRAY(double, 2 * channels);
  const float *old = f.params + 2 * channels;
  float *m = GD_NEW_ARRAY(float, f.table->total), *v = GD_NEW_ARRAY(float, f.table->total);
  ref_channel_statistics(x, c->batch, c->in[0], expected, expected + channels);
  for (int i = 0; i < channels; i++) expected[channels + i] *= (double)rows / (rows - 1);
  nn_run(&f);
  nn_compare(c->label, "batch statistics", f.grads + 2 * channels, expected, 2 * channels, 1e-5);
  for (int i = 0; i < 2 * channels; i++) expected[i] = 0.9 * old[i] + 0.1 * expected[i];
  gd_adam adam = {.learning_rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
  gd_adam_step(&adam, f.table, 1, 0.25f, 1, f.grads, f.params, m, v);  // clipping leaves statistics alone
  nn_compare(c->label, "running statistics", f.params + 2 * channels, expected, 2 * channels, 1e-5);
  gd_free(x);
  gd_free(expected);
  gd_free(m);
  gd_free(v);
  nn_close(&f);
}

static void batch_statistics_reach_the_running_ones(void **state) {
  (void)state;
  for (int i = 0; i < N_BATCH_NORM_CASES; i++) check_statistics_step(&batch_norm_cases[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(group_norm_matches),
                                     cmocka_unit_test(group_norm_with_silu_matches),
                                     cmocka_unit_test(batch_norm_in_training_matches),
                                     cmocka_unit_test(batch_norm_in_inference_uses_running_statistics),
                                     cmocka_unit_test(batch_statistics_reach_the_running_ones)};
  return GD_TEST_MAIN(tests);
}
