/* Strategies that replay what the sampler passes through, or mirrored noise, against the sampler and plain loops: where
 * the images stand, what they cost, and that no image depends on the others of its unit. */
#include <math.h>
#include <string.h>

#include "network_a.h"
#include "strategy/source.h"
#include "support.h"

enum { N = 12, ELEMENTS = NETWORK_A_ELEMENTS };

typedef struct partway_fixture {
  gd_config *config;
  gd_net *net;
  gd_schedule *schedule;
  float *teacher;
  gd_dataset dataset;
  uint32_t current[N];
  gd_replay *replay;
  gd_batch batch;
  float x[N * ELEMENTS], t[N];
} partway_fixture;

// `settings`: YAML flow mappings of the sections strategy, replay and diffusion.
static void open_fixture(partway_fixture *f, const char *strategy, const char *replay, const char *diffusion) {
  char *text = gd_format(
      "dataset: {image_size: 16}\nmodel: {block_out_channels: [16, 16, 32], attention: [false, false, true], "
      "norm_num_groups: 8}\nstrategy: {name: %s}\nreplay: {%s}\ndiffusion: {%s}\n"
      "training: {batch_size: %d, slots: 1}\n",
      strategy, replay, diffusion, N);
  *f = (partway_fixture){.batch = gd_batch_make(N, ELEMENTS)};
  assert_ok(gd_config_create_from_text(&f->config, "test", text, 0, NULL));
  gd_model_create(&f->net, f->config);
  gd_schedule_create(&f->schedule, &f->config->diffusion);
  const gd_param_table *table = gd_net_params(f->net);
  f->teacher = GD_NEW_ARRAY(float, table->total);
  assert_int_equal(golden_params("unet.h5", "a/weights", table, f->teacher), table->n);
  f->dataset = (gd_dataset){.n = N, .size = 16, .channels = 1, .n_classes = 10};
  f->dataset.images = gd_alloc(N * ELEMENTS);
  f->dataset.labels = gd_alloc_zero(N);
  for (int i = 0; i < N; i++) memset(f->dataset.images + i * ELEMENTS, 20 * i, ELEMENTS);
  for (int i = 0; i < N; i++) f->current[i] = (uint32_t)(N - 1 - i);
  gd_replay_setting setting = {.comm = test_comm,
                               .config = f->config,
                               .dataset = &f->dataset,
                               .schedule = f->schedule,
                               .net = f->net,
                               .teacher = f->teacher,
                               .task = 1,
                               .n_steps = 10};
  assert_ok(gd_replay_create(&f->replay, &setting, N));
  f->batch.x = f->x;
  f->batch.t = f->t;
  gd_free(text);
}

static void close_fixture(partway_fixture *f) {
  gd_replay_destroy(&f->replay);
  gd_batch_clear(&f->batch);
  gd_schedule_destroy(&f->schedule);
  gd_net_destroy(&f->net);
  gd_config_destroy(&f->config);
  gd_free(f->dataset.images);
  gd_free(f->dataset.labels);
  gd_free(f->teacher);
}

// All replay images of step `number`.
static void fill_step(partway_fixture *f, int number) {
  gd_replay_step step = {.number = number, .n_current = N, .current = f->current};
  assert_int_equal(gd_replay_begin_step(f->replay, &step), N);
  gd_replay_fill(f->replay, (gd_range){0, N}, &f->batch);
}

// Rows that are filled in two units are those of one. Networks run on other batches then, which may round differently.
static void assert_units_do_not_count(partway_fixture *f) {
  float whole[N * ELEMENTS], t[N];
  memcpy(whole, f->x, sizeof whole);
  memcpy(t, f->t, sizeof t);
  gd_replay_fill(f->replay, (gd_range){5, N}, &f->batch);
  assert_memory_equal(t + 5, f->t, (N - 5) * sizeof(float));
  assert_true(relative_error(f->x, whole + 5 * ELEMENTS, (N - 5) * ELEMENTS) < 1e-5);
}

static void load_start(const partway_fixture *f, int image, float *x) {
  gd_random key = f->replay->key;
  key.purpose = GD_RANDOM_REPLAY_START;
  gd_random_normal(key, (uint64_t)image, ELEMENTS, x);
}

