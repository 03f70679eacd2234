/* The parameter table: names, shapes, offsets; initial values: bounds, determinism, keys; digest. */
#include <math.h>

#include "support.h"

// All nets of this file share the first layers; `longer` adds more.
static gd_net *make_net(bool longer) {
  gd_net *net;
  gd_net_create(&net);
  gd_tensor x = gd_net_input(net, (gd_shape){8, 8, 3});
  x = gd_net_conv(net, x, "conv_in", 16, 3, 1, 1, true);
  x = gd_net_batch_norm(net, x, "bn", 1e-5f);
  x = gd_net_conv(net, x, "down", 16, 3, 2, 1, false);
  x = gd_net_group_norm(net, x, "gn", 4, 1e-5f, GD_SILU);
  x = gd_net_conv(net, x, "twin", 16, 3, 1, 1, false);  // the same shape as "down"
  if (longer) x = gd_net_linear(net, x, "out.0", 5);
  gd_net_output(net, x);
  return net;
}

typedef struct gd_expected {
  const char *name;
  int n_dims;
  int64_t dims[4];
  gd_init init;
  bool is_statistic;
} gd_expected;

static void table_lists_parameters_in_order(void **state) {
  (void)state;
  static const gd_expected expected[] = {
      {"conv_in.weight", 4, {16, 3, 3, 3}, GD_INIT_UNIFORM, false},
      {"conv_in.bias", 1, {16}, GD_INIT_UNIFORM, false},
      {"bn.weight", 1, {16}, GD_INIT_ONE, false},
      {"bn.bias", 1, {16}, GD_INIT_ZERO, false},
      {"bn.running_mean", 1, {16}, GD_INIT_ZERO, true},
      {"bn.running_var", 1, {16}, GD_INIT_ONE, true},
      {"down.weight", 4, {16, 16, 3, 3}, GD_INIT_UNIFORM, false},
      {"gn.weight", 1, {16}, GD_INIT_ONE, false},
      {"gn.bias", 1, {16}, GD_INIT_ZERO, false},
      {"twin.weight", 4, {16, 16, 3, 3}, GD_INIT_UNIFORM, false},
      {"out.0.weight", 2, {5, 16}, GD_INIT_UNIFORM, false},
      {"out.0.bias", 1, {5}, GD_INIT_UNIFORM, false},
  };
  gd_net *net = make_net(true);
  const gd_param_table *table = gd_net_params(net);
  int64_t offset = 0;
  assert_int_equal(table->n, sizeof expected / sizeof expected[0]);
  for (int i = 0; i < table->n; i++) {
    const gd_param *p = &table->params[i];
    int64_t count = 1;
    assert_string_equal(p->name, expected[i].name);
    assert_int_equal(p->n_dims, expected[i].n_dims);
    for (int k = 0; k < p->n_dims; k++) {
      assert_int_equal(p->dims[k], expected[i].dims[k]);
      count *= p->dims[k];
    }
    assert_int_equal(p->count, count);
    assert_int_equal(p->offset, offset);
    assert_int_equal(p->init, expected[i].init);
    assert_int_equal(p->is_statistic, expected[i].is_statistic);
    offset += count;
  }
  assert_int_equal(table->total, offset);
  gd_net_destroy(&net);
  assert_null(net);
  gd_net_destroy(&net);  // accepts NULL
}

static void find_compares_the_whole_name(void **state) {
  (void)state;
  gd_net *net = make_net(true);
  const gd_param_table *table = gd_net_params(net);
  for (int i = 0; i < table->n; i++)
    assert_ptr_equal(gd_param_table_find(table, table->params[i].name), &table->params[i]);
  assert_null(gd_param_table_find(table, "conv_in"));
  assert_null(gd_param_table_find(table, "conv_in.weight2"));
  assert_null(gd_param_table_find(table, ""));
  gd_net_destroy(&net);
}

static void shapes_follow_the_ops(void **state) {
  (void)state;
  gd_net *net;
  gd_net_create(&net);
  gd_tensor x = gd_net_input(net, (gd_shape){9, 8, 3}), v = gd_net_input(net, (gd_shape){1, 1, 6});
  gd_shape conv = gd_net_shape(net, gd_net_conv(net, x, "conv", 5, 3, 2, 1, true));
  gd_shape pool = gd_net_shape(net, gd_net_max_pool(net, x, 2, 2, 0));
  gd_shape up = gd_net_shape(net, gd_net_upsample(net, x));
  gd_shape cat = gd_net_shape(net, gd_net_concat(net, x, gd_net_linear(net, x, "linear", 4)));
  gd_shape vector = gd_net_shape(net, gd_net_linear(net, v, "vector", 7));
  assert_true(conv.h == 5 && conv.w == 4 && conv.c == 5);
  assert_true(pool.h == 4 && pool.w == 4 && pool.c == 3);
  assert_true(up.h == 18 && up.w == 16 && up.c == 3);
  assert_true(cat.h == 9 && cat.w == 8 && cat.c == 7);
  assert_true(vector.h == 1 && vector.w == 1 && vector.c == 7);
  gd_net_destroy(&net);
}

