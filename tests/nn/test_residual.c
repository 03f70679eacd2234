/* Convolution and linear with a residual: whatever its source and its other uses, the sum is correct, and so are the
 * gradients that are passed on or added up. Kernel 0 means linear. All tensors have c_out channels. */
#include "nn_check.h"

static const float eps = 1e-5f;

static gd_tensor product(gd_net *net, gd_tensor x, const char *name, const nn_case *c) {
  if (c->kernel == 0) return gd_net_linear(net, x, name, c->c_out);
  return gd_net_conv(net, x, name, c->c_out, c->kernel, 1, c->pad, true);
}

static gd_tensor product_add(gd_net *net, gd_tensor x, gd_tensor residual, const char *name, const nn_case *c) {
  if (c->kernel == 0) return gd_net_linear_add(net, x, residual, name, c->c_out);
  return gd_net_conv_add(net, x, residual, name, c->c_out, c->kernel, c->pad);
}

static gd_tensor norm(gd_net *net, gd_tensor x, const char *name, const nn_case *c) {
  return gd_net_group_norm(net, x, name, c->groups, eps, GD_SILU);
}

/* ---- The same as plain loops ---- */

static int64_t elements(const nn_case *c) {
  return (int64_t)c->batch * c->in[0].h * c->in[0].w * c->c_out;
}

static double *tensor(const nn_case *c) {
  return GD_NEW_ARRAY(double, elements(c));
}

static void ref_product(const nn_case *c, const double *x, const double *const *p, double *y) {
  gd_shape s = c->in[0];
  if (c->kernel == 0)
    ref_linear(x, c->batch, s, p[0], p[1], c->c_out, y);
  else
    ref_conv(x, c->batch, s, p[0], p[1], c->c_out, c->kernel, 1, c->pad, y);
}

// y must not be x
static void ref_product_add(const nn_case *c, const double *x, const double *residual, const double *const *p,
                            double *y) {
  double *sum = tensor(c);
  ref_product(c, x, p, sum);
  ref_add(sum, residual, elements(c), y);
  gd_free(sum);
}

static void ref_norm(const nn_case *c, const double *x, const double *const *p, double *y) {
  ref_group_norm(x, c->batch, c->in[0], p[0], p[1], c->groups, eps, y);
  ref_silu(y, elements(c), y);
}

static void ref_join(const nn_case *c, const double *a, const double *b, double *y) {
  ref_concat(a, c->c_out, b, c->c_out, elements(c) / c->c_out, y);
}

/* ---- Where the residual comes from ---- */

// y = product(x0) + x1: both are inputs
static gd_tensor build_input(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return product_add(net, x[0], x[1], "product", c);
}

static void reference_input(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_product_add(c, x[0], x[1], p, y);
}

// y = product(a) + shortcut(x0), a = product(x0): the shortcut has no other use
static gd_tensor build_shortcut(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor a = product(net, x[0], "a", c);
  return product_add(net, a, product(net, x[0], "shortcut", c), "product", c);
}

static void reference_shortcut(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  double *a = tensor(c), *shortcut = tensor(c);
  ref_product(c, x[0], p, a);
  ref_product(c, x[0], p + 2, shortcut);
  ref_product_add(c, a, shortcut, p + 4, y);
  gd_free(a);
  gd_free(shortcut);
}

// y = norm(product(h) + h), h = product(x0) + x0: one tensor as both operands, first an input, then an inner one
static gd_tensor build_itself(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = product_add(net, x[0], x[0], "a", c);
  return norm(net, product_add(net, h, h, "b", c), "norm", c);
}

static void reference_itself(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  double *h = tensor(c), *r = tensor(c);
  ref_product_add(c, x[0], x[0], p, h);
  ref_product_add(c, h, h, p + 2, r);
  ref_norm(c, r, p + 4, y);
  gd_free(h);
  gd_free(r);
}

/* ---- Other uses of the residual ---- */

