/* Convolution and linear against plain loops: strides, paddings, odd and vectorised channel counts, no bias,
 * rectangular filters, several linear maps as one. */
#include "nn_check.h"

static gd_tensor build_conv(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_conv(net, x[0], "conv", c->c_out, c->kernel, c->stride, c->pad, c->bias);
}

static void reference_conv(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_conv(x[0], c->batch, c->in[0], p[0], c->bias ? p[1] : NULL, c->c_out, c->kernel, c->stride, c->pad, y);
}

static gd_tensor build_conv_rect(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_conv_rect(net, x[0], "conv", c->c_out, c->kernel, c->kernel_w, c->stride, c->pad, c->pad_w, c->bias);
}

static void reference_conv_rect(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_conv_rect(x[0], c->batch, c->in[0], p[0], c->bias ? p[1] : NULL, c->c_out, c->kernel, c->kernel_w, c->stride,
                c->pad, c->pad_w, y);
}

static gd_tensor build_linear(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_linear(net, x[0], "linear", c->c_out);
}

static void reference_linear(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_linear(x[0], c->batch, c->in[0], p[0], p[1], c->c_out, y);
}

static const nn_graph conv = {build_conv, reference_conv, false};
static const nn_graph conv_rect = {build_conv_rect, reference_conv_rect, false};
static const nn_graph linear = {build_linear, reference_linear, false};

#define CONV(h_, w_, c_, c_out_, kernel_, stride_, pad_, ...)                                                     \
  {                                                                                                               \
    .label = "conv " #h_ "x" #w_ "x" #c_ " to " #c_out_ ", kernel " #kernel_ ", stride " #stride_ ", pad " #pad_, \
    .in = {{h_, w_, c_}}, .c_out = c_out_, .kernel = kernel_, .stride = stride_, .pad = pad_, __VA_ARGS__         \
  }

static void convolution_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      CONV(6, 5, 1, 5, 3, 1, 1, .batch = 3, .bias = true),
      CONV(7, 6, 3, 5, 3, 2, 1, .batch = 2, .bias = true),
      CONV(8, 8, 5, 3, 3, 2, 1, .batch = 2),
      CONV(5, 5, 5, 1, 1, 1, 0, .batch = 2, .bias = true),
      CONV(9, 9, 3, 8, 7, 2, 3, .batch = 1, .n_samples = 100),  // first layer of a ResNet
      CONV(6, 7, 4, 4, 3, 1, 0, .batch = 2, .bias = true),      // shrinks
      CONV(6, 6, 2, 3, 5, 1, 2, .batch = 2, .bias = true, .n_samples = 100),
      CONV(1, 1, 8, 8, 3, 1, 1, .batch = 4, .bias = true),  // mostly padding
      CONV(3, 3, 1, 1, 3, 1, 1, .batch = 1, .bias = true),
  };
  NN_CHECK_ALL(&conv, cases);
}

static void wide_convolution_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      CONV(4, 4, 32, 64, 3, 1, 1, .batch = 2, .bias = true, .n_samples = 20),
      CONV(8, 8, 48, 16, 3, 2, 1, .batch = 3, .bias = true, .n_samples = 20),
      CONV(4, 4, 64, 32, 1, 1, 0, .batch = 3, .bias = true, .n_samples = 40),
      CONV(5, 5, 17, 33, 3, 1, 1, .batch = 2, .bias = true, .n_samples = 20),
  };
  NN_CHECK_ALL(&conv, cases);
}

static void linear_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "linear 5 to 3 on vectors", .batch = 4, .in = {{1, 1, 5}}, .c_out = 3},
      {.label = "linear 1 to 1, one image", .batch = 1, .in = {{1, 1, 1}}, .c_out = 1},
      {.label = "linear 7 to 12 on pixels", .batch = 2, .in = {{3, 4, 7}}, .c_out = 12},
      {.label = "linear 64 to 32 on pixels", .batch = 2, .in = {{4, 4, 64}}, .c_out = 32, .n_samples = 100},
      {.label = "linear 16 to 10, batch 9", .batch = 9, .in = {{1, 1, 16}}, .c_out = 10},
  };
  NN_CHECK_ALL(&linear, cases);
}

// The first layer of a network: no gradient by the input is computed; those by the parameters are correct.
static void parameters_alone_have_gradients(void **state) {
  (void)state;
  static const nn_case conv_case = CONV(6, 6, 3, 4, 3, 1, 1, .batch = 2, .bias = true, .fixed_inputs = 1);
  static const nn_case linear_case = {
      .label = "linear, fixed input", .batch = 3, .in = {{2, 2, 5}}, .c_out = 6, .fixed_inputs = 1};
  nn_check(&conv, &conv_case);
  nn_check(&linear, &linear_case);
}

