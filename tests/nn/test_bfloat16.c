/* Plans in bfloat16 against the same plans in float32, and ops that refuse bfloat16. */
#include <string.h>

#include "nn_check.h"

static const float eps = 1e-5f;

static bool skipped(void) {
  if (gd_precision_supported(GD_BFLOAT16)) return false;
  print_message("skipped: no bfloat16 instructions\n");
  return true;
}

/* ---- Ops in both precisions ---- */

static gd_tensor build_conv(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_conv(net, x[0], "conv", c->c_out, c->kernel, c->stride, c->pad, c->bias);
}

static gd_tensor build_linear(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_linear(net, x[0], "linear", c->c_out);
}

static gd_tensor build_conv_add(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_conv_add(net, x[0], x[1], "conv", c->c_out, c->kernel, c->pad);
}

static gd_tensor build_linear_add(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_linear_add(net, x[0], x[1], "linear", c->c_out);
}

// The float32 output cannot overwrite the shortcut.
static gd_tensor build_shortcut(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor shortcut = gd_net_linear(net, x[0], "shortcut", c->c_out);
  gd_tensor h = gd_net_conv(net, x[0], "first", c->c_out, c->kernel, 1, c->pad, true);
  return gd_net_conv_add(net, h, shortcut, "second", c->c_out, c->kernel, c->pad);
}

// The same followed by a norm: now it can.
static gd_tensor build_inner_shortcut(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_group_norm(net, build_shortcut(net, x, c), "norm", c->groups, eps, GD_SILU);
}

static gd_tensor build_group_norm(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_group_norm(net, x[0], "norm", c->groups, eps, c->activation);
}

static gd_tensor build_shifted(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_group_norm_shifted(net, x[0], x[1], 0, "norm", c->groups, eps, c->activation);
}

static gd_tensor build_attention(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_attention(net, x[0], x[1], x[2], c->head_dim);
}

static gd_tensor build_concat(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_concat(net, x[0], x[1]);
}

static gd_tensor build_upsample(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_upsample(net, x[0]);
}

static const nn_graph conv = {build_conv, NULL, false}, linear = {build_linear, NULL, false};
static const nn_graph conv_add = {build_conv_add, NULL, false}, linear_add = {build_linear_add, NULL, false};
static const nn_graph shortcut = {build_shortcut, NULL, false};
static const nn_graph inner_shortcut = {build_inner_shortcut, NULL, false};
static const nn_graph group_norm = {build_group_norm, NULL, false}, shifted = {build_shifted, NULL, false};
static const nn_graph attention = {build_attention, NULL, false};
static const nn_graph concat = {build_concat, NULL, false}, upsample = {build_upsample, NULL, false};

static void products_are_close(void **state) {
  (void)state;
  if (skipped()) return;
  static const nn_case convs[] = {
      {.label = "conv 3x3",
       .batch = 2,
       .in = {{8, 8, 32}},
       .c_out = 32,
       .kernel = 3,
       .stride = 1,
       .pad = 1,
       .bias = true},
      {.label = "conv 3x3, odd",
       .batch = 3,
       .in = {{5, 7, 5}},
       .c_out = 9,
       .kernel = 3,
       .stride = 1,
       .pad = 1,
       .bias = true},
      {.label = "conv 3x3, one in",
       .batch = 2,
       .in = {{8, 8, 1}},
       .c_out = 16,
       .kernel = 3,
       .stride = 1,
       .pad = 1,
       .bias = true},
      {.label = "conv 3x3, one out",
       .batch = 2,
       .in = {{8, 8, 16}},
       .c_out = 1,
       .kernel = 3,
       .stride = 1,
       .pad = 1,
       .bias = true},
      {.label = "conv 3x3, stride 2",
       .batch = 2,
       .in = {{8, 8, 16}},
       .c_out = 16,
       .kernel = 3,
       .stride = 2,
       .pad = 1,
       .bias = true},
      {.label = "conv 3x3, small map",
       .batch = 4,
       .in = {{4, 4, 64}},
       .c_out = 48,
       .kernel = 3,
       .stride = 1,
       .pad = 1,
       .bias = true},
      {.label = "conv 1x1", .batch = 2, .in = {{4, 4, 24}}, .c_out = 17, .kernel = 1, .stride = 1, .bias = true},
      {.label = "conv 1x1, stride 2", .batch = 2, .in = {{6, 5, 16}}, .c_out = 24, .kernel = 1, .stride = 2},
      {.label = "conv, fixed input",
       .batch = 2,
       .in = {{6, 6, 3}},
       .c_out = 8,
       .kernel = 3,
       .stride = 1,
       .pad = 1,
       .fixed_inputs = 1},
  };
  static const nn_case linears[] = {
      {.label = "linear", .batch = 2, .in = {{4, 4, 64}}, .c_out = 64},
      {.label = "linear, odd", .batch = 3, .in = {{3, 5, 7}}, .c_out = 11},
  };
  NN_CHECK_BFLOAT16(&conv, convs);
  NN_CHECK_BFLOAT16(&linear, linears);
}

