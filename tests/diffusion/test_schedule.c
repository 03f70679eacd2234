/* The schedule, forward noising and trailing timesteps against values from PyTorch. */
#include <math.h>
#include <stdio.h>

#include "gendistill/diffusion.h"
#include "support.h"

static const gd_diffusion paper = {.timesteps = 1000, .beta_start = 1e-4, .beta_end = 0.02, .zero_terminal_snr = true};

static gd_schedule *make_schedule(int timesteps, bool zero_terminal_snr) {
  gd_diffusion config = paper;
  config.timesteps = timesteps;
  config.zero_terminal_snr = zero_terminal_snr;
  gd_schedule *schedule = NULL;
  gd_schedule_create(&schedule, &config);
  assert_int_equal(schedule->timesteps, timesteps);
  return schedule;
}

static void assert_schedule_matches(bool zero_terminal_snr, const char *dataset) {
  gd_schedule *schedule = make_schedule(1000, zero_terminal_snr);
  float *expected = golden("diffusion.h5", dataset, 1000);
  for (int t = 0; t < 1000; t++) assert_true(fabs((double)schedule->alphas_cumprod[t] - expected[t]) < 1e-6);
  gd_free(expected);
  gd_schedule_destroy(&schedule);
  assert_null(schedule);
}

static void schedule_matches_pytorch(void **state) {
  (void)state;
  assert_schedule_matches(false, "alphas_cumprod");
}

static void zero_snr_schedule_matches_pytorch(void **state) {
  (void)state;
  assert_schedule_matches(true, "alphas_cumprod_zero_snr");
}

static void signal_falls_to_zero_at_any_length(void **state) {
  (void)state;
  static const int lengths[] = {2, 3, 10, 999};
  for (int i = 0; i < 4; i++) {
    gd_schedule *schedule = make_schedule(lengths[i], true);
    const float *abar = schedule->alphas_cumprod;
    assert_true(fabsf(abar[0] - (1.0f - 1e-4f)) < 1e-6f);
    for (int t = 1; t < lengths[i]; t++) assert_true(abar[t] < abar[t - 1] && abar[t] >= 0.0f);
    assert_true(abar[lengths[i] - 1] == 0.0f);
    gd_schedule_destroy(&schedule);
  }
}

// The rescaled schedule in double precision, whose products do not underflow.
static void exact_zero_snr(const gd_diffusion *config, double *abar) {
  int n = config->timesteps;
  double log_root = 0, *roots = GD_NEW_ARRAY(double, n);
  for (int t = 0; t < n; t++) {
    log_root += 0.5 * log1p(-(config->beta_start + (config->beta_end - config->beta_start) * t / (n - 1)));
    roots[t] = exp(log_root);
  }
  for (int t = 0; t < n; t++) {
    double root = (roots[t] - roots[n - 1]) * roots[0] / (roots[0] - roots[n - 1]);
    abar[t] = root * root;
  }
  gd_free(roots);
}

