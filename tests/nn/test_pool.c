/* Windowed and global pooling against plain loops: overlap, padding (counted or not), windows cut off at the border. */
#include "nn_check.h"

static gd_tensor build_max(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_max_pool(net, x[0], c->kernel, c->stride, c->pad);
}

static void reference_max(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_pool(x[0], c->batch, c->in[0], c->kernel, c->stride, c->pad, REF_MAX, y);
}

static gd_tensor build_avg(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_avg_pool(net, x[0], c->kernel, c->stride, c->pad, c->count_padding);
}

static void reference_avg(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_pool(x[0], c->batch, c->in[0], c->kernel, c->stride, c->pad,
           c->count_padding ? REF_AVERAGE_PADDED : REF_AVERAGE_INSIDE, y);
}

static gd_tensor build_global_avg(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_global_avg_pool(net, x[0]);
}

static void reference_global_avg(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_pool(x[0], c->batch, c->in[0], c->in[0].h, 1, 0, REF_AVERAGE_INSIDE, y);
}

static gd_tensor build_global_max(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_global_max_pool(net, x[0]);
}

static void reference_global_max(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_pool(x[0], c->batch, c->in[0], c->in[0].h, 1, 0, REF_MAX, y);
}

static const nn_graph max_pool = {build_max, reference_max, false};
static const nn_graph avg_pool = {build_avg, reference_avg, false};
static const nn_graph global_avg = {build_global_avg, reference_global_avg, false};
static const nn_graph global_max = {build_global_max, reference_global_max, false};

static void max_pool_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "max 2, stride 2", .batch = 2, .in = {{4, 6, 3}}, .kernel = 2, .stride = 2},
      {.label = "max 2, stride 2, cut off", .batch = 2, .in = {{5, 7, 5}}, .kernel = 2, .stride = 2},
      {.label = "max 3, stride 2, pad 1", .batch = 2, .in = {{8, 8, 4}}, .kernel = 3, .stride = 2, .pad = 1},
      {.label = "max 3, overlapping", .batch = 1, .in = {{6, 5, 1}}, .kernel = 3, .stride = 1, .pad = 1},
      {.label = "max 2, 32 channels", .batch = 3, .in = {{4, 4, 32}}, .kernel = 2, .stride = 2},
      // padding counts as minus infinity, not as 0
      {.label = "max 3, negative", .batch = 2, .in = {{4, 4, 2}}, .kernel = 3, .stride = 2, .pad = 1, .offset = -9},
  };
  NN_CHECK_ALL(&max_pool, cases);
}

static void avg_pool_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "average 3, pad 1", .batch = 2, .in = {{5, 4, 3}}, .kernel = 3, .stride = 1, .pad = 1},
      {.label = "average 3, counted",
       .batch = 2,
       .in = {{5, 4, 3}},
       .kernel = 3,
       .stride = 1,
       .pad = 1,
       .count_padding = true},
      {.label = "average 3, stride 2", .batch = 1, .in = {{8, 7, 16}}, .kernel = 3, .stride = 2, .pad = 1, .offset = 4},
      {.label = "average 3, stride 2, counted",
       .batch = 1,
       .in = {{8, 7, 16}},
       .kernel = 3,
       .stride = 2,
       .pad = 1,
       .offset = 4,
       .count_padding = true},
      {.label = "average 2, no padding", .batch = 3, .in = {{5, 6, 9}}, .kernel = 2, .stride = 2},
      {.label = "average 3 on one pixel",
       .batch = 2,
       .in = {{1, 1, 5}},
       .kernel = 3,
       .stride = 1,
       .pad = 1,
       .count_padding = true},
  };
  NN_CHECK_ALL(&avg_pool, cases);
}

static void global_pools_match(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "global 4x4x5", .batch = 3, .in = {{4, 4, 5}}},
      {.label = "global 1x1x8", .batch = 2, .in = {{1, 1, 8}}},
      {.label = "global 7x7x16", .batch = 2, .in = {{7, 7, 16}}, .n_samples = 150},
      {.label = "global, negative", .batch = 2, .in = {{3, 3, 1}}, .offset = -5},
  };
  NN_CHECK_ALL(&global_avg, cases);
  NN_CHECK_ALL(&global_max, cases);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(max_pool_matches), cmocka_unit_test(avg_pool_matches),
                                     cmocka_unit_test(global_pools_match)};
  return GD_TEST_MAIN(tests);
}