// y = [r, h], r = product(norm(h)) + h, h = product(x0): h is read again after the sum
static gd_tensor build_later(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = product(net, x[0], "a", c);
  gd_tensor r = product_add(net, norm(net, h, "norm", c), h, "b", c);
  return gd_net_concat(net, norm(net, r, "last", c), h);
}

static void reference_later(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  double *h = tensor(c), *inner = tensor(c), *r = tensor(c);
  ref_product(c, x[0], p, h);
  ref_norm(c, h, p + 2, inner);
  ref_product_add(c, inner, h, p + 4, r);
  ref_norm(c, r, p + 6, inner);
  ref_join(c, inner, h, y);
  gd_free(h);
  gd_free(inner);
  gd_free(r);
}

// Three blocks h <- product(norm(h)) + h: each residual's gradient is passed on and then added to.
static gd_tensor build_chain(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = product(net, x[0], "in", c);
  h = product_add(net, norm(net, h, "norm1", c), h, "block1", c);
  h = product_add(net, norm(net, h, "norm2", c), h, "block2", c);
  h = product_add(net, norm(net, h, "norm3", c), h, "block3", c);
  return norm(net, h, "last", c);
}

static void reference_chain(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  double *h = tensor(c), *inner = tensor(c);
  ref_product(c, x[0], p, h);
  for (int i = 0; i < 3; i++) {
    ref_norm(c, h, p + 2 + 4 * i, inner);
    ref_product_add(c, inner, h, p + 4 + 4 * i, h);
  }
  ref_norm(c, h, p + 14, y);
  gd_free(h);
  gd_free(inner);
}

// y = [product(a) + h, product(b) + h]: only the second sum may overwrite h
static gd_tensor build_two_sums(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = product(net, x[0], "h", c), a = product(net, x[0], "a", c), b = product(net, h, "b", c);
  gd_tensor first = product_add(net, a, h, "first", c), second = product_add(net, b, h, "second", c);
  return gd_net_concat(net, first, second);
}

static void reference_two_sums(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  double *h = tensor(c), *a = tensor(c), *b = tensor(c), *first = tensor(c), *second = tensor(c);
  ref_product(c, x[0], p, h);
  ref_product(c, x[0], p + 2, a);
  ref_product(c, h, p + 4, b);
  ref_product_add(c, a, h, p + 6, first);
  ref_product_add(c, b, h, p + 8, second);
  ref_join(c, first, second, y);
  gd_free(h);
  gd_free(a);
  gd_free(b);
  gd_free(first);
  gd_free(second);
}

// y = norm((product(h) + h) + (product(r) + g)): an addition passes one gradient to two sums, which pass it on
static gd_tensor build_sum_of_sums(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = product(net, x[0], "h", c), g = product(net, x[0], "g", c);
  gd_tensor r = product_add(net, h, h, "r", c);
  gd_tensor sum = gd_net_add(net, r, product_add(net, r, g, "s", c));
  return norm(net, sum, "norm", c);
}

static void reference_sum_of_sums(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  double *h = tensor(c), *g = tensor(c), *r = tensor(c), *s = tensor(c);
  ref_product(c, x[0], p, h);
  ref_product(c, x[0], p + 2, g);
  ref_product_add(c, h, h, p + 4, r);
  ref_product_add(c, r, g, p + 6, s);
  ref_add(r, s, elements(c), s);
  ref_norm(c, s, p + 8, y);
  gd_free(h);
  gd_free(g);
  gd_free(r);
  gd_free(s);
}

/* ---- Cases ---- */

static const nn_graph input = {build_input, reference_input, false};
static const nn_graph shortcut = {build_shortcut, reference_shortcut, false};
static const nn_graph itself = {build_itself, reference_itself, false};
static const nn_graph later = {build_later, reference_later, false};
static const nn_graph chain = {build_chain, reference_chain, false};
static const nn_graph two_sums = {build_two_sums, reference_two_sums, false};
static const nn_graph sum_of_sums = {build_sum_of_sums, reference_sum_of_sums, false};

