/* The sampler against closed forms: predictors that know the answer, and the DDPM posterior. */
#include <math.h>
#include <string.h>

#include "gendistill/diffusion.h"
#include "support.h"

enum { IMAGES = 3, ELEMENTS = 50, TOTAL = IMAGES * ELEMENTS };

// The callbacks' data, and what they record.
typedef struct probe {
  const gd_schedule *schedule;
  float x0[TOTAL];
  float eps[TOTAL];
  float out[TOTAL];
  int n_calls;
  int last_t;
  float *trace;       // x of every call, if not NULL
  int *noise_counts;  // (steps, IMAGES)
} probe;

static gd_schedule *make_schedule(int timesteps, bool zero_terminal_snr) {
  gd_diffusion config = {
      .timesteps = timesteps, .beta_start = 1e-4, .beta_end = 0.02, .zero_terminal_snr = zero_terminal_snr};
  gd_schedule *schedule = NULL;
  gd_schedule_create(&schedule, &config);
  return schedule;
}

static gd_nonfinite_sample sample(const gd_schedule *schedule, const gd_sampling *sampling,
                                  const float *(*predict)(void *, const float *, float), void *predict_context,
                                  void (*noise)(void *, int, int, float *), void *noise_context, float *x) {
  gd_sampling_calls calls = {
      .predict = predict, .predict_context = predict_context, .noise = noise, .noise_context = noise_context};
  return gd_sample(schedule, sampling, &calls, IMAGES, ELEMENTS, x);
}

static void probe_begin(probe *p, const gd_schedule *schedule) {
  memset(p, 0, sizeof *p);
  p->schedule = schedule;
  gd_random_uniform((gd_random){.seed = 3, .purpose = GD_RANDOM_INIT}, 0, TOTAL, p->x0);
  for (int i = 0; i < TOTAL; i++) p->x0[i] = 1.9f * p->x0[i] - 0.95f;
  gd_random_normal((gd_random){.seed = 3, .purpose = GD_RANDOM_NOISE}, 0, TOTAL, p->eps);
}

// The noise by which x is x0 noised to t.
static const float *predict_from_x0(void *context, const float *x, float time) {
  probe *p = context;
  int t = (int)time;
  double a = p->schedule->alphas_cumprod[t];
  if (p->trace) memcpy(p->trace + (int64_t)p->n_calls * TOTAL, x, sizeof p->out);
  for (int i = 0; i < TOTAL; i++) p->out[i] = (float)((x[i] - sqrt(a) * p->x0[i]) / sqrt(1.0 - a));
  p->n_calls++;
  p->last_t = t;
  return p->out;
}

// Always the same noise; x must be x0 noised with it to t.
static const float *predict_on_the_path(void *context, const float *x, float time) {
  probe *p = context;
  int t = (int)time;
  double a = p->schedule->alphas_cumprod[t];
  for (int i = 0; i < TOTAL; i++) {
    double expected = sqrt(a) * p->x0[i] + sqrt(1.0 - a) * p->eps[i];
    if (fabs(x[i] - expected) > 1e-5) fail_msg("t %d, element %d: x is %g, not %g", t, i, x[i], expected);
  }
  p->n_calls++;
  p->last_t = t;
  return p->eps;
}

static const float *predict_constant(void *context, const float *x, float t) {
  (void)x, (void)t;
  return context;
}

static void counted_noise(void *context, int k, int image, float *z) {
  probe *p = context;
  p->noise_counts[k * IMAGES + image]++;
  gd_random_normal((gd_random){.seed = 4, .purpose = GD_RANDOM_SAMPLE_NOISE, .step = (uint32_t)k}, (uint64_t)image,
                   ELEMENTS, z);
}

static void start(float *x) {
  gd_random_normal((gd_random){.seed = 5, .purpose = GD_RANDOM_SAMPLE_START}, 0, TOTAL, x);
}

// Where N does not divide T the last step may end at t = 0, as in the reference, and x0 still has the noise of t = 0.
static void assert_x0_came_back(const probe *p, int steps, const float *x) {
  int previous = p->last_t - 1000 / steps;
  double a = previous >= 0 ? p->schedule->alphas_cumprod[previous] : 1.0;
  for (int i = 0; i < TOTAL; i++) {
    double expected = sqrt(a) * p->x0[i] + sqrt(1.0 - a) * p->out[i];
    if (fabs(x[i] - expected) > 1e-4) fail_msg("%d steps: %d is %g, not %g", steps, i, x[i], expected);
  }
  if (1000 % steps == 0) assert_true(previous < 0 && relative_error(x, p->x0, TOTAL) < 1e-4);
}

