/* The class-conditional network of golden/conditional.h5: output, loss and gradients, and the guided output through the
 * generator. */
#include <math.h>
#include <string.h>

#include "gendistill/generate.h"
#include "network_a.h"
#include "support.h"

enum { BATCH = 4, COUNT = BATCH * NETWORK_A_ELEMENTS, N_CLASSES = 10 };
static const char *const file = "conditional.h5";

typedef struct gd_fixture {
  gd_net *net;
  const gd_param_table *table;
  float *params, *x, *t, *labels;
} gd_fixture;

static gd_fixture open_fixture(void) {
  gd_unet_config model = network_a;
  gd_fixture f;
  model.conditional = true;
  model.n_classes = N_CLASSES;
  gd_unet_create(&f.net, &model, NETWORK_A_SIZE, 1);
  f.table = gd_net_params(f.net);
  f.params = GD_NEW_ARRAY(float, f.table->total);
  assert_int_equal(golden_params(file, "weights", f.table, f.params), f.table->n);
  assert_int_equal(gd_unet_null_label(f.net), N_CLASSES);
  f.x = golden(file, "x", COUNT);
  f.t = golden(file, "t", BATCH);
  f.labels = golden(file, "labels", BATCH);
  return f;
}

static void close_fixture(gd_fixture *f) {
  gd_net_destroy(&f->net);
  gd_free(f->params);
  gd_free(f->x);
  gd_free(f->t);
  gd_free(f->labels);
}

static void check_gradients(const gd_fixture *f, const float *grads) {
  float largest = 0;
  int n_found = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < f->table->n; i++) {
      const gd_param *p = &f->table->params[i];
      char *path = gd_format("grads/%s", p->name);
      if (golden_has(file, path)) {
        float *expected = golden(file, path, p->count);
        for (int64_t j = 0; j < p->count && pass == 0; j++) largest = fmaxf(largest, fabsf(expected[j]));
        for (int64_t j = 0; j < p->count && pass == 1; j++)
          if (!(fabsf(grads[p->offset + j] - expected[j]) <= 1e-5f * largest))
            fail_msg("gradient of %s: %g, not %g", p->name, grads[p->offset + j], expected[j]);
        gd_free(expected);
        n_found += pass;
      }
      gd_free(path);
    }
  }
  assert_true(n_found > 100 && golden_has(file, "grads/class_embedding.weight"));
}

static void output_loss_and_gradients_hold(void **state) {
  (void)state;
  gd_fixture f = open_fixture();
  gd_plan *plan;
  assert_ok(gd_plan_create(&plan, f.net, BATCH, GD_TRAINING, GD_FLOAT32));
  gd_plan_load(plan, f.params);
  memcpy(gd_plan_input(plan, 0), f.x, COUNT * sizeof(float));
  memcpy(gd_plan_input(plan, 1), f.t, BATCH * sizeof(float));
  memcpy(gd_plan_input(plan, 2), f.labels, BATCH * sizeof(float));
  const float *output = gd_plan_forward(plan);
  float *expected = golden(file, "output", COUNT), *target = golden(file, "target", COUNT),
        *loss = golden(file, "loss", 1);
  float *gradient = gd_plan_output_gradient(plan), *grads = GD_NEW_ARRAY(float, f.table->total);
  double sum = 0;
  assert_true(relative_error(output, expected, COUNT) <= 1e-5);
  for (int i = 0; i < COUNT; i++) {
    gradient[i] = 2.0f * (output[i] - target[i]) / COUNT;
    sum += ((double)output[i] - target[i]) * ((double)output[i] - target[i]);
  }
  assert_float_equal(sum / COUNT, loss[0], 1e-5 * loss[0]);
  gd_plan_backward(plan, grads, NULL, NULL);
  check_gradients(&f, grads);
  gd_plan_destroy(&plan);
  gd_free(expected);
  gd_free(target);
  gd_free(loss);
  gd_free(grads);
  close_fixture(&f);
}

// One step of Euler's method on a straight path goes from x to x - s v, where v is the guided output.
static void guided_output_holds(void **state) {
  (void)state;
  gd_fixture f = open_fixture();
  gd_schedule *schedule;
  gd_generator *generator;
  gd_schedule_create(&schedule, &network_a_flow);
  assert_ok(gd_generator_create(&generator, f.net, schedule, BATCH, GD_FLOAT32));
  gd_generator_load(generator, f.params);
  float *guided = golden(file, "guided", COUNT), x[NETWORK_A_ELEMENTS], v[NETWORK_A_ELEMENTS];
  for (int i = 1; i < BATCH; i++) {  // at t = 3 the step is too short
    int64_t at = i * NETWORK_A_ELEMENTS;
    gd_sampling sampling = {
        .sampler = GD_SAMPLER_euler, .guidance = 1.5, .n_timesteps = 1, .timesteps = {(int)f.t[i] - 1}};
    gd_generator_input in = {.n = 1, .x = x, .label = &f.labels[i]};
    memcpy(x, f.x + at, sizeof x);
    gd_generator_sample(generator, &sampling, &in, NULL);
    for (int j = 0; j < NETWORK_A_ELEMENTS; j++) v[j] = (f.x[at + j] - x[j]) / (f.t[i] / 1000);
    double error = relative_error(v, guided + at, NETWORK_A_ELEMENTS);
    if (!(error <= 1e-5)) fail_msg("image %d: the guided output differs by %g", i, error);
    sampling.steps = 1;
    assert_int_equal(gd_sampling_evaluations(&sampling), 2);
  }
  gd_free(guided);
  gd_generator_destroy(&generator);
  gd_schedule_destroy(&schedule);
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(output_loss_and_gradients_hold),
                                     cmocka_unit_test(guided_output_holds)};
  return GD_TEST_MAIN(tests);
}
