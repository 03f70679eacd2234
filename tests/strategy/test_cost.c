/* The cost of replay: how limits on images, evaluations and seconds are spread over the steps of a task. */
#include "strategy/source.h"
#include "support.h"

enum { N_STEPS = 300, BATCH = 24 };

static gd_config *make_config(const char *a, const char *b, const char *c) {
  const char *sets[] = {"training.batch_size=24", "replay.steps=2", a, b, c};
  int n = c ? 5 : b ? 4 : a ? 3 : 2;
  gd_config *config;
  assert_ok(gd_config_create(&config, NULL, n, sets));
  return config;
}

typedef struct spent {
  int64_t images, evaluations;
  int minimum, maximum;  // images per step
} spent;

static int images_of_step(const gd_config *config, int step, double seconds) {
  gd_replay_setting setting = {.config = config, .task = 1, .n_steps = N_STEPS};
  return gd_replay_images(&setting, step, seconds);
}

// The replay of a whole task, at so many seconds per image.
static spent spend(const gd_config *config, double seconds_per_image) {
  spent out = {.minimum = 1 << 30};
  double seconds = 0;
  for (int step = 1; step <= N_STEPS; step++) {
    int n = images_of_step(config, step, seconds);
    assert_true(n >= 0 && n <= gd_replay_max_images(config, 1, N_STEPS));
    seconds += n * seconds_per_image;
    out.images += n;
    out.evaluations += gd_replay_evaluations(config, n);
    if (n < out.minimum) out.minimum = n;
    if (n > out.maximum) out.maximum = n;
  }
  return out;
}

static void without_limits_each_step_has_a_batch(void **state) {
  (void)state;
  gd_config *config = make_config(NULL, NULL, NULL);
  spent s = spend(config, 1);
  assert_int_equal(s.images, N_STEPS * BATCH);
  assert_int_equal(s.evaluations, N_STEPS * BATCH * 3);  // two steps and the target
  assert_int_equal(s.minimum, BATCH);
  gd_config_destroy(&config);
}

static void images_and_evaluations_are_spread_evenly(void **state) {
  (void)state;
  gd_config *config = make_config("replay.limit_images=100", NULL, NULL);
  spent s = spend(config, 0);
  assert_int_equal(s.images, 100);
  assert_int_equal(s.maximum, 1);
  gd_config_destroy(&config);

  config = make_config("replay.limit_images=1000", "replay.limit_evaluations=2000", NULL);
  s = spend(config, 0);
  assert_int_equal(s.images, 666);
  assert_int_equal(s.evaluations, 1998);
  assert_true(s.minimum == 2 && s.maximum == 3);
  gd_config_destroy(&config);

  config = make_config("replay.limit_images=1000000", NULL, NULL);  // more than all batches
  assert_int_equal(spend(config, 0).images, N_STEPS * BATCH);
  gd_config_destroy(&config);
}

static void a_pool_leaves_half_of_the_evaluations_to_the_targets(void **state) {
  (void)state;
  gd_config *config = make_config("replay.source=pool", "replay.limit_evaluations=3000", NULL);
  assert_int_equal(gd_replay_pool_images(config), 750);
  assert_int_equal(spend(config, 0).evaluations, 1500);
  gd_config_destroy(&config);

  config = make_config("replay.source=pool", "replay.pool_images=100", "replay.limit_evaluations=3000");
  assert_int_equal(gd_replay_pool_images(config), 100);
  assert_int_equal(spend(config, 0).evaluations, 2800);  // the rest after the small pool
  gd_config_destroy(&config);

  // the target of generative replay is the noise: the teacher is evaluated for the pool only
  config = make_config("replay.source=pool", "replay.limit_evaluations=3000", "strategy.name=generative_replay");
  assert_int_equal(gd_replay_pool_images(config), 1500);
  spent s = spend(config, 0);
  assert_int_equal(s.images, N_STEPS * BATCH);
  assert_int_equal(s.evaluations, 0);
  gd_config_destroy(&config);
}

static void a_pool_that_keeps_targets_is_all_of_the_cost(void **state) {
  (void)state;
  gd_config *config = make_config("replay.source=pool", "replay.pool_targets=true", "replay.limit_evaluations=3000");
  assert_int_equal(gd_replay_pool_images(config), 1000);  // two steps and the target
  spent s = spend(config, 0);
  assert_int_equal(s.images, N_STEPS * BATCH);
  assert_int_equal(s.evaluations, 0);
  gd_config_destroy(&config);
}