static void known_x0_comes_back(void **state) {
  (void)state;
  static const int step_counts[] = {2, 3, 7, 10, 250, 600, 1000};
  for (int zero_snr = 0; zero_snr < 2; zero_snr++) {
    gd_schedule *schedule = make_schedule(1000, zero_snr);
    for (int i = 0; i < 7; i++) {
      probe p;
      probe_begin(&p, schedule);
      float x[TOTAL];
      start(x);
      gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = step_counts[i]};
      sample(schedule, &sampling, predict_from_x0, &p, NULL, NULL, x);
      assert_int_equal(p.n_calls, step_counts[i]);
      assert_x0_came_back(&p, step_counts[i], x);
    }
    gd_schedule_destroy(&schedule);
  }
}

// With eta 0 and the true noise DDIM stays on the path from x_T to x_0, at every step.
static void ddim_follows_the_path(void **state) {
  (void)state;
  static const int step_counts[] = {1, 2, 10, 50, 100};  // divisors of T: each step ends where the next one begins
  gd_schedule *schedule = make_schedule(100, false);     // abar_99 is 0.36: no step is badly conditioned
  for (int i = 0; i < 5; i++) {
    probe p;
    probe_begin(&p, schedule);
    float x[TOTAL];
    for (int image = 0; image < IMAGES; image++)
      gd_schedule_add_noise(schedule, 99, ELEMENTS, p.x0 + image * ELEMENTS, p.eps + image * ELEMENTS,
                            x + image * ELEMENTS);
    gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = step_counts[i]};
    sample(schedule, &sampling, predict_on_the_path, &p, NULL, NULL, x);
    assert_int_equal(p.n_calls, step_counts[i]);
    assert_int_equal(p.last_t, 100 / step_counts[i] - 1);
    assert_true(relative_error(x, p.x0, TOTAL) < 1e-5);
  }
  gd_schedule_destroy(&schedule);
}

/* ---- All samplers ---- */

// Knows x0, on any path and with any objective.
typedef struct oracle {
  const gd_schedule *schedule;
  float x0[TOTAL], out[TOTAL];
  int n_calls;
} oracle;

static const float *predict_for_oracle(void *context, const float *x, float time) {
  oracle *o = context;
  double t = time, a = 0, alpha, sigma;
  bool flow = o->schedule->path->is_straight;
  if (!flow) a = o->schedule->alphas_cumprod[(int)time];
  alpha = flow ? 1 - t / o->schedule->timesteps : sqrt(a);
  sigma = flow ? t / o->schedule->timesteps : sqrt(1 - a);
  for (int i = 0; i < TOTAL; i++) {
    double eps = (x[i] - alpha * o->x0[i]) / sigma;
    o->out[i] = (float)(flow ? eps - o->x0[i] : alpha * eps - sigma * o->x0[i]);
  }
  o->n_calls++;
  return o->out;
}

static const struct {
  gd_sampler_id sampler;
  gd_path_id path;
  int steps, evaluations;
} runs[] = {
    {GD_SAMPLER_ddim, GD_PATH_diffusion, 10, 10},   {GD_SAMPLER_ddpm, GD_PATH_diffusion, 7, 1000},
    {GD_SAMPLER_dpmpp_2m, GD_PATH_diffusion, 1, 1}, {GD_SAMPLER_dpmpp_2m, GD_PATH_diffusion, 20, 20},
    {GD_SAMPLER_unipc, GD_PATH_diffusion, 1, 1},    {GD_SAMPLER_unipc, GD_PATH_diffusion, 3, 3},
    {GD_SAMPLER_unipc, GD_PATH_diffusion, 20, 20},  {GD_SAMPLER_heun, GD_PATH_diffusion, 1, 1},
    {GD_SAMPLER_heun, GD_PATH_diffusion, 6, 11},    {GD_SAMPLER_heun, GD_PATH_flow, 1, 1},
    {GD_SAMPLER_heun, GD_PATH_flow, 7, 13},         {GD_SAMPLER_euler, GD_PATH_flow, 7, 7},
    {GD_SAMPLER_midpoint, GD_PATH_flow, 7, 14},
};

static void fresh_noise(void *context, int k, int image, float *z) {
  (void)context;
  gd_random_normal((gd_random){.seed = 4, .purpose = GD_RANDOM_SAMPLE_NOISE, .step = (uint32_t)k}, (uint64_t)image,
                   ELEMENTS, z);
}