// x_T after steps of the sampler with explicit timesteps, the last of which would begin at the image's own timestep.
static void sample_steps(partway_fixture *f, int n, const int *timesteps, int end, float *x) {
  for (int k = 0; k < n; k++) {
    float time = gd_schedule_level(f->schedule, timesteps[k]).time;
    gd_generator_input in = {.n = 1, .x = x};
    const float *output = gd_generator_predict(f->replay->teacher, &in, &time);
    gd_noise_level now = gd_schedule_level(f->schedule, timesteps[k]);
    gd_noise_level next = gd_schedule_level(f->schedule, k < n - 1 ? timesteps[k + 1] : end);
    float x0[ELEMENTS], eps[ELEMENTS];
    f->schedule->objective->estimate(now, ELEMENTS, x, output, x0, eps);
    for (int i = 0; i < ELEMENTS; i++) {
      if (!f->schedule->path->is_straight) x0[i] = fminf(fmaxf(x0[i], -1), 1);
      x[i] = next.alpha * x0[i] + next.sigma * eps[i];  // DDIM, and Euler on straight paths
    }
  }
}

static void assert_image(const partway_fixture *f, int image, const float *expected) {
  double error = relative_error(f->x + image * ELEMENTS, expected, ELEMENTS);
  if (!(error < 1e-4)) fail_msg("image %d differs by %g", image, error);
}

static void check_target(partway_fixture *f) {
  float target[N * ELEMENTS];
  memcpy(target, f->batch.target, sizeof target);
  gd_generator_input in = {.n = N, .x = f->x};
  assert_memory_equal(target, gd_generator_predict(f->replay->teacher, &in, f->t), sizeof target);
}

/* ---- Trajectory distillation ---- */

static void trajectory_stands_on_the_sampler_s_way(void **state) {
  const char *diffusion = *state;
  enum { STEPS = 4 };
  partway_fixture f;
  open_fixture(&f, "trajectory_distillation", "steps: 4", diffusion);
  int counts[STEPS + 1] = {0};
  for (int number = 1; number <= 3; number++) {
    fill_step(&f, number);
    int64_t cost = 0;
    for (int i = 0; i < N; i++) {
      int t = gd_replay_timestep(f.replay, i), places[STEPS], n = 0;
      while (n * 250 < 999 - t) n++;  // no step is longer than a quarter of the way
      for (int k = 0; k < n; k++) places[k] = 999 - k * (999 - t) / n;
      assert_true(f.batch.timesteps[i] == t && f.t[i] == gd_schedule_level(f.schedule, t).time);
      counts[n]++;
      cost += n + 1;  // the target is the evaluation there
      float x[ELEMENTS];
      load_start(&f, i, x);
      sample_steps(&f, n, places, t, x);
      assert_image(&f, i, x);
    }
    assert_int_equal(gd_replay_step_evaluations(f.replay), cost);
  }
  for (int n = 1; n <= STEPS; n++) assert_true(counts[n] > 0);
  check_target(&f);
  assert_units_do_not_count(&f);
  close_fixture(&f);
}

/* ---- Partial distillation ---- */

static void partial_goes_to_a_random_timestep(void **state) {
  const char *diffusion = *state;
  enum { STEPS = 3 };
  partway_fixture f;
  open_fixture(&f, "partial_distillation", "steps: 3", diffusion);
  fill_step(&f, 1);
  assert_int_equal(gd_replay_step_evaluations(f.replay), N * (STEPS + 1));
  for (int i = 0; i < N; i++) {
    int t = gd_replay_timestep(f.replay, i), places[STEPS];
    assert_true(f.batch.timesteps[i] == t && t < 999 - STEPS);
    for (int k = 0; k < STEPS; k++) places[k] = 999 - k * (999 - t) / STEPS;
    float x[ELEMENTS];
    load_start(&f, i, x);
    sample_steps(&f, STEPS, places, t, x);
    assert_image(&f, i, x);
  }
  check_target(&f);
  assert_units_do_not_count(&f);

  // near noise there are fewer timesteps than steps; at its end there is nothing to do
  const int timesteps[N] = {999, 998, 997, 996, 995, 0, 1, 2, 3, 4, 5, 6};
  float start[N * ELEMENTS];
  for (int i = 0; i < N; i++) load_start(&f, i, start + i * ELEMENTS);
  gd_replay_draws draws = {.start = start, .timesteps = timesteps, .noise = start};
  gd_replay_give(f.replay, &draws);
  fill_step(&f, 1);
  assert_memory_equal(f.x, start, ELEMENTS * sizeof(float));
  float x[ELEMENTS];
  memcpy(x, start + 2 * ELEMENTS, sizeof x);
  sample_steps(&f, 2, (const int[]){999, 998}, 997, x);
  assert_image(&f, 2, x);
  assert_true(gd_first_nonfinite(f.x, N * ELEMENTS) < 0);
  close_fixture(&f);
}

/* ---- replay.skip_snr ---- */

