/* Attention against plain loops: several head sizes, non-square maps, one pixel, sharp softmax. */
#include "nn_check.h"

static gd_tensor build_attention(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_attention(net, x[0], x[1], x[2], c->head_dim);
}

static void reference_attention(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_attention(x[0], x[1], x[2], c->batch, c->in[0], c->head_dim, y);
}

static const nn_graph attention = {build_attention, reference_attention, false};

// One tensor as query, key and value: its gradient is a sum of three.
static gd_tensor build_self(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_attention(net, x[0], x[0], x[0], c->head_dim);
}

static void reference_self(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_attention(x[0], x[0], x[0], c->batch, c->in[0], c->head_dim, y);
}

static const nn_graph self_attention = {build_self, reference_self, false};

#define QKV(h_, w_, c_, head_dim_, ...)                                                  \
  {                                                                                      \
    .label = "attention " #h_ "x" #w_ "x" #c_ ", head dim " #head_dim_,                  \
    .in = {{h_, w_, c_}, {h_, w_, c_}, {h_, w_, c_}}, .head_dim = head_dim_, __VA_ARGS__ \
  }

static void heads_match(void **state) {
  (void)state;
  static const nn_case cases[] = {
      QKV(3, 3, 8, 8, .batch = 2),
      QKV(2, 3, 6, 3, .batch = 2),
      QKV(3, 2, 5, 1, .batch = 2),
      QKV(4, 4, 16, 8, .batch = 2, .n_samples = 100),
      QKV(5, 3, 12, 4, .batch = 3, .n_samples = 100),
      QKV(4, 4, 32, 32, .batch = 1, .n_samples = 60),
      QKV(8, 8, 8, 8, .batch = 1, .n_samples = 40),
  };
  NN_CHECK_ALL(&attention, cases);
}

static void corner_cases_match(void **state) {
  (void)state;
  static const nn_case cases[] = {
      QKV(1, 1, 8, 4, .batch = 3),  // softmax over one pixel: no gradient by query and key
      QKV(3, 3, 8, 8, .batch = 2, .scale = 4, .tolerance = 1e-4),
      QKV(2, 2, 4, 2, .batch = 1, .offset = 2),
  };
  NN_CHECK_ALL(&attention, cases);
}

static void one_tensor_in_three_roles_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {{.label = "self-attention", .batch = 2, .in = {{3, 3, 8}}, .head_dim = 4}};
  NN_CHECK_ALL(&self_attention, cases);
}

// Products of several hundred, far outside the range of a float exponential.
static void huge_products_stay_finite(void **state) {
  (void)state;
  static const nn_case c = QKV(4, 4, 8, 8, .batch = 2, .scale = 30);
  nn_fixture f = nn_open(&attention, &c, GD_TRAINING);
  int64_t n;
  float *all = nn_results(&f, &n);
  for (int64_t i = 0; i < n; i++)
    if (!(all[i] > -1e6f && all[i] < 1e6f)) fail_msg("element %d is %g", (int)i, all[i]);
  gd_free(all);
  nn_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(heads_match), cmocka_unit_test(corner_cases_match),
                                     cmocka_unit_test(one_tensor_in_three_roles_matches),
                                     cmocka_unit_test(huge_products_stay_finite)};
  return GD_TEST_MAIN(tests);
}