static void products_with_residual_are_close(void **state) {
  (void)state;
  if (skipped()) return;
  static const nn_case convs[] = {
      {.label = "conv + x", .batch = 2, .in = {{8, 8, 32}, {8, 8, 32}}, .c_out = 32, .kernel = 3, .pad = 1},
      {.label = "conv + x, odd", .batch = 3, .in = {{5, 6, 3}, {5, 6, 7}}, .c_out = 7, .kernel = 3, .pad = 1},
      {.label = "conv 1x1 + x",
       .batch = 2,
       .in = {{4, 4, 16}, {4, 4, 16}},
       .c_out = 16,
       .kernel = 1,
       .fixed_inputs = 2},
  };
  static const nn_case linears[] = {
      {.label = "linear + x", .batch = 2, .in = {{4, 4, 32}, {4, 4, 32}}, .c_out = 32},
      {.label = "linear + x, odd", .batch = 3, .in = {{3, 5, 7}, {3, 5, 11}}, .c_out = 11},
  };
  static const nn_case shortcuts[] = {
      {.label = "conv + shortcut", .batch = 2, .in = {{8, 8, 16}}, .c_out = 32, .kernel = 3, .pad = 1, .groups = 8},
      {.label = "conv + shortcut, odd", .batch = 3, .in = {{5, 6, 3}}, .c_out = 9, .kernel = 3, .pad = 1, .groups = 3},
  };
  NN_CHECK_BFLOAT16(&shortcut, shortcuts);
  NN_CHECK_BFLOAT16(&inner_shortcut, shortcuts);
  NN_CHECK_BFLOAT16(&conv_add, convs);
  NN_CHECK_BFLOAT16(&linear_add, linears);
}

static void norms_are_close(void **state) {
  (void)state;
  if (skipped()) return;
  static const nn_case plain[] = {
      {.label = "norm", .batch = 3, .in = {{4, 4, 32}}, .groups = 8},
      {.label = "norm, silu", .batch = 2, .in = {{8, 8, 64}}, .groups = 32, .activation = GD_SILU},
      {.label = "norm, odd", .batch = 2, .in = {{5, 3, 15}}, .groups = 3, .activation = GD_SILU},
      {.label = "norm, wider than a tile", .batch = 2, .in = {{2, 3, 2100}}, .groups = 4, .activation = GD_SILU},
      {.label = "norm, large mean", .batch = 2, .in = {{8, 8, 16}}, .groups = 4, .offset = 3},
  };
  static const nn_case with_shift[] = {
      {.label = "shifted norm", .batch = 3, .in = {{4, 4, 32}, {1, 1, 32}}, .groups = 8},
      {.label = "shifted norm, silu", .batch = 2, .in = {{8, 8, 64}, {1, 1, 64}}, .groups = 16, .activation = GD_SILU},
      {.label = "shifted norm, odd", .batch = 2, .in = {{5, 3, 15}, {1, 1, 15}}, .groups = 3, .activation = GD_SILU},
      {.label = "shifted norm, fixed", .batch = 2, .in = {{4, 4, 16}, {1, 1, 16}}, .groups = 4, .fixed_inputs = 2},
  };
  NN_CHECK_BFLOAT16(&group_norm, plain);
  NN_CHECK_BFLOAT16(&shifted, with_shift);
}