// A network that knows x0 leads every sampler there, in as many evaluations as the sampler says.
static void every_sampler_finds_x0_and_counts_its_evaluations(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    gd_diffusion config = {.path = runs[i].path,
                           .timesteps = 1000,
                           .beta_start = 1e-4,
                           .beta_end = 0.02,
                           .zero_terminal_snr = true,
                           .prediction = GD_OBJECTIVE_v};
    gd_schedule *schedule;
    gd_schedule_create(&schedule, &config);
    oracle o = {.schedule = schedule};
    float x[TOTAL];
    gd_random_uniform((gd_random){.seed = 3, .purpose = GD_RANDOM_INIT}, 0, TOTAL, o.x0);
    for (int j = 0; j < TOTAL; j++) o.x0[j] = 1.9f * o.x0[j] - 0.95f;
    start(x);
    gd_sampling sampling =
        gd_sampling_settle((gd_sampling){.sampler = runs[i].sampler, .steps = runs[i].steps}, schedule->timesteps);
    assert_int_equal(sample(schedule, &sampling, predict_for_oracle, &o, fresh_noise, NULL, x).image, -1);
    assert_int_equal(o.n_calls, runs[i].evaluations);
    assert_int_equal(gd_sampling_evaluations(&sampling), runs[i].evaluations);
    double error = relative_error(x, o.x0, TOTAL);
    if (!(error < 2e-3)) fail_msg("%s, %d steps: %g", gd_sampler_name(runs[i].sampler), runs[i].steps, error);
    gd_schedule_destroy(&schedule);
  }
}

static void x0_is_clipped(void **state) {
  (void)state;
  static const int step_counts[] = {1, 10};  // without clipping abar_999 = 0 would give 30000
  gd_schedule *schedule = make_schedule(1000, true);
  for (int s = 0; s < 2; s++) {
    float zeros[TOTAL] = {0}, x[TOTAL];
    for (int i = 0; i < TOTAL; i++) x[i] = i % 2 ? 3.0f : -3.0f;
    gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = step_counts[s]};
    sample(schedule, &sampling, predict_constant, zeros, NULL, NULL, x);
    for (int i = 0; i < TOTAL; i++) assert_true(fabsf(x[i] - (i % 2 ? 1.0f : -1.0f)) < 1e-4f);
  }
  gd_schedule_destroy(&schedule);
}

// One step of DDPM (Ho 2020, eq. 6 and 7); shares no formula with the sampler.
static void ddpm_posterior(const gd_schedule *schedule, int t, const float *x0, const float *z, const float *x,
                           double *out) {
  double a = schedule->alphas_cumprod[t], before = t > 0 ? schedule->alphas_cumprod[t - 1] : 1.0;
  double alpha = a / before, beta = 1.0 - alpha;
  double sd = sqrt(beta * (1.0 - before) / (1.0 - a));
  for (int i = 0; i < ELEMENTS; i++)
    out[i] = (sqrt(before) * beta * x0[i] + sqrt(alpha) * (1.0 - before) * x[i]) / (1.0 - a) + sd * z[i];
}

static void run_traced(const gd_schedule *schedule, gd_sampling sampling, probe *p, float *x) {
  int steps = schedule->timesteps;
  probe_begin(p, schedule);
  p->trace = GD_NEW_ARRAY(float, (steps + 1) * TOTAL);
  p->noise_counts = GD_NEW_ARRAY(int, steps *IMAGES);
  start(x);
  sample(schedule, &sampling, predict_from_x0, p, counted_noise, p, x);
  memcpy(p->trace + steps * TOTAL, x, sizeof *x * TOTAL);
}

static void ddpm_draws_from_the_posterior(void **state) {
  (void)state;
  enum { STEPS = 40 };
  gd_schedule *schedule = make_schedule(STEPS, false);
  probe p;
  float x[TOTAL], z[ELEMENTS];
  // ddpm uses all timesteps and eta 1, whatever the settings of steps and eta
  run_traced(schedule, (gd_sampling){.sampler = GD_SAMPLER_ddpm, .steps = 3, .eta = 0.0}, &p, x);
  assert_int_equal(p.n_calls, STEPS);
  for (int k = 0; k < STEPS; k++) {
    for (int image = 0; image < IMAGES; image++) {
      double expected[ELEMENTS];
      int n_asked = p.noise_counts[k * IMAGES + image];
      assert_int_equal(n_asked, k < STEPS - 1);  // the last step has no noise
      counted_noise(&p, k, image, z);
      ddpm_posterior(schedule, STEPS - 1 - k, p.x0 + image * ELEMENTS, z, p.trace + k * TOTAL + image * ELEMENTS,
                     expected);
      const float *next = p.trace + (k + 1) * TOTAL + image * ELEMENTS;
      for (int i = 0; i < ELEMENTS; i++) assert_true(fabs(next[i] - expected[i]) < 1e-4);
    }
  }
  gd_free(p.trace);
  gd_free(p.noise_counts);
  gd_schedule_destroy(&schedule);
}