// ---- Initial values

static float *initial_values(const gd_net *net, uint64_t seed) {
  float *values = GD_NEW_ARRAY(float, gd_net_params(net)->total);
  gd_param_table_initialise(gd_net_params(net), seed, values);
  return values;
}

// Uniform weights are within the bound, come close to it on both sides, and have the mean and variance of it.
static void check_uniform(const gd_param *p, const float *values) {
  double bound = 1 / sqrt((double)p->fan_in), low = 0, high = 0, sum = 0, squares = 0;
  for (int64_t i = 0; i < p->count; i++) {
    low = fmin(low, values[i]);
    high = fmax(high, values[i]);
    sum += values[i];
    squares += (double)values[i] * values[i];
  }
  assert_true(low >= -bound * (1 + 1e-6) && high <= bound * (1 + 1e-6));
  if (p->count < 400) return;
  assert_true(low < -0.97 * bound && high > 0.97 * bound);
  assert_true(fabs(sum / (double)p->count) < 0.1 * bound);
  assert_float_equal(squares / (double)p->count, bound * bound / 3, 0.1 * bound * bound);
}

static void initial_values_keep_their_bounds(void **state) {
  (void)state;
  gd_net *net = make_net(true);
  const gd_param_table *table = gd_net_params(net);
  float *values = initial_values(net, 42);
  assert_int_equal(gd_param_table_find(table, "conv_in.weight")->fan_in, 27);
  assert_int_equal(gd_param_table_find(table, "conv_in.bias")->fan_in, 27);
  assert_int_equal(gd_param_table_find(table, "down.weight")->fan_in, 144);
  assert_int_equal(gd_param_table_find(table, "out.0.bias")->fan_in, 16);
  for (int i = 0; i < table->n; i++) {
    const gd_param *p = &table->params[i];
    if (p->init == GD_INIT_UNIFORM)
      check_uniform(p, values + p->offset);
    else
      for (int64_t j = 0; j < p->count; j++) assert_true(values[p->offset + j] == (p->init == GD_INIT_ONE ? 1 : 0));
  }
  gd_free(values);
  gd_net_destroy(&net);
}

static void initial_values_depend_on_seed_parameter_and_element_only(void **state) {
  (void)state;
  gd_net *shorter = make_net(false), *longer = make_net(true);
  size_t nbytes = (size_t)gd_net_params(shorter)->total * sizeof(float);
  float *a = initial_values(shorter, 42), *b = initial_values(longer, 42), *c = initial_values(shorter, 43);
  assert_memory_equal(a, b, nbytes);
  assert_memory_not_equal(a, c, nbytes);
  const gd_param *down = gd_param_table_find(gd_net_params(shorter), "down.weight");
  const gd_param *twin = gd_param_table_find(gd_net_params(shorter), "twin.weight");
  assert_int_equal(down->count, twin->count);
  int64_t n_same = 0;
  for (int64_t i = 0; i < down->count; i++) n_same += a[down->offset + i] == a[twin->offset + i];
  assert_true(n_same < 5);  // the two have different random streams
  gd_free(a);
  gd_free(b);
  gd_free(c);
  gd_net_destroy(&shorter);
  gd_net_destroy(&longer);
}

static void digest_sees_every_element(void **state) {
  (void)state;
  gd_net *net = make_net(true);
  const gd_param_table *table = gd_net_params(net);
  float *values = initial_values(net, 1), *copy = initial_values(net, 1);
  uint64_t digest = gd_param_table_digest(table, values);
  assert_true(gd_param_table_digest(table, copy) == digest);
  for (int64_t i = 0; i < table->total; i++) {
    float kept = copy[i];
    copy[i] = nextafterf(kept, 2);  // the smallest change there is
    assert_true(gd_param_table_digest(table, copy) != digest);
    copy[i] = kept;
  }
  assert_true(gd_param_table_digest(table, copy) == digest);
  gd_free(values);
  gd_free(copy);
  gd_net_destroy(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(table_lists_parameters_in_order),
                                     cmocka_unit_test(find_compares_the_whole_name),
                                     cmocka_unit_test(shapes_follow_the_ops),
                                     cmocka_unit_test(initial_values_keep_their_bounds),
                                     cmocka_unit_test(initial_values_depend_on_seed_parameter_and_element_only),
                                     cmocka_unit_test(digest_sees_every_element)};
  return GD_TEST_MAIN(tests);
}