static void residual_from_an_input_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "conv + input", .batch = 2, .in = {{4, 5, 3}, {4, 5, 6}}, .c_out = 6, .kernel = 3, .pad = 1},
      {.label = "conv + input, product's fixed",
       .batch = 2,
       .in = {{3, 3, 2}, {3, 3, 5}},
       .c_out = 5,
       .kernel = 3,
       .pad = 1,
       .fixed_inputs = 1},
      {.label = "1x1 conv + input, residual fixed",
       .batch = 3,
       .in = {{3, 4, 16}, {3, 4, 16}},
       .c_out = 16,
       .kernel = 1,
       .fixed_inputs = 2},
      {.label = "linear + input", .batch = 2, .in = {{3, 2, 4}, {3, 2, 7}}, .c_out = 7},
      {.label = "linear + input, vectors", .batch = 5, .in = {{1, 1, 9}, {1, 1, 16}}, .c_out = 16},
      {.label = "linear + input, residual fixed",
       .batch = 2,
       .in = {{2, 2, 4}, {2, 2, 3}},
       .c_out = 3,
       .fixed_inputs = 2},
  };
  NN_CHECK_ALL(&input, cases);
}

static void residual_from_a_shortcut_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "conv + shortcut", .batch = 2, .in = {{4, 3, 5}}, .c_out = 5, .kernel = 3, .pad = 1},
      {.label = "conv + shortcut, fixed input",
       .batch = 3,
       .in = {{3, 3, 16}},
       .c_out = 16,
       .kernel = 1,
       .fixed_inputs = 1},
      {.label = "linear + shortcut", .batch = 3, .in = {{2, 3, 6}}, .c_out = 6},
  };
  NN_CHECK_ALL(&shortcut, cases);
}

static const nn_case inner_cases[] = {
    {.label = "conv, 6 channels",
     .batch = 2,
     .in = {{3, 4, 6}},
     .c_out = 6,
     .kernel = 3,
     .pad = 1,
     .groups = 2,
     .n_samples = 40,
     .tolerance = 2e-5},
    {.label = "1x1 conv, 16 channels",
     .batch = 2,
     .in = {{3, 3, 16}},
     .c_out = 16,
     .kernel = 1,
     .groups = 4,
     .n_samples = 40,
     .tolerance = 2e-5},
    {.label = "linear, 5 channels", .batch = 3, .in = {{3, 3, 5}}, .c_out = 5, .groups = 1, .tolerance = 2e-5},
    {.label = "linear, fixed input",
     .batch = 2,
     .in = {{2, 3, 8}},
     .c_out = 8,
     .groups = 2,
     .fixed_inputs = 1,
     .tolerance = 2e-5},
};

static void residual_that_is_the_input_itself_matches(void **state) {
  (void)state;
  NN_CHECK_ALL(&itself, inner_cases);
}

static void residual_used_again_matches(void **state) {
  (void)state;
  NN_CHECK_ALL(&later, inner_cases);
  NN_CHECK_ALL(&two_sums, inner_cases);
}

static void chain_of_blocks_matches(void **state) {
  (void)state;
  NN_CHECK_ALL(&chain, inner_cases);
}

static void gradient_passed_to_two_sums_matches(void **state) {
  (void)state;
  NN_CHECK_ALL(&sum_of_sums, inner_cases);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(residual_from_an_input_matches),
                                     cmocka_unit_test(residual_from_a_shortcut_matches),
                                     cmocka_unit_test(residual_that_is_the_input_itself_matches),
                                     cmocka_unit_test(residual_used_again_matches),
                                     cmocka_unit_test(chain_of_blocks_matches),
                                     cmocka_unit_test(gradient_passed_to_two_sums_matches)};
  return GD_TEST_MAIN(tests);
}
