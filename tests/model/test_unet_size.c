/* Parameter counts of the paper's two networks, and unusual shapes that must compile and run. */
#include <math.h>
#include <string.h>

#include "gendistill/model.h"
#include "support.h"

static int64_t parameters(const gd_unet_config *model, int size, int channels) {
  gd_net *net;
  gd_unet_create(&net, model, size, channels);
  int64_t total = gd_net_params(net)->total;
  gd_net_destroy(&net);
  return total;
}

static void paper_networks_have_their_parameter_counts(void **state) {
  (void)state;
  gd_unet_config fashion = {.n_levels = 4,
                            .block_out_channels = {64, 128, 256, 512},
                            .layers_per_block = 1,
                            .attention = {false, false, false, true},
                            .attention_head_dim = 8,
                            .norm_num_groups = 32};
  gd_unet_config cifar = {.n_levels = 4,
                          .block_out_channels = {128, 256, 256, 256},
                          .layers_per_block = 2,
                          .attention = {false, true, false, false},
                          .attention_head_dim = 8,
                          .norm_num_groups = 32};
  assert_int_equal(parameters(&fashion, 32, 1), 42855873);
  assert_int_equal(parameters(&cifar, 32, 3), 35746307);
}

static void other_shapes_run_forward_and_backward(void **state) {
  (void)state;
  gd_unet_config models[] = {
      {.n_levels = 1, .block_out_channels = {8}, .layers_per_block = 1, .norm_num_groups = 2},
      {.n_levels = 3,
       .block_out_channels = {6, 12, 18},
       .layers_per_block = 3,
       .attention = {false, true, false},
       .attention_head_dim = 3,
       .norm_num_groups = 3},
  };
  int sizes[] = {9, 20}, channels[] = {1, 3};
  for (int i = 0; i < 2; i++) {
    gd_net *net;
    gd_plan *plan;
    gd_unet_create(&net, &models[i], sizes[i], channels[i]);
    const gd_param_table *table = gd_net_params(net);
    float *params = GD_NEW_ARRAY(float, table->total), *grads = GD_NEW_ARRAY(float, table->total);
    gd_param_table_initialise(table, 1, params);
    assert_ok(gd_plan_create(&plan, net, 2, GD_TRAINING, GD_FLOAT32));
    gd_plan_load(plan, params);
    gd_random key = {.seed = 1, .purpose = GD_RANDOM_NOISE};
    size_t count = 2 * (size_t)(sizes[i] * sizes[i] * channels[i]);
    gd_random_normal(key, 0, count, gd_plan_input(plan, 0));
    gd_plan_input(plan, 1)[0] = 3;
    gd_plan_input(plan, 1)[1] = 999;
    memcpy(gd_plan_output_gradient(plan), gd_plan_forward(plan), count * sizeof(float));
    gd_plan_backward(plan, grads, NULL, NULL);
    double norm = gd_gradient_norm(table, grads);
    assert_true(isfinite(norm) && norm > 0);
    gd_free(params);
    gd_free(grads);
    gd_plan_destroy(&plan);
    gd_net_destroy(&net);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(paper_networks_have_their_parameter_counts),
                                     cmocka_unit_test(other_shapes_run_forward_and_backward)};
  return GD_TEST_MAIN(tests);
}