// Shortcuts of ResNet blocks, also with fewer channels than oneDNN's strided weight gradient supports.
static void strided_1x1_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      CONV(6, 5, 16, 24, 1, 2, 0, .batch = 2, .n_samples = 100),
      CONV(6, 6, 15, 16, 1, 2, 0, .batch = 2, .n_samples = 100),
      CONV(8, 8, 8, 16, 1, 2, 0, .batch = 3, .n_samples = 100),
      CONV(7, 5, 3, 4, 1, 2, 0, .batch = 2, .bias = true),  // the last row and column are sampled
      CONV(8, 7, 1, 1, 1, 3, 0, .batch = 2, .bias = true),
      CONV(4, 4, 5, 2, 1, 5, 0, .batch = 2),  // one pixel is left
      CONV(5, 6, 7, 9, 1, 2, 0, .batch = 2, .fixed_inputs = 1),
  };
  NN_CHECK_ALL(&conv, cases);
}

#define RECT(h_, w_, c_, c_out_, kernel_h_, kernel_w_, stride_, pad_h_, pad_w_, ...)                                \
  {                                                                                                                 \
    .label = "conv " #h_ "x" #w_ "x" #c_ " to " #c_out_ ", kernel " #kernel_h_ "x" #kernel_w_ ", stride " #stride_, \
    .in = {{h_, w_, c_}}, .c_out = c_out_, .kernel = kernel_h_, .kernel_w = kernel_w_, .stride = stride_,           \
    .pad = pad_h_, .pad_w = pad_w_, __VA_ARGS__                                                                     \
  }

static void rectangular_convolution_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      RECT(5, 6, 3, 4, 1, 7, 1, 0, 3, .batch = 2, .bias = true),
      RECT(5, 6, 3, 4, 7, 1, 1, 3, 0, .batch = 2),
      RECT(4, 3, 16, 8, 1, 3, 1, 0, 1, .batch = 2, .n_samples = 100),
      RECT(4, 3, 8, 16, 3, 1, 1, 1, 0, .batch = 2, .n_samples = 100),
      RECT(6, 7, 2, 3, 3, 2, 2, 1, 0, .batch = 2, .bias = true),
      RECT(5, 5, 4, 3, 1, 2, 2, 0, 0, .batch = 2),  // strided, and not 1x1
  };
  NN_CHECK_ALL(&conv_rect, cases);
}

// Three maps of one vector, 3 c_out, 1 and c_out + 1 channels wide.
static void group_widths(const nn_case *c, int widths[3]) {
  widths[0] = 3 * c->c_out;
  widths[1] = 1;
  widths[2] = c->c_out + 1;
}

static gd_tensor build_linear_group(gd_net *net, const gd_tensor *x, const nn_case *c) {
  int widths[3];
  group_widths(c, widths);
  return gd_net_linear_group(net, x[0], 3, (const char *[]){"first", "second", "third"}, widths);
}

static void reference_linear_group(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  int widths[3], done = 0;
  group_widths(c, widths);
  int total = widths[0] + widths[1] + widths[2];
  double *map = GD_NEW_ARRAY(double, c->batch *total);
  for (int i = 0; i < 3; i++) {  // all weights come before all biases
    ref_linear(x[0], c->batch, c->in[0], p[i], p[3 + i], widths[i], map);
    for (int n = 0; n < c->batch; n++)
      for (int k = 0; k < widths[i]; k++) y[n * total + done + k] = map[n * widths[i] + k];
    done += widths[i];
  }
  gd_free(map);
}

static const nn_graph linear_group = {build_linear_group, reference_linear_group, false};

static void linear_group_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "group of 3, 1 and 2", .batch = 3, .in = {{1, 1, 5}}, .c_out = 1},
      {.label = "group of 48, 1 and 17", .batch = 4, .in = {{1, 1, 32}}, .c_out = 16},
      {.label = "group, fixed input", .batch = 2, .in = {{1, 1, 7}}, .c_out = 4, .fixed_inputs = 1},
  };
  NN_CHECK_ALL(&linear_group, cases);
}

// The parameters of a group have the names of its members.
static void linear_group_names_its_members(void **state) {
  (void)state;
  static const nn_case c = {.label = "group", .batch = 1, .in = {{1, 1, 5}}, .c_out = 2};
  nn_fixture f = nn_open(&linear_group, &c, GD_INFERENCE);
  const gd_param *weight = gd_param_table_find(f.table, "third.weight");
  const gd_param *bias = gd_param_table_find(f.table, "first.bias");
  assert_true(weight && weight->n_dims == 2 && weight->dims[0] == 3 && weight->dims[1] == 5);
  assert_true(bias && bias->n_dims == 1 && bias->dims[0] == 6);
  nn_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolution_matches),  cmocka_unit_test(wide_convolution_matches),
      cmocka_unit_test(linear_matches),       cmocka_unit_test(parameters_alone_have_gradients),
      cmocka_unit_test(strided_1x1_matches),  cmocka_unit_test(rectangular_convolution_matches),
      cmocka_unit_test(linear_group_matches), cmocka_unit_test(linear_group_names_its_members)};
  return GD_TEST_MAIN(tests);
}