// 30 of 75 images more in each of two later epochs, or the rejected ones of a balanced pool: within the same limits.
static void what_a_pool_makes_besides_counts(void **state) {
  (void)state;
  gd_config *config = make_config("replay.source=pool", "replay.pool_refresh=0.4", "replay.limit_evaluations=3000");
  config->training.epochs = 3;
  int64_t n = gd_replay_pool_images(config);
  assert_int_equal(n, 416);  // 1.8 images of two evaluations each within 1500
  assert_int_equal(gd_replay_pool_refreshed(config, n, 2), 332);
  assert_int_equal(spend(config, 0).evaluations, 3000 - 2 * (416 + 332));
  gd_config_destroy(&config);

  config = make_config("replay.source=pool", "replay.pool_images=100", "replay.limit_images=100");
  config->replay.pool_balance = GD_BALANCE_SOLVER;
  assert_int_equal(gd_replay_pool_images(config), 50);
  assert_int_equal(gd_replay_pool_candidates(config), 100);
  gd_config_destroy(&config);
}

static void seconds_are_spread_over_the_task(void **state) {
  (void)state;
  gd_config *config = make_config("replay.limit_seconds=10", NULL, NULL);
  spent s = spend(config, 0.01);  // all batches would take 72 s
  assert_true(s.images >= 1000 && s.images <= 1000 + BATCH);
  int after_half = 0;
  for (int step = N_STEPS / 2 + 2; step <= N_STEPS; step++)  // 5 s are spent by the middle: later steps have a share
    after_half += images_of_step(config, step, 5.0) > 0;
  assert_int_equal(after_half, N_STEPS / 2 - 1);
  assert_int_equal(images_of_step(config, N_STEPS / 2, 5.1), 0);
  gd_config_destroy(&config);
  config = make_config("replay.limit_seconds=10", "replay.source=pool", NULL);
  assert_true(gd_replay_pool_seconds(config) == 5);
  s = spend(config, 0.01);
  assert_true(s.images >= 500 && s.images <= 500 + BATCH);
  gd_config_destroy(&config);
}

// A task has so many replay images per step for each task before it.
static void growing_replay(void **state) {
  (void)state;
  gd_config *config = make_config("replay.growing=true", NULL, NULL);
  for (int task = 1; task < 5; task++) assert_int_equal(gd_replay_max_images(config, task, N_STEPS), task * BATCH);
  gd_config_destroy(&config);
  config = make_config("replay.growing=true", "replay.limit_images=900", NULL);
  assert_int_equal(gd_replay_max_images(config, 4, N_STEPS), 3);  // the limit is for the task
  gd_config_destroy(&config);
}

// A part of the way: N steps to a random timestep, or (N + 1) / 2 on average, rounded up; and the target.
static void a_part_of_the_way_costs_less(void **state) {
  (void)state;
  gd_config *config = make_config("strategy.name=trajectory_distillation", "replay.steps=10", NULL);
  assert_int_equal(gd_replay_evaluations(config, 100), 700);
  gd_config_destroy(&config);
  config = make_config("strategy.name=partial_distillation", "replay.steps=10", NULL);
  assert_int_equal(gd_replay_evaluations(config, 100), 1100);
  gd_config_destroy(&config);
}

static void limits_are_for_generated_images(void **state) {
  (void)state;
  gd_config *config = make_config("strategy.name=gaussian", "replay.limit_images=10", "replay.source=pool");
  spent s = spend(config, 1);
  assert_int_equal(s.images, N_STEPS * BATCH);
  assert_int_equal(s.evaluations, N_STEPS * BATCH);
  assert_null(gd_replay_folder(config));
  gd_config_destroy(&config);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_limits_each_step_has_a_batch),
      cmocka_unit_test(images_and_evaluations_are_spread_evenly),
      cmocka_unit_test(a_pool_leaves_half_of_the_evaluations_to_the_targets),
      cmocka_unit_test(a_pool_that_keeps_targets_is_all_of_the_cost),
      cmocka_unit_test(what_a_pool_makes_besides_counts),
      cmocka_unit_test(seconds_are_spread_over_the_task),
      cmocka_unit_test(growing_replay),
      cmocka_unit_test(a_part_of_the_way_costs_less),
      cmocka_unit_test(limits_are_for_generated_images),
  };
  return GD_TEST_MAIN(tests);
}
