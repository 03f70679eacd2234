/* What each strategy replays against golden/strategies.h5: input and target. train/test_golden.c has the step. */
#include <string.h>

#include "gendistill/strategy.h"
#include "network_a.h"
#include "support.h"

enum { N = 4, COUNT = N * NETWORK_A_ELEMENTS };
static const char *const file = "strategies.h5";

static const char *const text =
    "dataset: {image_size: 16}\n"
    "model: {block_out_channels: [16, 16, 32], attention: [false, false, true], norm_num_groups: 8}\n"
    "replay: {steps: 2}\n"
    "training: {batch_size: 4, slots: 1}\n";

typedef struct gd_fixture {
  const char *name;  // of the strategy
  gd_config *config;
  gd_net *net;
  gd_schedule *schedule;
  float *teacher;
  gd_replay *replay;
  gd_batch batch;
  float x[COUNT], t[N];
} gd_fixture;

static void open_fixture(gd_fixture *f, const char *name) {
  char *set = gd_format("strategy.name=%s", name);
  *f = (gd_fixture){.name = name, .batch = gd_batch_make(N, NETWORK_A_ELEMENTS)};
  assert_ok(gd_config_create_from_text(&f->config, "test", text, 1, (const char *const *)&set));
  gd_model_create(&f->net, f->config);
  const gd_param_table *table = gd_net_params(f->net);
  gd_schedule_create(&f->schedule, &f->config->diffusion);
  f->teacher = GD_NEW_ARRAY(float, table->total);
  assert_int_equal(golden_params(file, "teacher", table, f->teacher), table->n);
  gd_replay_setting setting = {.comm = test_comm,
                               .config = f->config,
                               .schedule = f->schedule,
                               .net = f->net,
                               .teacher = f->teacher,
                               .task = 2,
                               .n_steps = 1};
  assert_ok(gd_replay_create(&f->replay, &setting, N));
  f->batch.x = f->x;
  f->batch.t = f->t;
  gd_free(set);
}

static void close_fixture(gd_fixture *f) {
  gd_replay_destroy(&f->replay);
  gd_batch_clear(&f->batch);
  gd_schedule_destroy(&f->schedule);
  gd_net_destroy(&f->net);
  gd_config_destroy(&f->config);
  gd_free(f->teacher);
}

static void check_array(const gd_fixture *f, const char *what, const float *values, double tolerance) {
  char *path = gd_format("%s/%s", f->name, what);
  float *wanted = golden(file, path, COUNT);
  double error = relative_error(values, wanted, COUNT);
  print_message("%s differs by %.2g\n", path, error);
  if (!(error <= tolerance)) fail_msg("%s differs by %g", path, error);
  gd_free(wanted);
  gd_free(path);
}

static void load_timesteps(const char *name, int timesteps[N]) {
  float *times = golden(file, name, N);
  for (int i = 0; i < N; i++) timesteps[i] = (int)times[i];
  gd_free(times);
}

// The current batch, noised: what lwf replays.
static void fill_current(gd_fixture *f) {
  float *x0 = golden(file, "x0", COUNT), *eps = golden(file, "eps", COUNT);
  memcpy(f->x, x0, sizeof f->x);
  memcpy(f->batch.target, eps, sizeof f->x);
  load_timesteps("t", f->batch.timesteps);
  f->batch.n = N;
  gd_batch_add_noise(&f->batch, f->schedule);
  gd_free(x0);
  gd_free(eps);
}

static void strategy_holds(void **state) {
  gd_fixture f;
  int timesteps[N];
  open_fixture(&f, *state);
  float *noise = golden(file, "eps_r", COUNT), *start = golden(file, "x_T", COUNT);
  bool gaussian = strcmp(f.name, "gaussian") == 0;  // its input is the noise itself
  load_timesteps("t_r", timesteps);
  gd_replay_draws draws = {.start = gaussian ? noise : start, .timesteps = timesteps, .noise = noise};
  if (gd_replay_shares_rows(f.config)) fill_current(&f);
  gd_replay_give(f.replay, &draws);
  gd_replay_step step = {.number = 1, .n_current = N};
  assert_int_equal(gd_replay_begin_step(f.replay, &step), N);
  gd_replay_fill(f.replay, (gd_range){0, N}, &f.batch);
  check_array(&f, "replay_input", f.x, 1e-4);
  check_array(&f, "replay_target", f.batch.target, 1e-4);
  gd_free(noise);
  gd_free(start);
  close_fixture(&f);
}

#define STRATEGY(name) cmocka_unit_test_prestate(strategy_holds, name)

int main(void) {
  const struct CMUnitTest tests[] = {STRATEGY("generative_replay"), STRATEGY("generative_distillation"),
                                     STRATEGY("lwf"), STRATEGY("gaussian")};
  return GD_TEST_MAIN(tests);
}