static void attention_is_close(void **state) {
  (void)state;
  if (skipped()) return;
  static const nn_case cases[] = {
      {.label = "attention", .batch = 2, .in = {{4, 4, 32}, {4, 4, 32}, {4, 4, 32}}, .head_dim = 8},
      {.label = "attention, odd", .batch = 3, .in = {{3, 5, 9}, {3, 5, 9}, {3, 5, 9}}, .head_dim = 3},
      {.label = "attention, one head", .batch = 2, .in = {{8, 8, 16}, {8, 8, 16}, {8, 8, 16}}, .head_dim = 16},
  };
  NN_CHECK_BFLOAT16(&attention, cases);
}

// The input is rounded once; the gradient of an upsampled pixel, a sum of four, is rounded once more.
static void copies_are_close(void **state) {
  (void)state;
  if (skipped()) return;
  static const nn_case concats[] = {
      {.label = "concat", .batch = 2, .in = {{4, 4, 16}, {4, 4, 8}}, .tolerance = 3e-3},
      {.label = "concat, odd", .batch = 3, .in = {{3, 4, 3}, {3, 4, 5}}, .tolerance = 3e-3, .fixed_inputs = 2},
  };
  static const nn_case upsamples[] = {
      {.label = "upsample", .batch = 2, .in = {{4, 4, 16}}, .tolerance = 3e-3},
      {.label = "upsample, odd", .batch = 3, .in = {{3, 5, 3}}, .tolerance = 3e-3},
  };
  NN_CHECK_BFLOAT16(&concat, concats);
  NN_CHECK_BFLOAT16(&upsample, upsamples);
}

/* ---- Whole plans ---- */

static gd_tensor block(gd_net *net, gd_tensor x, gd_tensor shifts, int i, const nn_case *c) {
  char *first = gd_format("block%d.norm", i), *product = gd_format("block%d.conv", i);
  gd_tensor h = gd_net_group_norm_shifted(net, x, shifts, i * c->c_out, first, c->groups, eps, GD_SILU);
  h = gd_net_conv_add(net, h, x, product, c->c_out, 3, 1);
  gd_free(first);
  gd_free(product);
  return h;
}

// Blocks with residuals in place, shifts from one vector, a skip, attention: every op that supports bfloat16.
static gd_tensor build_blocks(gd_net *net, const gd_tensor *x, const nn_case *c) {
  int width = c->c_out;
  gd_tensor shifts = gd_net_linear_group(net, gd_net_activation(net, x[1], GD_SILU), 3,
                                         (const char *[]){"shift0", "shift1", "shift2"}, (int[]){width, width, width});
  gd_tensor skip = block(net, gd_net_conv(net, x[0], "in", width, 3, 1, 1, true), shifts, 0, c);
  gd_tensor h = block(net, gd_net_conv(net, skip, "down", width, 3, 2, 1, true), shifts, 1, c);
  gd_tensor a = gd_net_group_norm(net, h, "norm", c->groups, eps, GD_LINEAR);
  a = gd_net_attention(net, gd_net_linear(net, a, "q", width), gd_net_linear(net, a, "k", width),
                       gd_net_linear(net, a, "v", width), c->head_dim);
  h = block(net, gd_net_linear_add(net, a, h, "out", width), shifts, 2, c);
  h = gd_net_concat(net, gd_net_upsample(net, h), skip);
  return gd_net_conv(net, h, "last", c->in[0].c, 3, 1, 1, true);
}

static const nn_graph blocks = {build_blocks, NULL, false};