// Long or strong schedules, whose signal underflows before the end, and one whose noise is so small that float32 rounds
// it.
static void extreme_schedules_match_double_precision(void **state) {
  (void)state;
  static const struct {
    int timesteps;
    double start, end, tolerance;
  } cases[] = {{10000, 1e-4, 0.02, 1e-5},  {1000, 1e-4, 0.3, 1e-5}, {1000, 1e-4, 0.999, 1e-5},
               {100000, 1e-4, 0.02, 1e-4}, {2, 0.9, 0.999, 1e-5},   {1000, 1e-9, 1e-6, 1e-2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int n = cases[i].timesteps;
    gd_diffusion config = {
        .timesteps = n, .beta_start = cases[i].start, .beta_end = cases[i].end, .zero_terminal_snr = true};
    gd_schedule *schedule;
    double *exact = GD_NEW_ARRAY(double, n);
    gd_schedule_create(&schedule, &config);
    exact_zero_snr(&config, exact);
    for (int t = 0; t < n; t++) {
      double is = schedule->alphas_cumprod[t];
      if (!(fabs(is - exact[t]) < cases[i].tolerance) || (t > 0 && is > schedule->alphas_cumprod[t - 1]))
        fail_msg("case %zu, t %d: abar is %g, not %g", i, t, is, exact[t]);
    }
    assert_true(schedule->alphas_cumprod[n - 1] == 0);
    gd_free(exact);
    gd_schedule_destroy(&schedule);
  }
}

static void single_timestep_is_finite(void **state) {
  (void)state;
  gd_schedule *schedule = make_schedule(1, true);
  assert_true(fabsf(schedule->alphas_cumprod[0] - (1.0f - 1e-4f)) < 1e-6f);
  gd_schedule_destroy(&schedule);
  gd_schedule_destroy(&schedule);
}

static void added_noise_matches_pytorch(void **state) {
  (void)state;
  enum { IMAGES = 4, ELEMENTS = 256 };
  gd_schedule *schedule = make_schedule(1000, true);
  float *x0 = golden("diffusion.h5", "add_noise_x0", IMAGES * ELEMENTS);
  float *eps = golden("diffusion.h5", "add_noise_eps", IMAGES * ELEMENTS);
  float *t = golden("diffusion.h5", "add_noise_t", IMAGES);
  float *expected = golden("diffusion.h5", "add_noise_xt", IMAGES * ELEMENTS);
  float xt[ELEMENTS];
  for (int i = 0; i < IMAGES; i++) {
    gd_schedule_add_noise(schedule, (int)t[i], ELEMENTS, x0 + i * ELEMENTS, eps + i * ELEMENTS, xt);
    assert_true(relative_error(xt, expected + i * ELEMENTS, ELEMENTS) < 1e-6);
    // in place
    gd_schedule_add_noise(schedule, (int)t[i], ELEMENTS, x0 + i * ELEMENTS, eps + i * ELEMENTS, x0 + i * ELEMENTS);
    assert_memory_equal(x0 + i * ELEMENTS, xt, sizeof xt);
  }
  gd_free(x0);
  gd_free(eps);
  gd_free(t);
  gd_free(expected);
  gd_schedule_destroy(&schedule);
}

static void trailing_timesteps_match_exactly(void **state) {
  (void)state;
  static const int counts[] = {2, 3, 10, 20, 100, 1000};
  int timesteps[1000];
  for (int i = 0; i < 6; i++) {
    char name[64];
    snprintf(name, sizeof name, "timesteps_trailing/%d", counts[i]);
    float *expected = golden("diffusion.h5", name, counts[i]);
    gd_timesteps_trailing(1000, counts[i], timesteps);
    for (int k = 0; k < counts[i]; k++) assert_int_equal(timesteps[k], (int)expected[k]);
    gd_free(expected);
  }
}

static void halves_are_rounded_to_even(void **state) {
  (void)state;
  static const int expected[4] = {9, 7, 4, 1};  // round(10, 7.5, 5, 2.5) - 1
  int timesteps[4];
  gd_timesteps_trailing(10, 4, timesteps);
  for (int k = 0; k < 4; k++) assert_int_equal(timesteps[k], expected[k]);
}

static void timesteps_decrease_and_stay_in_range(void **state) {
  (void)state;
  int timesteps[1000];
  for (int steps = 1; steps <= 1000; steps++) {
    gd_timesteps_trailing(1000, steps, timesteps);
    assert_int_equal(timesteps[0], 999);
    for (int k = 1; k < steps; k++) assert_true(timesteps[k] < timesteps[k - 1]);
    assert_true(timesteps[steps - 1] >= 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(schedule_matches_pytorch),
      cmocka_unit_test(zero_snr_schedule_matches_pytorch),
      cmocka_unit_test(signal_falls_to_zero_at_any_length),
      cmocka_unit_test(single_timestep_is_finite),
      cmocka_unit_test(added_noise_matches_pytorch),
      cmocka_unit_test(trailing_timesteps_match_exactly),
      cmocka_unit_test(extreme_schedules_match_double_precision),
      cmocka_unit_test(halves_are_rounded_to_even),
      cmocka_unit_test(timesteps_decrease_and_stay_in_range),
  };
  return GD_TEST_MAIN(tests);
}