static void ddpm_is_ddim_with_eta_one(void **state) {
  (void)state;
  enum { STEPS = 40 };
  gd_schedule *schedule = make_schedule(STEPS, true);
  probe p, q;
  float x[TOTAL], y[TOTAL];
  run_traced(schedule, (gd_sampling){.sampler = GD_SAMPLER_ddpm, .steps = 2}, &p, x);
  run_traced(schedule, (gd_sampling){.sampler = GD_SAMPLER_ddim, .steps = STEPS, .eta = 1.0}, &q, y);
  assert_memory_equal(p.trace, q.trace, sizeof(float) * (STEPS + 1) * TOTAL);
  gd_free(p.trace);
  gd_free(p.noise_counts);
  gd_free(q.trace);
  gd_free(q.noise_counts);
  gd_schedule_destroy(&schedule);
}

// eta scales the standard deviation of the noise that a step adds; a predictor of zero noise shows it.
static void eta_scales_the_noise(void **state) {
  (void)state;
  gd_schedule *schedule = make_schedule(1000, false);
  float zeros[TOTAL] = {0}, z[ELEMENTS];
  probe p;
  probe_begin(&p, schedule);
  p.noise_counts = GD_NEW_ARRAY(int, 2 * IMAGES);
  gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = 2, .eta = 0.5};
  float x[TOTAL] = {0};  // x0 stays 0 in the first step, so x is sd z; the second divides by sqrt(abar_499)
  sample(schedule, &sampling, predict_constant, zeros, counted_noise, &p, x);
  double a = schedule->alphas_cumprod[999], ap = schedule->alphas_cumprod[499];
  double sd = 0.5 * sqrt((1.0 - ap) / (1.0 - a) * (1.0 - a / ap));
  for (int image = 0; image < IMAGES; image++) {
    assert_int_equal(p.noise_counts[image], 1);
    assert_int_equal(p.noise_counts[IMAGES + image], 0);
    counted_noise(&p, 0, image, z);
    for (int i = 0; i < ELEMENTS; i++) {
      double expected = fmin(fmax(sd * z[i] / sqrt(ap), -1.0), 1.0);
      assert_true(fabs(x[image * ELEMENTS + i] - expected) < 1e-5);
    }
  }
  gd_free(p.noise_counts);
  gd_schedule_destroy(&schedule);
}

// Predicts zeros, except one value at call bad_call.
typedef struct broken_network {
  float out[TOTAL];
  int n_calls, bad_call;
  float bad;
} broken_network;

static const float *predict_broken(void *context, const float *x, float t) {
  (void)x, (void)t;
  broken_network *b = context;
  b->out[2 * ELEMENTS + 7] = b->n_calls++ == b->bad_call ? b->bad : 0;
  return b->out;
}

static void what_is_not_finite_is_named(void **state) {
  (void)state;
  gd_schedule *schedule = make_schedule(1000, true);
  gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = 4};
  static const float bad[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < 15; i++) {
    broken_network b = {.bad_call = i / 3, .bad = bad[i % 3]};
    float x[TOTAL];
    start(x);
    gd_nonfinite_sample found = sample(schedule, &sampling, predict_broken, &b, NULL, NULL, x);
    assert_int_equal(found.image, i < 12 ? 2 : -1);  // there is no call 4
    if (i < 12) assert_true(found.step == i / 3 && found.timestep == 999 - 250 * (i / 3));
    assert_int_equal(b.n_calls, i < 12 ? i / 3 + 1 : 4);  // sampling stops there
  }
  gd_schedule_destroy(&schedule);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_x0_comes_back),
      cmocka_unit_test(ddim_follows_the_path),
      cmocka_unit_test(every_sampler_finds_x0_and_counts_its_evaluations),
      cmocka_unit_test(x0_is_clipped),
      cmocka_unit_test(ddpm_draws_from_the_posterior),
      cmocka_unit_test(ddpm_is_ddim_with_eta_one),
      cmocka_unit_test(eta_scales_the_noise),
      cmocka_unit_test(what_is_not_finite_is_named),
  };
  return GD_TEST_MAIN(tests);
}
