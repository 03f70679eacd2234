/* Convolutions with 3 x 3 filters and many channels, against plain loops, and large batches against their images one by
 * one. The test limits oneDNN to AVX2, so that they are computed as on CPUs without AVX-512. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn_check.h"

static gd_tensor build_conv(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_conv(net, x[0], "conv", c->c_out, 3, 1, 1, c->bias);
}

static void reference_conv(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_conv(x[0], c->batch, c->in[0], p[0], c->bias ? p[1] : NULL, c->c_out, 3, 1, 1, y);
}

static gd_tensor build_sum(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_conv_add(net, x[0], x[1], "conv", c->c_out, 3, 1);
}

static void reference_sum(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_conv(x[0], c->batch, c->in[0], p[0], p[1], c->c_out, 3, 1, 1, y);
  for (int64_t i = 0; i < (int64_t)c->batch * c->in[1].h * c->in[1].w * c->c_out; i++) y[i] += x[1][i];
}

// The residual has no other use: the sum overwrites it.
static gd_tensor build_sum_in_place(gd_net *net, const gd_tensor *x, const nn_case *c) {
  return gd_net_conv_add(net, x[0], gd_net_activation(net, x[1], GD_RELU), "conv", c->c_out, 3, 1);
}

static void reference_sum_in_place(const nn_case *c, const double *const *x, const double *const *p, double *y) {
  ref_conv(x[0], c->batch, c->in[0], p[0], p[1], c->c_out, 3, 1, 1, y);
  for (int64_t i = 0; i < (int64_t)c->batch * c->in[1].h * c->in[1].w * c->c_out; i++) y[i] += fmax(x[1][i], 0);
}

static const nn_graph conv = {build_conv, reference_conv, false};
static const nn_graph sum = {build_sum, reference_sum, false};
static const nn_graph sum_in_place = {build_sum_in_place, reference_sum_in_place, false};

static void maps_of_small_tiles_match(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "4x4x32 to 64", .batch = 3, .in = {{4, 4, 32}}, .c_out = 64, .bias = true, .n_samples = 30},
      {.label = "one tile", .batch = 1, .in = {{2, 2, 32}}, .c_out = 32, .n_samples = 100},
      {.label = "2x6x70 to 33", .batch = 2, .in = {{2, 6, 70}}, .c_out = 33, .bias = true, .n_samples = 30},
      {.label = "6x2x33 to 70", .batch = 2, .in = {{6, 2, 33}}, .c_out = 70, .n_samples = 30},
      {.label = "5x5, not tiles", .batch = 2, .in = {{5, 5, 33}}, .c_out = 34, .bias = true, .n_samples = 30},
      {.label = "fixed", .batch = 2, .in = {{4, 4, 32}}, .c_out = 32, .bias = true, .fixed_inputs = 1, .n_samples = 50},
  };
  NN_CHECK_ALL(&conv, cases);
}

static void maps_of_large_tiles_match(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "8x8x32 to 64", .batch = 2, .in = {{8, 8, 32}}, .c_out = 64, .bias = true, .n_samples = 10},
      {.label = "4x12x70 to 33", .batch = 1, .in = {{4, 12, 70}}, .c_out = 33, .bias = true, .n_samples = 10},
      {.label = "12x4x33 to 70", .batch = 1, .in = {{12, 4, 33}}, .c_out = 70, .n_samples = 10},
      {.label = "7x7, not tiles", .batch = 2, .in = {{7, 7, 32}}, .c_out = 32, .bias = true, .n_samples = 10},
      {.label = "6x9", .batch = 1, .in = {{6, 9, 33}}, .c_out = 34, .bias = true, .n_samples = 10},
      {.label = "fixed", .batch = 1, .in = {{8, 8, 32}}, .c_out = 32, .bias = true, .fixed_inputs = 1, .n_samples = 10},
  };
  NN_CHECK_ALL(&conv, cases);
}

static void residual_is_added(void **state) {
  (void)state;
  static const nn_case cases[] = {
      {.label = "4x6 and a residual", .batch = 2, .in = {{4, 6, 32}, {4, 6, 40}}, .c_out = 40, .n_samples = 20},
      {.label = "7x8 and a residual", .batch = 1, .in = {{7, 8, 32}, {7, 8, 40}}, .c_out = 40, .n_samples = 10},
  };
  NN_CHECK_ALL(&sum, cases);
  NN_CHECK_ALL(&sum_in_place, cases);
}

// In a batch of several chunks every image gives the same bits as alone, and the gradients by the parameters are the
// sums over the single images.
static void check_images(nn_case all) {
  nn_case one = all;
  one.batch = 1;
  nn_fixture batch = nn_open(&conv, &all, GD_TRAINING), alone = nn_open(&conv, &one, GD_TRAINING);
  const float *y = nn_run(&batch), *dx = gd_plan_input_gradient(batch.plan, 0);
  double *sums = GD_NEW_ARRAY(double, batch.table->total);
  for (int n = 0; n < all.batch; n++) {
    memcpy(gd_plan_input(alone.plan, 0), gd_plan_input(batch.plan, 0) + n * alone.n_in[0],
           (size_t)alone.n_in[0] * sizeof(float));
    const float *y_alone = gd_plan_forward(alone.plan);
    memcpy(gd_plan_output_gradient(alone.plan), gd_plan_output_gradient(batch.plan) + n * alone.n_out,
           (size_t)alone.n_out * sizeof(float));
    gd_plan_backward(alone.plan, alone.grads, NULL, NULL);
    assert_memory_equal(y + n * alone.n_out, y_alone, (size_t)alone.n_out * sizeof(float));
    assert_memory_equal(dx + n * alone.n_in[0], gd_plan_input_gradient(alone.plan, 0),
                        (size_t)alone.n_in[0] * sizeof(float));
    for (int64_t i = 0; i < batch.table->total; i++) sums[i] += alone.grads[i];
  }
  nn_compare(all.label, "gradient by the parameters", batch.grads, sums, batch.table->total, 1e-5);
  gd_free(sums);
  nn_close(&batch);
  nn_close(&alone);
}

static void batch_is_the_sum_of_its_images(void **state) {
  (void)state;
  check_images((nn_case){.label = "20 images", .batch = 20, .in = {{20, 15, 40}}, .c_out = 48, .bias = true});
  check_images((nn_case){.label = "160 images", .batch = 160, .in = {{6, 6, 40}}, .c_out = 48, .bias = true});
}

int main(void) {
  setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 0);
  const struct CMUnitTest tests[] = {cmocka_unit_test(maps_of_small_tiles_match),
                                     cmocka_unit_test(maps_of_large_tiles_match), cmocka_unit_test(residual_is_added),
                                     cmocka_unit_test(batch_is_the_sum_of_its_images)};
  return GD_TEST_MAIN(tests);
}
