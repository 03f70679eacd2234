/* Group norm, with and without SiLU and shift, and batch norm against plain loops; the running statistics of batch
 * norm. */

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

// ---- Group norm of x + v

static gd_tensor build_shifted(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_group_norm_shifted(net, x[0], x[1], 0, "norm", c->groups, eps, c->activation);
}

static void reference_shifted(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_group_norm_shifted(x[0], c->batch, c->in[0], x[1], c->in[0].c, 0, p[0], p[1], c->groups, eps,
                         c->activation == GD_SILU, y);
}

// The vector's middle goes to one norm, its start to one with twice the channels, its end to a third on the same map.
static gd_tensor build_parts(gd_net *net, const gd_tensor *x, const nn_case *c) {
  int channels = c->in[0].c;
  gd_tensor a = gd_net_group_norm_shifted(net, x[0], x[2], 2 * channels, "a", c->groups, eps, GD_SILU);
  gd_tensor b = gd_net_group_norm_shifted(net, x[1], x[2], 0, "b", c->groups, eps, GD_LINEAR);
  gd_tensor d = gd_net_group_norm_shifted(net, x[0], x[2], 3 * channels, "d", c->groups, eps, GD_SILU);
  return gd_net_concat(net, gd_net_concat(net, a, b), d);
}

static void reference_parts(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  int channels = c->in[0].c, n_shifts = c->in[2].c;
  int64_t pixels = (int64_t)c->batch * c->in[0].h * c->in[0].w, n = pixels * channels;
  double *a = GD_NEW_ARRAY(double, n), *b = GD_NEW_ARRAY(double, 2 * n), *joined = GD_NEW_ARRAY(double, 3 * n);
  ref_group_norm_shifted(x[0], c->batch, c->in[0], x[2], n_shifts, 2 * channels, p[0], p[1], c->groups, eps, true, a);
  ref_group_norm_shifted(x[1], c->batch, c->in[1], x[2], n_shifts, 0, p[2], p[3], c->groups, eps, false, b);
  ref_concat(a, channels, b, 2 * channels, pixels, joined);
  ref_group_norm_shifted(x[0], c->batch, c->in[0], x[2], n_shifts, 3 * channels, p[4], p[5], c->groups, eps, true, a);
  ref_concat(joined, 3 * channels, a, channels, pixels, y);
  gd_free(a);
  gd_free(b);
  gd_free(joined);
}

static const nn_graph shifted = {build_shifted, reference_shifted, false};
static const nn_graph parts = {build_parts, reference_parts, false};

static void shifted_group_norm_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "shift, one group", .batch = 2, .in = {{3, 4, 5}, {1, 1, 5}}, .groups = 1},
      {.label = "shift, 3 groups", .batch = 3, .in = {{3, 3, 15}, {1, 1, 15}}, .groups = 3, .activation = GD_SILU},
      {.label = "shift without effect", .batch = 2, .in = {{3, 2, 4}, {1, 1, 4}}, .groups = 4, .tolerance = 1e-4},
      {.label = "shift, one pixel", .batch = 3, .in = {{1, 1, 12}, {1, 1, 12}}, .groups = 3, .activation = GD_SILU},
      {.label = "shift, one image", .batch = 1, .in = {{6, 6, 32}, {1, 1, 32}}, .groups = 8, .activation = GD_SILU},
      {.label = "shift, fixed", .batch = 2, .in = {{3, 4, 6}, {1, 1, 6}}, .groups = 2, .fixed_inputs = 2},
      {.label = "shift, large", .batch = 2, .in = {{4, 4, 8}, {1, 1, 8}}, .groups = 2, .scale = 6, .tolerance = 2e-5},
  };
  NN_CHECK_ALL(&shifted, cases);
}

static void parts_of_a_vector_match(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "parts", .batch = 2, .in = {{3, 4, 6}, {3, 4, 12}, {1, 1, 24}}, .groups = 2},
      {.label = "parts, odd channels", .batch = 3, .in = {{2, 3, 9}, {2, 3, 18}, {1, 1, 36}}, .groups = 3},
      {.label = "parts, fixed", .batch = 2, .in = {{2, 2, 4}, {2, 2, 8}, {1, 1, 16}}, .groups = 2, .fixed_inputs = 4},
  };
  NN_CHECK_ALL(&parts, cases);
}

// ---- Batch norm

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

// A step of the optimiser moves each running statistic a tenth of the way to the batch's, with the unbiased variance.
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
  gd_adam_step(&adam, f.table, 1, 0.25f, 1, f.grads, f.params, m, v);  // clipping does not change statistics
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
                                     cmocka_unit_test(shifted_group_norm_matches),
                                     cmocka_unit_test(parts_of_a_vector_match),
                                     cmocka_unit_test(batch_norm_in_training_matches),
                                     cmocka_unit_test(batch_norm_in_inference_uses_running_statistics),
                                     cmocka_unit_test(batch_statistics_reach_the_running_ones)};
  return GD_TEST_MAIN(tests);
}