static const nn_case blocks_case = {.label = "blocks",
                                    .batch = 3,
                                    .in = {{8, 8, 3}, {1, 1, 16}},
                                    .c_out = 32,
                                    .groups = 8,
                                    .head_dim = 8,
                                    .precision = GD_BFLOAT16};

static void runs_repeat_in_bfloat16(void **state) {
  (void)state;
  if (skipped()) return;
  nn_fixture f = nn_open(&blocks, &blocks_case, GD_TRAINING), again = nn_open(&blocks, &blocks_case, GD_TRAINING);
  int64_t n;
  float *first = nn_results(&f, &n), *second = nn_results(&f, &n), *other_plan = nn_results(&again, &n);
  assert_memory_equal(first, second, (size_t)n * sizeof(float));
  assert_memory_equal(first, other_plan, (size_t)n * sizeof(float));
  gd_free(first);
  gd_free(second);
  gd_free(other_plan);
  nn_close(&f);
  nn_close(&again);
}

static void inference_gives_the_bits_of_training(void **state) {
  (void)state;
  if (skipped()) return;
  nn_fixture f = nn_open(&blocks, &blocks_case, GD_TRAINING), g = nn_open(&blocks, &blocks_case, GD_INFERENCE);
  assert_memory_equal(gd_plan_forward(f.plan), gd_plan_forward(g.plan), (size_t)f.n_out * sizeof(float));
  nn_close(&f);
  nn_close(&g);
}

static void images_do_not_depend_on_each_other(void **state) {
  (void)state;
  if (skipped()) return;
  nn_fixture f = nn_open(&blocks, &blocks_case, GD_TRAINING);
  size_t n = (size_t)(f.n_out / blocks_case.batch), n_x = (size_t)(f.n_in[0] / blocks_case.batch);
  float *y = gd_alloc(n * sizeof(float)), *dx = gd_alloc(n_x * sizeof(float));
  memcpy(y, nn_run(&f), n * sizeof(float));
  memcpy(dx, gd_plan_input_gradient(f.plan, 0), n_x * sizeof(float));
  for (int i = 0; i < f.n_inputs; i++) nn_fill_input(&f, i, 1, 7);
  assert_memory_equal(nn_run(&f), y, n * sizeof(float));
  assert_memory_equal(gd_plan_input_gradient(f.plan, 0), dx, n_x * sizeof(float));
  gd_free(y);
  gd_free(dx);
  nn_close(&f);
}

// Half the memory, except for the caller's copies in float32.
static void maps_take_half_the_memory(void **state) {
  (void)state;
  if (skipped()) return;
  nn_case c = blocks_case;
  c.in[0].h = c.in[0].w = 32;  // too wide for patches, which would outweigh these few maps
  nn_fixture b = nn_open(&blocks, &c, GD_TRAINING);
  c.precision = GD_FLOAT32;
  nn_fixture f = nn_open(&blocks, &c, GD_TRAINING);
  assert_true((double)gd_plan_nbytes(b.plan) < 0.75 * (double)gd_plan_nbytes(f.plan));
  nn_close(&b);
  nn_close(&f);
}

// A network of vectors gives the same bits in both precisions.
static void vectors_stay_float32(void **state) {
  (void)state;
  if (skipped()) return;
  nn_case c = {.label = "vectors", .batch = 4, .in = {{1, 1, 24}, {1, 1, 10}}, .c_out = 10};
  nn_fixture f = nn_open(&linear_add, &c, GD_TRAINING);
  nn_case other = c;
  other.precision = GD_BFLOAT16;
  nn_fixture b = nn_open(&linear_add, &other, GD_TRAINING);
  int64_t n;
  float *in_float32 = nn_results(&f, &n), *in_bfloat16 = nn_results(&b, &n);
  assert_memory_equal(in_float32, in_bfloat16, (size_t)n * sizeof(float));
  gd_free(in_float32);
  gd_free(in_bfloat16);
  nn_close(&f);
  nn_close(&b);
}

/* ---- Ops without bfloat16 ---- */

static gd_tensor add_activation(gd_net *net, gd_tensor x) {
  return gd_net_activation(net, x, GD_RELU);
}

