/* What each strategy replays against golden/strategies.h5: input and target. train/test_golden.c has the step. */
#include <string.h>

#include "gendistill/replay.h"
#include "network_a.h"
#include "support.h"

enum { N = 4, COUNT = N * NETWORK_A_ELEMENTS };
static const char *const file = "strategies.h5";

typedef struct gd_fixture {
  gd_strategy_id id;
  const gd_strategy *strategy;
  gd_net *net;
  gd_schedule *schedule;
  gd_generator *teacher;
  float *teacher_params;
  float x[COUNT], t[N], target[COUNT];  // of the replay images
} gd_fixture;

static gd_fixture open_fixture(gd_strategy_id id) {
  gd_fixture f = {.id = id, .strategy = gd_strategy_get(id)};
  gd_unet_create(&f.net, &network_a, NETWORK_A_SIZE, 1);
  const gd_param_table *table = gd_net_params(f.net);
  gd_schedule_create(&f.schedule, &network_a_diffusion);
  f.teacher_params = GD_NEW_ARRAY(float, table->total);
  assert_int_equal(golden_params(file, "teacher", table, f.teacher_params), table->n);
  assert_ok(gd_generator_create(&f.teacher, f.net, f.schedule, N, GD_FLOAT32));
  gd_generator_load(f.teacher, f.teacher_params);
  return f;
}

static void close_fixture(gd_fixture *f) {
  gd_generator_destroy(&f->teacher);
  gd_schedule_destroy(&f->schedule);
  gd_net_destroy(&f->net);
  gd_free(f->teacher_params);
}

// A dataset of this strategy's group.
static float *expected(const gd_fixture *f, const char *what, int64_t count) {
  char *path = gd_format("%s/%s", gd_strategy_name(f->id), what);
  float *values = golden(file, path, count);
  gd_free(path);
  return values;
}

static void check_array(const gd_fixture *f, const char *what, const float *values, double tolerance) {
  float *wanted = expected(f, what, COUNT);
  double error = relative_error(values, wanted, COUNT);
  print_message("%s: %s differs by %.2g\n", gd_strategy_name(f->id), what, error);
  if (!(error <= tolerance)) fail_msg("%s: %s differs by %g", gd_strategy_name(f->id), what, error);
  gd_free(wanted);
}

// The current batch, noised: what lwf replays.
static void fill_current(gd_fixture *f) {
  float *x0 = golden(file, "x0", COUNT), *t = golden(file, "t", N), *eps = golden(file, "eps", COUNT);
  for (int i = 0; i < N; i++) {
    int64_t at = i * NETWORK_A_ELEMENTS;
    gd_schedule_add_noise(f->schedule, (int)t[i], NETWORK_A_ELEMENTS, x0 + at, eps + at, f->x + at);
  }
  memcpy(f->t, t, sizeof f->t);
  gd_free(x0);
  gd_free(t);
  gd_free(eps);
}

static void fill_replay(gd_fixture *f) {
  float *times = golden(file, "t_r", N), *noise = golden(file, "eps_r", COUNT), *start = golden(file, "x_T", COUNT);
  int timesteps[N];
  for (int i = 0; i < N; i++) timesteps[i] = (int)times[i];
  bool gaussian = f->strategy->input == GD_INPUT_NOISE;
  gd_replay_draws draws = {.start = gaussian ? noise : start, .timesteps = timesteps, .noise = noise};
  gd_config_sampling sampling = {.sampler = GD_DDIM, .steps = 2};
  gd_random unused = {0};
  gd_replay_make(f->id, f->teacher, f->schedule, &sampling, unused, 0, NETWORK_A_ELEMENTS, &draws, N, f->x, f->t,
                 f->target);
  check_array(f, "replay_input", f->x, 1e-4);
  check_array(f, "replay_target", f->target, 1e-4);
  gd_free(times);
  gd_free(noise);
  gd_free(start);
}

static void check_strategy(gd_strategy_id id) {
  gd_fixture f = open_fixture(id);
  if (f.strategy->input == GD_INPUT_CURRENT) fill_current(&f);
  fill_replay(&f);
  close_fixture(&f);
}

static void generative_replay_holds(void **state) {
  (void)state;
  check_strategy(GD_GENERATIVE_REPLAY);
}

static void generative_distillation_holds(void **state) {
  (void)state;
  check_strategy(GD_GENERATIVE_DISTILLATION);
}

static void lwf_holds(void **state) {
  (void)state;
  check_strategy(GD_LWF);
}

static void gaussian_holds(void **state) {
  (void)state;
  check_strategy(GD_GAUSSIAN);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(generative_replay_holds),
                                     cmocka_unit_test(generative_distillation_holds), cmocka_unit_test(lwf_holds),
                                     cmocka_unit_test(gaussian_holds)};
  return GD_TEST_MAIN(tests);
}
