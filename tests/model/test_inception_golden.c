/* Both variants of Inception-v3 against golden/inception.h5 (an eighth of the width, see tools/make-inception-golden);
 * at full width the number of parameters and a forward pass. */
#include <math.h>
#include <string.h>

#include "gendistill/model.h"
#include "support.h"

enum { BATCH = 2, SIZE = 107, DIVISOR = 8, FEATURES = 2048 / DIVISOR };

static const char file[] = "inception.h5";

// The relative error of the variant's features.
static double features_error(gd_inception_variant variant, const char *dataset) {
  gd_net *net;
  gd_plan *plan;
  gd_inception_v3_create(&net, variant, SIZE, DIVISOR);
  const gd_param_table *table = gd_net_params(net);
  float *params = GD_NEW_ARRAY(float, table->total);
  assert_int_equal(golden_params(file, "weights", table, params), table->n);
  assert_ok(gd_plan_create(&plan, net, BATCH, GD_INFERENCE, GD_FLOAT32));
  gd_plan_load(plan, params);
  float *x = golden(file, "x", (int64_t)BATCH * 3 * SIZE * SIZE);
  float *expected = golden(file, dataset, (int64_t)BATCH * FEATURES);
  nchw_to_nhwc(x, BATCH, 3, SIZE, SIZE, gd_plan_input(plan, 0));
  double error = relative_error(gd_plan_forward(plan), expected, (int64_t)BATCH * FEATURES);
  gd_free(x);
  gd_free(expected);
  gd_free(params);
  gd_plan_destroy(&plan);
  gd_net_destroy(&net);
  return error;
}

static void check_features(gd_inception_variant variant, const char *dataset, const char *other) {
  double error = features_error(variant, dataset);
  if (!(error <= 1e-5)) fail_msg("%s: differ by %g", dataset, error);
  assert_true(features_error(variant, other) > 1e-2);  // the features of the two variants differ
}

static void torchvision_features_hold(void **state) {
  (void)state;
  check_features(GD_INCEPTION_TORCHVISION, "features_torchvision", "features_fid");
}

static void fid_features_hold(void **state) {
  (void)state;
  check_features(GD_INCEPTION_FID, "features_fid", "features_torchvision");
}

// torchvision publishes 27,161,264 parameters for 1000 classes. AuxLogits: a 1x1 convolution from 768 to 128 channels
// and a 5x5 convolution from 128 to 768, both with batch norm, then a linear layer. fc is linear from 2048. 17,216
// channels are normalised.
static void full_width_has_its_parameter_count(void **state) {
  (void)state;
  const int64_t aux = 768 * 128 + 2 * 128 + 128 * 768 * 25 + 2 * 768 + (768 + 1) * 1000, fc = (2048 + 1) * 1000;
  for (gd_inception_variant variant = GD_INCEPTION_TORCHVISION; variant <= GD_INCEPTION_FID; variant++) {
    gd_net *net;
    gd_inception_v3_create(&net, variant, 299, 1);
    const gd_param_table *table = gd_net_params(net);
    int64_t n_statistics = 0;
    for (int i = 0; i < table->n; i++) n_statistics += table->params[i].is_statistic ? table->params[i].count : 0;
    assert_int_equal(n_statistics, 2 * 17216);
    assert_int_equal(table->total - n_statistics, 27161264 - aux - fc);
    gd_net_destroy(&net);
  }
}

static void full_width_runs(void **state) {
  (void)state;
  gd_net *net;
  gd_plan *plan;
  gd_inception_v3_create(&net, GD_INCEPTION_FID, 299, 1);
  const gd_param_table *table = gd_net_params(net);
  float *params = GD_NEW_ARRAY(float, table->total);
  gd_param_table_initialise(table, 1, params);
  assert_ok(gd_plan_create(&plan, net, 1, GD_INFERENCE, GD_FLOAT32));
  gd_plan_load(plan, params);
  gd_random_normal((gd_random){.seed = 1, .purpose = GD_RANDOM_NOISE}, 0, (size_t)299 * 299 * 3,
                   gd_plan_input(plan, 0));
  const float *features = gd_plan_forward(plan);
  gd_shape shape = gd_net_output_shape(net);
  assert_true(shape.h == 1 && shape.w == 1 && shape.c == 2048);
  double sum = 0;
  for (int i = 0; i < shape.c; i++) sum += features[i];
  assert_true(isfinite(sum) && sum > 0);
  gd_free(params);
  gd_plan_destroy(&plan);
  gd_net_destroy(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(torchvision_features_hold), cmocka_unit_test(fid_features_hold),
                                     cmocka_unit_test(full_width_has_its_parameter_count),
                                     cmocka_unit_test(full_width_runs)};
  return GD_TEST_MAIN(tests);
}