static gd_tensor add_sum(gd_net *net, gd_tensor x) {
  return gd_net_add(net, x, x);
}

static gd_tensor add_product(gd_net *net, gd_tensor x) {
  return gd_net_multiply(net, x, x);
}

static gd_tensor add_batch_norm(gd_net *net, gd_tensor x) {
  return gd_net_batch_norm(net, x, "norm", eps);
}

static gd_tensor add_max_pool(gd_net *net, gd_tensor x) {
  return gd_net_max_pool(net, x, 2, 2, 0);
}

static gd_tensor add_global_pool(gd_net *net, gd_tensor x) {
  return gd_net_global_avg_pool(net, x);
}

static void other_ops_refuse_bfloat16(void **state) {
  (void)state;
  static const struct {
    const char *kind;
    gd_tensor (*add)(gd_net *net, gd_tensor x);
  } ops[] = {{"activation", add_activation}, {"add", add_sum},          {"multiply", add_product},
             {"batch_norm", add_batch_norm}, {"pooling", add_max_pool}, {"pooling", add_global_pool}};
  for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
    for (gd_mode mode = GD_INFERENCE; mode <= GD_TRAINING; mode++) {
      gd_net *net;
      gd_plan *plan;
      gd_net_create(&net);
      gd_net_output(net, ops[i].add(net, gd_net_input(net, (gd_shape){4, 4, 8})));
      char *expected = gd_format("the op %s computes in float32 only", ops[i].kind);
      assert_int_equal(gd_plan_create(&plan, net, 2, mode, GD_BFLOAT16), GD_ERR_FAILED);
      assert_null(plan);
      if (!strstr(gd_error_message(), expected)) fail_msg("\"%s\" names no %s", gd_error_message(), ops[i].kind);
      gd_free(expected);
      gd_net_destroy(&net);
    }
  }
}

static gd_err plan_of(gd_net *net) {
  gd_plan *plan;
  gd_err err = gd_plan_create(&plan, net, 2, GD_TRAINING, GD_BFLOAT16);
  gd_plan_destroy(&plan);
  gd_net_destroy(&net);
  return err;
}

// An op would read a float32 vector as bfloat16, or the reverse.
static void mixed_inputs_are_refused(void **state) {
  (void)state;
  gd_net *net;
  gd_net_create(&net);
  gd_tensor x = gd_net_input(net, (gd_shape){2, 2, 8}), v = gd_net_input(net, (gd_shape){1, 1, 8});
  gd_net_output(net, gd_net_concat(net, x, gd_net_upsample(net, v)));
  assert_int_equal(plan_of(net), GD_ERR_FAILED);
  assert_non_null(strstr(gd_error_message(), "the op concat would mix"));
  gd_net_create(&net);
  x = gd_net_input(net, (gd_shape){4, 4, 8});
  v = gd_net_conv(net, x, "conv", 8, 4, 1, 0, true);
  gd_net_output(net, gd_net_group_norm_shifted(net, x, v, 0, "norm", 2, eps, GD_LINEAR));
  assert_int_equal(plan_of(net), GD_ERR_FAILED);
  assert_non_null(strstr(gd_error_message(), "the op group_norm would mix"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(products_are_close),
                                     cmocka_unit_test(products_with_residual_are_close),
                                     cmocka_unit_test(norms_are_close),
                                     cmocka_unit_test(attention_is_close),
                                     cmocka_unit_test(copies_are_close),
                                     cmocka_unit_test(runs_repeat_in_bfloat16),
                                     cmocka_unit_test(inference_gives_the_bits_of_training),
                                     cmocka_unit_test(images_do_not_depend_on_each_other),
                                     cmocka_unit_test(maps_take_half_the_memory),
                                     cmocka_unit_test(vectors_stay_float32),
                                     cmocka_unit_test(other_ops_refuse_bfloat16),
                                     cmocka_unit_test(mixed_inputs_are_refused)};
  return GD_TEST_MAIN(tests);
}
