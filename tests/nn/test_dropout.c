/* Dropout and embedding: what dropout leaves out, that backward leaves out the same, and that it depends on the image's
 * row alone; the rows of an embedding and their gradient. */
#include <math.h>
#include <string.h>

#include "nn/net.h"
#include "support.h"

enum { BATCH = 3, SIDE = 20, CHANNELS = 40, ELEMENTS = SIDE * SIDE * CHANNELS, COUNT = BATCH * ELEMENTS };
static const double rate = 0.3;

typedef struct gd_fixture {
  gd_net *net;
  gd_plan *plan;
  float *grads;
} gd_fixture;

// Two dropouts, so that their masks multiply.
static gd_fixture open_fixture(int n_dropouts, gd_mode mode, gd_precision precision) {
  gd_fixture f = {0};
  gd_net_create(&f.net);
  gd_tensor x = gd_net_input(f.net, (gd_shape){SIDE, SIDE, CHANNELS});
  gd_net_input_gradient(f.net, x);
  for (int i = 0; i < n_dropouts; i++) x = gd_net_dropout(f.net, x, rate);
  gd_net_output(f.net, x);
  assert_ok(gd_plan_create(&f.plan, f.net, BATCH, mode, precision));
  gd_plan_load(f.plan, NULL);
  return f;
}

static void close_fixture(gd_fixture *f) {
  gd_plan_destroy(&f->plan);
  gd_net_destroy(&f->net);
}

static void fill(float *values, float value) {
  for (int i = 0; i < COUNT; i++) values[i] = value;
}

static const float *run(gd_fixture *f, uint32_t step, uint32_t first_row) {
  uint32_t *rows =
      gd_plan_begin_draws(f->plan, (gd_random){.seed = 1, .purpose = GD_RANDOM_NETWORK_DROPOUT, .step = step});
  for (uint32_t i = 0; i < BATCH; i++) rows[i] = first_row + i;
  fill(gd_plan_input(f->plan, 0), 2);
  return gd_plan_forward(f->plan);
}

static float *copy_run(gd_fixture *f, uint32_t step, uint32_t first_row) {
  float *out = GD_NEW_ARRAY(float, COUNT);
  return memcpy(out, run(f, step, first_row), COUNT * sizeof *out);
}

static int count_zeros(const float *values, int n) {
  int n_zeros = 0;
  for (int i = 0; i < n; i++) n_zeros += values[i] == 0;
  return n_zeros;
}

static void values_are_dropped_at_the_rate_and_scaled(void **state) {
  (void)state;
  gd_fixture f = open_fixture(1, GD_TRAINING, GD_FLOAT32);
  const float *y = run(&f, 5, 7);
  for (int i = 0; i < BATCH; i++)
    assert_true(fabs(count_zeros(y + i * ELEMENTS, ELEMENTS) / (double)ELEMENTS - rate) < 0.02);  // 5 deviations
  for (int i = 0; i < COUNT; i++) assert_true(y[i] == 0 || fabs(y[i] - 2 / (1 - rate)) < 1e-6);
  close_fixture(&f);
}

static void check_backward(gd_precision precision) {
  gd_fixture f = open_fixture(2, GD_TRAINING, precision);
  const float *y = run(&f, 5, 7);
  float *mask = GD_NEW_ARRAY(float, COUNT);
  for (int i = 0; i < COUNT; i++) mask[i] = y[i] / 2;
  fill(gd_plan_output_gradient(f.plan), 1);
  gd_plan_backward(f.plan, NULL, NULL, NULL);
  const float *dx = gd_plan_input_gradient(f.plan, 0);
  double keep = 1 - (1 - rate) * (1 - rate);
  assert_true(fabs(count_zeros(mask, COUNT) / (double)COUNT - keep) < 0.02);  // the two masks differ
  for (int i = 0; i < COUNT; i++) assert_true(fabsf(dx[i] - mask[i]) <= 0.02f * mask[i]);
  gd_free(mask);
  close_fixture(&f);
}

static void backward_drops_the_same(void **state) {
  (void)state;
  check_backward(GD_FLOAT32);
  if (gd_precision_supported(GD_BFLOAT16)) check_backward(GD_BFLOAT16);
}

static void what_is_dropped_follows_from_row_and_step(void **state) {
  (void)state;
  gd_fixture f = open_fixture(1, GD_TRAINING, GD_FLOAT32);
  float *a = copy_run(&f, 5, 7), *again = copy_run(&f, 5, 7), *later = copy_run(&f, 5, 8), *other = copy_run(&f, 6, 7);
  assert_memory_equal(a, again, COUNT * sizeof *a);
  assert_memory_equal(a + ELEMENTS, later, 2 * ELEMENTS * sizeof *a);  // the same rows one place earlier
  assert_memory_not_equal(a, a + ELEMENTS, ELEMENTS * sizeof *a);
  assert_memory_not_equal(a, other, COUNT * sizeof *a);
  gd_free(a);
  gd_free(again);
  gd_free(later);
  gd_free(other);
  close_fixture(&f);
}

static void inference_drops_nothing(void **state) {
  (void)state;
  gd_fixture f = open_fixture(2, GD_INFERENCE, GD_FLOAT32);
  const float *y = run(&f, 5, 7);
  for (int i = 0; i < COUNT; i++) assert_true(y[i] == 2);
  close_fixture(&f);
}

static void an_embedding_picks_rows(void **state) {
  (void)state;
  enum { ROWS = 4, WIDTH = 5 };
  gd_net *net;
  gd_plan *plan;
  gd_net_create(&net);
  gd_net_output(net, gd_net_embedding(net, gd_net_input(net, (gd_shape){1, 1, 1}), "table", ROWS, WIDTH));
  assert_ok(gd_plan_create(&plan, net, BATCH, GD_TRAINING, GD_FLOAT32));
  assert_string_equal(gd_net_params(net)->params[0].name, "table.weight");
  float params[ROWS * WIDTH], grads[ROWS * WIDTH];
  gd_param_table_initialise(gd_net_params(net), 1, params);
  gd_plan_load(plan, params);
  static const float picked[BATCH] = {3, 0, 3};
  memcpy(gd_plan_input(plan, 0), picked, sizeof picked);
  const float *y = gd_plan_forward(plan);
  for (int i = 0; i < BATCH; i++)
    assert_memory_equal(y + i * WIDTH, params + (int)picked[i] * WIDTH, WIDTH * sizeof *y);
  for (int i = 0; i < BATCH * WIDTH; i++) gd_plan_output_gradient(plan)[i] = (float)(1 + i);
  memset(grads, 0xff, sizeof grads);
  gd_plan_backward(plan, grads, NULL, NULL);
  for (int c = 0; c < WIDTH; c++) {
    assert_true(grads[3 * WIDTH + c] == (1 + c) + (11 + c) && grads[c] == 6 + c);
    assert_true(grads[WIDTH + c] == 0 && grads[2 * WIDTH + c] == 0);
  }
  gd_plan_destroy(&plan);
  gd_net_destroy(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_are_dropped_at_the_rate_and_scaled), cmocka_unit_test(backward_drops_the_same),
      cmocka_unit_test(what_is_dropped_follows_from_row_and_step), cmocka_unit_test(inference_drops_nothing),
      cmocka_unit_test(an_embedding_picks_rows)};
  return GD_TEST_MAIN(tests);
}