static void images_below_the_ratio_are_not_sampled(void **state) {
  const char *strategy = *state;
  partway_fixture f, all;
  open_fixture(&f, strategy, "steps: 2, skip_snr: 0.5", "prediction: epsilon");
  open_fixture(&all, strategy, "steps: 2", "prediction: epsilon");
  fill_step(&f, 1);
  fill_step(&all, 1);
  int n_sampled = 0;
  for (int i = 0; i < N; i++) {
    int t = f.batch.timesteps[i];
    gd_noise_level level = gd_schedule_level(f.schedule, t);
    bool sampled = (double)level.alpha * level.alpha >= 0.5 * level.sigma * level.sigma;
    n_sampled += sampled;
    assert_int_equal(t, all.batch.timesteps[i]);
    if (sampled) {  // the same as without the key
      assert_image(&f, i, all.x + i * ELEMENTS);
      continue;
    }
    float x0[ELEMENTS], eps[ELEMENTS], expected[ELEMENTS];
    gd_random key = f.replay->key;
    key.purpose = GD_RANDOM_REPLAY_NOISE;
    gd_random_normal(key, (uint64_t)i, ELEMENTS, eps);
    gd_dataset_image(&f.dataset, f.current[i], false, x0);
    gd_schedule_add_noise(f.schedule, t, ELEMENTS, x0, eps, expected);
    assert_image(&f, i, expected);
  }
  assert_true(n_sampled > 0 && n_sampled < N);
  bool distils = strcmp(strategy, "generative_distillation") == 0;
  assert_int_equal(gd_replay_step_evaluations(f.replay), 2 * n_sampled + (distils ? N : 0));
  assert_int_equal(gd_replay_step_evaluations(all.replay), 2 * N + (distils ? N : 0));
  assert_units_do_not_count(&f);
  close_fixture(&f);
  close_fixture(&all);
}

// The share that DESIGN's threshold leaves out: a third of the timesteps below 0.01.
static void a_ratio_of_one_hundredth_is_a_third_of_the_timesteps(void **state) {
  (void)state;
  partway_fixture f;
  open_fixture(&f, "generative_distillation", "steps: 2", "prediction: epsilon");
  int n = 0;
  for (int t = 0; t < 1000; t++) n += gd_schedule_snr(f.schedule, t) < 0.01;
  assert_true(n > 310 && n < 350);
  close_fixture(&f);
}

/* ---- Mirrored noise ---- */

static bool mirrors(const float *x, bool upright) {
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 16; j++)
      if (x[i * 16 + j] != (upright ? x[(15 - i) * 16 + j] : x[i * 16 + 15 - j])) return false;
  return true;
}

static void noise_of_small_timesteps_is_mirrored(void **state) {
  (void)state;
  partway_fixture f;
  open_fixture(&f, "gaussian_symmetry", "steps: 2", "prediction: epsilon");
  int n[3] = {0};
  for (int number = 1; number <= 3; number++) {
    fill_step(&f, number);
    for (int i = 0; i < N; i++) {
      const float *x = f.x + i * ELEMENTS;
      int t = f.batch.timesteps[i], third = t > 666 ? 2 : t > 333 ? 1 : 0;
      bool upright = mirrors(x, true), sideways = mirrors(x, false);
      n[third]++;
      if (third == 2) assert_true(!upright && !sideways);
      if (third == 1) assert_true(upright == (i % 2 == 0) && sideways == (i % 2 == 1));
      if (third == 0) assert_true(upright && sideways);
      float start[ELEMENTS];  // the lower right quarter is as drawn
      load_start(&f, i, start);
      assert_true(x[15 * 16 + 15] == start[15 * 16 + 15] && x[9 * 16 + 12] == start[9 * 16 + 12]);
    }
  }
  assert_true(n[0] > 0 && n[1] > 0 && n[2] > 0);
  check_target(&f);
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_prestate(trajectory_stands_on_the_sampler_s_way, "prediction: epsilon"),
      cmocka_unit_test_prestate(trajectory_stands_on_the_sampler_s_way, "path: flow"),
      cmocka_unit_test_prestate(partial_goes_to_a_random_timestep, "prediction: v"),
      cmocka_unit_test_prestate(partial_goes_to_a_random_timestep, "path: flow"),
      cmocka_unit_test_prestate(images_below_the_ratio_are_not_sampled, "generative_distillation"),
      cmocka_unit_test_prestate(images_below_the_ratio_are_not_sampled, "generative_replay"),
      cmocka_unit_test(a_ratio_of_one_hundredth_is_a_third_of_the_timesteps),
      cmocka_unit_test(noise_of_small_timesteps_is_mirrored),
  };
  return GD_TEST_MAIN(tests);
}
