/* The real training step of each strategy with the draws of golden/strategies.h5, at the third task, on any number of
 * ranks: losses, gradient norm, and the parameters after a clipped Adam step. */
#include <math.h>
#include <string.h>

#include "network_a.h"
#include "support.h"
#include "train/trainer.h"

enum { N = 4, COUNT = N * NETWORK_A_ELEMENTS, TASK = 3 };
static const char *const file = "strategies.h5";

static const char *const text =
    "dataset: {image_size: 16}\n"
    "model: {block_out_channels: [16, 16, 32], attention: [false, false, true], norm_num_groups: 8}\n"
    "strategy: {lambda: 0.75}\n"
    "replay: {steps: 2}\n"
    "training: {batch_size: 4, slots: 4}\n";

typedef struct gd_fixture {
  const char *name;  // of the strategy
  gd_config *config;
  gd_trainer *trainer;
  float *images, *noise, *replay_start, *replay_noise;
  int timesteps[N], replay_timesteps[N];
  gd_step_draws draws;
} gd_fixture;

static void load_params(const gd_param_table *table, const char *group, float *values) {
  assert_int_equal(golden_params(file, group, table, values), table->n);
}

static void load_timesteps(const char *name, int timesteps[N]) {
  float *times = golden(file, name, N);
  for (int i = 0; i < N; i++) timesteps[i] = (int)times[i];
  gd_free(times);
}

static void load_draws(gd_fixture *f) {
  f->images = golden(file, "x0", COUNT);
  f->noise = golden(file, "eps", COUNT);
  f->replay_start = golden(file, "x_T", COUNT);
  f->replay_noise = golden(file, "eps_r", COUNT);
  load_timesteps("t", f->timesteps);
  load_timesteps("t_r", f->replay_timesteps);
  bool gaussian = strcmp(f->name, "gaussian") == 0;  // its input is the noise itself
  f->draws = (gd_step_draws){.images = f->images,
                             .noise = f->noise,
                             .timesteps = f->timesteps,
                             .replay = {.start = gaussian ? f->replay_noise : f->replay_start,
                                        .timesteps = f->replay_timesteps,
                                        .noise = f->replay_noise}};
  f->trainer->given = &f->draws;
}

static void open_fixture(gd_fixture *f, const char *name) {
  gd_replay_cost pool;
  char *set = gd_format("strategy.name=%s", name);
  *f = (gd_fixture){.name = name};
  assert_ok(gd_config_create_from_text(&f->config, "test", text, 1, (const char *const *)&set));
  assert_ok(gd_trainer_create(&f->trainer, test_comm, f->config, NULL));
  gd_trainer_begin_task(f->trainer, TASK - 1);
  load_params(f->trainer->table, "student", f->trainer->params);
  if (f->trainer->teacher) load_params(f->trainer->table, "teacher", f->trainer->teacher);
  assert_ok(gd_trainer_prepare(f->trainer, 1, NULL, &pool));
  load_draws(f);
  gd_free(set);
}

static void close_fixture(gd_fixture *f) {
  gd_trainer_destroy(&f->trainer);
  gd_config_destroy(&f->config);
  gd_free(f->images);
  gd_free(f->noise);
  gd_free(f->replay_start);
  gd_free(f->replay_noise);
}

static void check_number(const gd_fixture *f, const char *what, double value, double tolerance) {
  char *path = gd_format("%s/%s", f->name, what);
  float *wanted = golden(file, path, 1);
  if (!(fabs(value - wanted[0]) <= tolerance * fabs(wanted[0])))
    fail_msg("%s is %.9g, not %.9g", path, value, wanted[0]);
  gd_free(wanted);
  gd_free(path);
}

// Counts the elements that differ by more than 2e-6; none may differ by more than 2e-4.
static void count_off(const gd_fixture *f, const gd_param *param, int64_t *n, int64_t *n_off) {
  char *path = gd_format("%s/after/%s", f->name, param->name);
  // key biases have a true gradient of zero: Adam turns their rounding errors into steps
  if (golden_has(file, path) && !strstr(param->name, "to_k.bias")) {
    float *wanted = golden(file, path, param->count);
    for (int64_t i = 0; i < param->count; i++) {
      float error = fabsf(f->trainer->params[param->offset + i] - wanted[i]);
      if (!(error <= 2e-4f)) fail_msg("%s: element %d differs by %g", path, (int)i, error);
      *n_off += error > 2e-6f;
    }
    *n += param->count;
    gd_free(wanted);
  }
  gd_free(path);
}

static void check_params(const gd_fixture *f) {
  int64_t n = 0, n_off = 0;
  for (int i = 0; i < f->trainer->table->n; i++) count_off(f, &f->trainer->table->params[i], &n, &n_off);
  assert_true(n > 1000);
  print_message("%s: %d of %d parameters differ by more than 2e-6\n", f->name, (int)n_off, (int)n);
  if (n_off * 1000 > n) fail_msg("%s: %d of %d parameters differ", f->name, (int)n_off, (int)n);
}

static void strategy_holds(void **state) {
  gd_fixture f;
  gd_step_metrics metrics;
  uint32_t indices[N] = {0, 1, 2, 3};
  open_fixture(&f, *state);
  assert_ok(gd_trainer_step(f.trainer, 1, indices, N, 0, &metrics));
  check_number(&f, "data_loss", metrics.loss_data, 1e-5);
  if (gd_trainer_replays(f.trainer)) check_number(&f, "replay_loss", metrics.loss_replay, 1e-5);
  check_number(&f, "total", metrics.loss, 1e-5);
  check_number(&f, "grad_norm", metrics.gradient_norm, 1e-4);
  check_params(&f);
  close_fixture(&f);
}

#define STRATEGY(name) cmocka_unit_test_prestate(strategy_holds, name)

int main(void) {
  const struct CMUnitTest tests[] = {STRATEGY("finetune"), STRATEGY("generative_replay"),
                                     STRATEGY("generative_distillation"), STRATEGY("lwf"), STRATEGY("gaussian")};
  return GD_TEST_MAIN(tests);
}
