/* Tensors used by several ops: their gradients add up, wherever in the graph the uses are. */
#include "nn_check.h"

static const float eps = 1e-5f;

static int64_t elements(const nn_case *c, int channels) {
  return (int64_t)c->batch * c->in[0].h * c->in[0].w * channels;
}

// y = a + a, of an input and of an inner tensor
static gd_tensor build_twice(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor inner = gd_net_linear(net, gd_net_add(net, x[0], x[0]), "linear", c->c_out);
  return gd_net_add(net, inner, inner);
}

static void reference_twice(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  double *sum = GD_NEW_ARRAY(double, elements(c, c->in[0].c)), *inner = GD_NEW_ARRAY(double, elements(c, c->c_out));
  ref_add(x[0], x[0], elements(c, c->in[0].c), sum);
  ref_linear(sum, c->batch, c->in[0], p[0], p[1], c->c_out, inner);
  ref_add(inner, inner, elements(c, c->c_out), y);
  gd_free(sum);
  gd_free(inner);
}

// y = concat(a, a)
static gd_tensor build_concat_twice(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_concat(net, x[0], x[0]);
}

static void reference_concat_twice(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_concat(x[0], c->in[0].c, x[0], c->in[0].c, elements(c, 1), y);
}

// A residual whose input is also kept as a skip: h = linear(x); r = h + linear(silu(norm(h))); y = linear([r, h]) + x
static gd_tensor build_residual(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = gd_net_linear(net, x[0], "in", c->c_out);
  gd_tensor inner = gd_net_group_norm(net, h, "norm", c->groups, eps, GD_SILU);
  gd_tensor r = gd_net_add(net, h, gd_net_linear(net, inner, "inner", c->c_out));
  return gd_net_add(net, gd_net_linear(net, gd_net_concat(net, r, h), "out", c->in[0].c), x[0]);
}

static void reference_residual(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  gd_shape s = c->in[0], wide = {s.h, s.w, c->c_out}, both = {s.h, s.w, 2 * c->c_out};
  int64_t n = elements(c, c->c_out);
  double *h = GD_NEW_ARRAY(double, n), *inner = GD_NEW_ARRAY(double, n), *r = GD_NEW_ARRAY(double, n);
  double *joined = GD_NEW_ARRAY(double, 2 * n);
  ref_linear(x[0], c->batch, s, p[0], p[1], c->c_out, h);
  ref_group_norm(h, c->batch, wide, p[2], p[3], c->groups, eps, inner);
  ref_silu(inner, n, inner);
  ref_linear(inner, c->batch, wide, p[4], p[5], c->c_out, r);
  ref_add(r, h, n, r);
  ref_concat(r, c->c_out, h, c->c_out, elements(c, 1), joined);
  ref_linear(joined, c->batch, both, p[6], p[7], s.c, y);
  ref_add(y, x[0], elements(c, s.c), y);
  gd_free(h);
  gd_free(inner);
  gd_free(r);
  gd_free(joined);
}

// Down- and upsampling with a skip, max pool, and a vector of which each of two levels uses a part.
static gd_tensor build_two_levels(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor v = gd_net_activation(net, gd_net_linear(net, x[1], "time", c->c_out), GD_SILU);
  v = gd_net_linear_group(net, v, 2, (const char *[]){"low_shift", "high_shift"}, (int[]){c->c_out, c->c_out});
  gd_tensor skip = gd_net_conv(net, x[0], "in", c->c_out, 3, 1, 1, true);
  skip = gd_net_group_norm_shifted(net, skip, v, c->c_out, "high", c->groups, eps, GD_SILU);
  gd_tensor low = gd_net_max_pool(net, skip, 2, 2, 0);
  low = gd_net_group_norm_shifted(net, low, v, 0, "low", c->groups, eps, GD_LINEAR);
  gd_tensor up = gd_net_upsample(net, gd_net_activation(net, low, GD_RELU));
  return gd_net_conv(net, gd_net_concat(net, up, skip), "out", 1, 3, 1, 1, false);
}

static void reference_two_levels(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  gd_shape s = c->in[0], full = {s.h, s.w, c->c_out}, half = {s.h / 2, s.w / 2, c->c_out};
  gd_shape both = {s.h, s.w, 2 * c->c_out}, vector = {1, 1, c->c_out};
  int64_t n = elements(c, c->c_out), n_v = (int64_t)c->batch * c->c_out;
  double *v = GD_NEW_ARRAY(double, n_v), *shift = GD_NEW_ARRAY(double, n_v), *h = GD_NEW_ARRAY(double, n);
  double *skip = GD_NEW_ARRAY(double, n), *low = GD_NEW_ARRAY(double, n / 4), *joined = GD_NEW_ARRAY(double, 2 * n);
  ref_linear(x[1], c->batch, c->in[1], p[0], p[1], c->c_out, v);
  ref_silu(v, n_v, v);
  ref_conv(x[0], c->batch, s, p[6], p[7], c->c_out, 3, 1, 1, h);
  ref_linear(v, c->batch, vector, p[3], p[5], c->c_out, shift);
  ref_group_norm_shifted(h, c->batch, full, shift, c->c_out, 0, p[8], p[9], c->groups, eps, true, skip);
  ref_pool(skip, c->batch, full, 2, 2, 0, REF_MAX, h);
  ref_linear(v, c->batch, vector, p[2], p[4], c->c_out, shift);
  ref_group_norm_shifted(h, c->batch, half, shift, c->c_out, 0, p[10], p[11], c->groups, eps, false, low);
  ref_relu(low, n / 4, low);
  ref_upsample(low, c->batch, half, h);
  ref_concat(h, c->c_out, skip, c->c_out, elements(c, 1), joined);
  ref_conv(joined, c->batch, both, p[12], NULL, 1, 3, 1, 1, y);
  gd_free(v);
  gd_free(shift);
  gd_free(h);
  gd_free(skip);
  gd_free(low);
  gd_free(joined);
}

static const nn_graph twice = {build_twice, reference_twice, false};
static const nn_graph concat_twice = {build_concat_twice, reference_concat_twice, false};
static const nn_graph residual = {build_residual, reference_residual, false};
static const nn_graph two_levels = {build_two_levels, reference_two_levels, false};

static void tensor_added_to_itself_has_twice_the_gradient(void **state) {
  (void)state;
  static const nn_case cases[] = {{.label = "a + a", .batch = 2, .in = {{2, 3, 5}}, .c_out = 4}};
  NN_CHECK_ALL(&twice, cases);
  NN_CHECK_ALL(&concat_twice, cases);
}

static void residual_with_skip_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "residual", .batch = 2, .in = {{3, 3, 5}}, .c_out = 6, .groups = 2},
      {.label = "residual, fixed input", .batch = 3, .in = {{2, 2, 3}}, .c_out = 16, .groups = 4, .fixed_inputs = 1},
  };
  NN_CHECK_ALL(&residual, cases);
}

static void two_levels_match(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "two levels", .batch = 2, .in = {{4, 6, 2}, {1, 1, 3}}, .c_out = 6, .groups = 2, .n_samples = 150},
      {.label = "two levels, fixed time",
       .batch = 2,
       .in = {{4, 4, 1}, {1, 1, 4}},
       .c_out = 8,
       .groups = 4,
       .n_samples = 150,
       .fixed_inputs = 2},
  };
  NN_CHECK_ALL(&two_levels, cases);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(tensor_added_to_itself_has_twice_the_gradient),
                                     cmocka_unit_test(residual_with_skip_matches), cmocka_unit_test(two_levels_match)};
  return GD_TEST_MAIN(tests);
}
