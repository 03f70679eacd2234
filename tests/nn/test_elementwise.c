/* Activations, additions, multiplication, concatenation, upsampling and the time embedding against plain loops. */
#include <math.h>

#include "nn_check.h"

static int64_t elements(const nn_case *c, int i) {
  return (int64_t)c->batch * c->in[i].h * c->in[i].w * c->in[i].c;
}

// ---- Activations

static gd_tensor build_activation(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_activation(net, x[0], c->activation);
}

static void reference_activation(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  (c->activation == GD_SILU ? ref_silu : ref_relu)(x[0], elements(c, 0), y);
}

static const nn_graph activation = {build_activation, reference_activation, false};

static void activations_match(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "silu", .batch = 3, .in = {{5, 4, 3}}, .activation = GD_SILU},
      {.label = "silu, wide", .batch = 2, .in = {{1, 1, 200}}, .activation = GD_SILU, .scale = 40},
      {.label = "silu, over a piece", .batch = 3, .in = {{16, 16, 7}}, .activation = GD_SILU, .n_samples = 60},
      {.label = "relu", .batch = 3, .in = {{5, 4, 3}}, .activation = GD_RELU},
      {.label = "relu, over a piece", .batch = 3, .in = {{16, 16, 7}}, .activation = GD_RELU, .n_samples = 60},
  };
  NN_CHECK_ALL(&activation, cases);
}

// ---- Additions and multiplication

static gd_tensor build_add(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_add(net, x[0], x[1]);
}

static void reference_add(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_add(x[0], x[1], elements(c, 0), y);
}

static const nn_graph add = {build_add, reference_add, false};

static gd_tensor build_multiply(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_multiply(net, x[0], x[1]);
}

static void reference_multiply(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_multiply(x[0], x[1], elements(c, 0), y);
}

static const nn_graph multiply = {build_multiply, reference_multiply, false};

static gd_tensor build_square(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_multiply(net, x[0], x[0]);
}

static void reference_square(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_multiply(x[0], x[0], elements(c, 0), y);
}

static const nn_graph square = {build_square, reference_square, false};

static void multiplication_matches(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "multiply", .batch = 2, .in = {{3, 5, 7}, {3, 5, 7}}},
      {.label = "multiply, first fixed", .batch = 3, .in = {{3, 3, 2}, {3, 3, 2}}, .fixed_inputs = 1},
      {.label = "multiply, second fixed", .batch = 2, .in = {{1, 1, 19}, {1, 1, 19}}, .fixed_inputs = 2},
  };
  static const nn_case square_cases[] = {{.label = "square", .batch = 2, .in = {{2, 3, 5}}}};
  NN_CHECK_ALL(&multiply, cases);
  NN_CHECK_ALL(&square, square_cases);
}

static void additions_match(void **state) {
  (void)state;
  static const nn_case add_cases[] = {
      {.label = "add", .batch = 2, .in = {{3, 5, 7}, {3, 5, 7}}},
      {.label = "add, first fixed", .batch = 2, .in = {{3, 3, 2}, {3, 3, 2}}, .fixed_inputs = 1},
  };
  NN_CHECK_ALL(&add, add_cases);
}

// ---- Concatenation and upsampling

static gd_tensor build_concat(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_concat(net, x[0], x[1]);
}

static void reference_concat(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_concat(x[0], c->in[0].c, x[1], c->in[1].c, (int64_t)c->batch * c->in[0].h * c->in[0].w, y);
}

static const nn_graph concat = {build_concat, reference_concat, false};

static gd_tensor build_upsample(gd_net *net, const gd_tensor *x, const nn_case *c) {
  (void)c;
  return gd_net_upsample(net, x[0]);
}

static void reference_upsample(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  (void)p;
  ref_upsample(x[0], c->batch, c->in[0], y);
}

static const nn_graph upsample = {build_upsample, reference_upsample, false};

static void concat_and_upsample_match(void **state) {
  (void)state;
  static const nn_case concat_cases[] = {
      {.label = "concat 3 and 5", .batch = 2, .in = {{3, 4, 3}, {3, 4, 5}}},
      {.label = "concat 16 and 1", .batch = 3, .in = {{2, 2, 16}, {2, 2, 1}}},
      {.label = "concat, second fixed", .batch = 2, .in = {{3, 2, 2}, {3, 2, 4}}, .fixed_inputs = 2},
  };
  static const nn_case upsample_cases[] = {
      {.label = "upsample 3x4x5", .batch = 2, .in = {{3, 4, 5}}},
      {.label = "upsample one pixel", .batch = 3, .in = {{1, 1, 1}}},
  };
  NN_CHECK_ALL(&concat, concat_cases);
  NN_CHECK_ALL(&upsample, upsample_cases);
}

// ---- Time embedding

static gd_tensor build_time_embedding(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_time_embedding(net, x[0], c->c_out);
}

static const nn_graph time_embedding = {build_time_embedding, NULL, false};

static void time_embedding_matches(void **state) {
  (void)state;
  static const int widths[] = {2, 6, 64, 128};
  static const double times[] = {0, 1, 17, 499, 999};
  enum { BATCH = 5 };
  for (int i = 0; i < 4; i++) {
    nn_case c = {.label = "time embedding", .batch = BATCH, .in = {{1, 1, 1}}, .c_out = widths[i], .fixed_inputs = 1};
    nn_fixture f = nn_open(&time_embedding, &c, GD_TRAINING);
    double expected[BATCH * 128];
    ref_time_embedding(times, BATCH, widths[i], expected);
    for (int n = 0; n < BATCH; n++) gd_plan_input(f.plan, 0)[n] = (float)times[n];
    const float *y = nn_run(&f);  // backward has nothing to do and must accept that
    for (int n = 0; n < BATCH; n++) {
      double tolerance = 2e-7 * (1 + times[n]);  // angles are rounded to float32
      nn_compare("time embedding", "output", y + n * widths[i], expected + n * widths[i], widths[i], tolerance);
    }
    assert_null(gd_plan_input_gradient(f.plan, 0));
    nn_close(&f);
  }
}

// Easily confused: cosine comes first, so that time 0 gives ones and then zeros.
static void time_embedding_puts_cosine_first(void **state) {
  (void)state;
  nn_case c = {.label = "time embedding", .batch = 2, .in = {{1, 1, 1}}, .c_out = 4, .fixed_inputs = 1};
  nn_fixture f = nn_open(&time_embedding, &c, GD_INFERENCE);
  gd_plan_input(f.plan, 0)[0] = 0;
  gd_plan_input(f.plan, 0)[1] = 100;
  const double expected[8] = {1, 1, 0, 0, cos(100), cos(1), sin(100), sin(1)};
  nn_compare("time embedding", "output", gd_plan_forward(f.plan), expected, 8, 2e-5);
  nn_close(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(activations_match),      cmocka_unit_test(additions_match),
      cmocka_unit_test(multiplication_matches), cmocka_unit_test(concat_and_upsample_match),
      cmocka_unit_test(time_embedding_matches), cmocka_unit_test(time_embedding_puts_cosine_first)};
  return GD_TEST_MAIN(tests);
}
