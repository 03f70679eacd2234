/* Targets, weights and conversions of each objective, against values from PyTorch. */
#include <math.h>

#include "gendistill/diffusion.h"
#include "support.h"

enum { N = 5, ELEMENTS = 16 * 16, COUNT = N * ELEMENTS };
static const char *const file = "objectives.h5";

typedef struct objective_case {
  const char *schedule, *name;
  gd_objective_id id;
} objective_case;

static const objective_case cases[] = {
    {"plain", "epsilon", GD_OBJECTIVE_epsilon}, {"plain", "v", GD_OBJECTIVE_v},
    {"plain", "x0", GD_OBJECTIVE_x0},           {"zero_snr", "epsilon", GD_OBJECTIVE_epsilon},
    {"zero_snr", "v", GD_OBJECTIVE_v},          {"zero_snr", "x0", GD_OBJECTIVE_x0}};

static float *golden_of(const objective_case *c, const char *name, int64_t count) {
  char *path = gd_format("%s/%s/%s", c->schedule, c->name, name);
  float *values = golden(file, path, count);
  gd_free(path);
  return values;
}

static float *golden_of_schedule(const objective_case *c, const char *name) {
  char *path = gd_format("%s/%s", c->schedule, name);
  float *values = golden(file, path, COUNT);
  gd_free(path);
  return values;
}

static gd_schedule *make_schedule(const objective_case *c) {
  gd_diffusion config = {.timesteps = 1000,
                         .beta_start = 1e-4,
                         .beta_end = 0.02,
                         .zero_terminal_snr = c->schedule[0] == 'z',
                         .prediction = c->id,
                         .loss_weight = GD_WEIGHT_MIN_SNR};
  gd_schedule *schedule;
  gd_schedule_create(&schedule, &config);
  return schedule;
}

static void assert_close(const objective_case *c, const char *what, int image, const float *is, const float *wanted) {
  double error = relative_error(is, wanted, ELEMENTS);
  if (!(error <= 1e-5)) fail_msg("%s/%s/%s of image %d differs by %g", c->schedule, c->name, what, image, error);
}

static void check_targets(const objective_case *c, const gd_schedule *schedule, const float *t) {
  float *x = golden(file, "x0", COUNT), *target = golden(file, "eps", COUNT);
  float *x_t = golden_of_schedule(c, "x_t"), *wanted = golden_of(c, "target", COUNT);
  float *weights = golden_of(c, "min_snr_5", N);
  for (int i = 0; i < N; i++) {
    int64_t at = i * ELEMENTS;
    gd_schedule_noise(schedule, (int)t[i], ELEMENTS, x + at, target + at);
    assert_close(c, "x_t", i, x + at, x_t + at);
    assert_close(c, "target", i, target + at, wanted + at);
    assert_float_equal(gd_schedule_loss_weight(schedule, (int)t[i]), weights[i], 1e-5 * fabs(weights[i]));
  }
  gd_free(x);
  gd_free(target);
  gd_free(x_t);
  gd_free(wanted);
  gd_free(weights);
}

static void check_estimates(const objective_case *c, const gd_schedule *schedule, const float *t) {
  float *x_t = golden_of_schedule(c, "x_t"), *output = golden_of_schedule(c, "output"), x0[ELEMENTS], eps[ELEMENTS];
  float *wanted_x0 = golden_of(c, "to_x0", COUNT), *wanted_eps = golden_of(c, "to_eps", COUNT);
  for (int i = 0; i < N; i++) {
    int64_t at = i * ELEMENTS;
    gd_noise_level level = gd_schedule_level(schedule, (int)t[i]);
    gd_objective_get(c->id)->estimate(level, ELEMENTS, x_t + at, output + at, x0, eps);
    if (c->id != GD_OBJECTIVE_epsilon || t[i] < 999) assert_close(c, "to_x0", i, x0, wanted_x0 + at);
    assert_close(c, "to_eps", i, eps, wanted_eps + at);
  }
  gd_free(x_t);
  gd_free(output);
  gd_free(wanted_x0);
  gd_free(wanted_eps);
}

static void objectives_hold(void **state) {
  (void)state;
  float *t = golden(file, "t", N);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    gd_schedule *schedule = make_schedule(&cases[i]);
    check_targets(&cases[i], schedule, t);
    check_estimates(&cases[i], schedule, t);
    gd_schedule_destroy(&schedule);
  }
  gd_free(t);
}

static void flow_holds(void **state) {
  (void)state;
  enum { N_FLOW = 4, COUNT_FLOW = N_FLOW * ELEMENTS };
  gd_diffusion config = {.path = GD_PATH_flow, .timesteps = 1000, .prediction = GD_OBJECTIVE_v};
  gd_schedule *schedule;
  gd_schedule_create(&schedule, &config);
  float *x = golden("flow.h5", "x0", COUNT_FLOW), *target = golden("flow.h5", "eps", COUNT_FLOW);
  float *x_s = golden("flow.h5", "x_s", COUNT_FLOW), *wanted = golden("flow.h5", "target", COUNT_FLOW);
  float *s = golden("flow.h5", "s", N_FLOW), x0[ELEMENTS], eps[ELEMENTS];
  for (int i = 0; i < N_FLOW; i++) {
    int64_t at = i * ELEMENTS;
    int t = (int)lrintf(1000 * s[i]) - 1;
    gd_noise_level level = gd_schedule_level(schedule, t);
    gd_objective_get(GD_OBJECTIVE_v)->estimate(level, ELEMENTS, x_s + at, wanted + at, x0, eps);
    assert_true(relative_error(x0, x + at, ELEMENTS) < 1e-5 && relative_error(eps, target + at, ELEMENTS) < 1e-5);
    assert_true(level.time == 1000 * s[i] && level.sigma == s[i]);
    gd_schedule_noise(schedule, t, ELEMENTS, x + at, target + at);
    assert_true(relative_error(x + at, x_s + at, ELEMENTS) < 1e-5);
    assert_true(relative_error(target + at, wanted + at, ELEMENTS) < 1e-5);
  }
  gd_free(x);
  gd_free(target);
  gd_free(x_s);
  gd_free(wanted);
  gd_free(s);
  gd_schedule_destroy(&schedule);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(objectives_hold), cmocka_unit_test(flow_holds)};
  return GD_TEST_MAIN(tests);
}
