/* Trajectories of all samplers through a real network, network a of golden/unet.h5: from x_T to x_0.
 *
 * The first step of DDIM divides by sqrt(abar + 1e-8) with abar = 0. That enlarges rounding differences by a factor of
 * 10,000, hence the tolerance. */
#include <math.h>
#include <string.h>

#include "generate/generator.h"
#include "network_a.h"
#include "support.h"

enum { N_IMAGES = 2, COUNT = N_IMAGES * NETWORK_A_ELEMENTS, N_ETA1_STEPS = 5 };

typedef struct gd_fixture {
  gd_net *net;
  gd_schedule *schedule;
  gd_generator *generator;
  float *params;
} gd_fixture;

static gd_fixture open_fixture(const gd_diffusion *diffusion, int batch) {
  gd_fixture f = {0};
  gd_unet_create(&f.net, &network_a, NETWORK_A_SIZE, 1);
  gd_schedule_create(&f.schedule, diffusion);
  const gd_param_table *table = gd_net_params(f.net);
  f.params = GD_NEW_ARRAY(float, table->total);
  assert_int_equal(golden_params("unet.h5", "a/weights", table, f.params), table->n);
  assert_ok(gd_generator_create(&f.generator, f.net, f.schedule, batch, GD_FLOAT32));
  gd_generator_load(f.generator, f.params);
  return f;
}

static void close_fixture(gd_fixture *f) {
  gd_generator_destroy(&f->generator);
  gd_schedule_destroy(&f->schedule);
  gd_net_destroy(&f->net);
  gd_free(f->params);
}

// z of the golden file, (steps, images, elements).
static void given_noise(void *context, int k, int image, float *z) {
  const float *noise = context;
  memcpy(z, noise + (k * N_IMAGES + image) * NETWORK_A_ELEMENTS, NETWORK_A_ELEMENTS * sizeof(float));
}

static void check_trajectory(gd_fixture *f, const char *file, const char *start, const char *name,
                             const gd_sampling *sampling, float *noise) {
  float *x = golden(file, start, COUNT), *expected = golden(file, name, COUNT);
  gd_generator_input in = {.n = N_IMAGES, .x = x};
  gd_generator_sample_with(f->generator, sampling, &in, given_noise, noise);
  double error = relative_error(x, expected, COUNT);
  print_message("%s %s: differs by %.2g\n", file, name, error);
  if (!(error <= 1e-3)) fail_msg("%s %s: differs by %g", file, name, error);
  gd_free(x);
  gd_free(expected);
}

static void check_ddim(gd_fixture *f, const char *name, int steps, double eta, float *noise) {
  gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = steps, .eta = eta};
  check_trajectory(f, "diffusion.h5", "ddim_x_T", name, &sampling, noise);
}

static void deterministic_trajectories_hold(void **state) {
  (void)state;
  gd_fixture f = open_fixture(&network_a_diffusion, N_IMAGES);
  check_ddim(&f, "ddim_2", 2, 0.0, NULL);
  check_ddim(&f, "ddim_10", 10, 0.0, NULL);
  close_fixture(&f);
}

static void trajectory_with_noise_holds(void **state) {
  (void)state;
  gd_fixture f = open_fixture(&network_a_diffusion, N_IMAGES);
  float *noise = golden("diffusion.h5", "ddim_5_eta1_noise", N_ETA1_STEPS * N_IMAGES * NETWORK_A_ELEMENTS);
  check_ddim(&f, "ddim_5_eta1", N_ETA1_STEPS, 1.0, noise);
  gd_free(noise);
  close_fixture(&f);
}

/* ---- Samplers of diffusers' schedulers, and of flow matching ---- */

static const int step_counts[] = {2, 5, 10};

// All trajectories of a sampler that FILE has in the group; returns how many.
static int check_sampler(gd_fixture *f, const char *file, const char *group, const char *start, gd_sampler_id id) {
  int n = 0;
  for (int i = 0; i < 3; i++) {
    gd_sampling sampling = {.sampler = id, .steps = step_counts[i]};
    char *name = gd_format("%s%s_%d", group, gd_sampler_name(id), sampling.steps);
    bool there = golden_has(file, name);
    if (there) check_trajectory(f, file, start, name, &sampling, NULL);
    n += there;
    gd_free(name);
  }
  return n;
}

static void samplers_of_diffusion_hold(void **state) {
  (void)state;
  static const struct {
    const char *group;
    gd_objective_id prediction;
    bool zero_terminal_snr;
    int n_trajectories;
  } cases[] = {{"epsilon-plain/", GD_OBJECTIVE_epsilon, false, 9},
               {"v-plain/", GD_OBJECTIVE_v, false, 9},
               {"v-zero_snr/", GD_OBJECTIVE_v, true, 6},
               {"x0-plain/", GD_OBJECTIVE_x0, false, 9},
               {"x0-zero_snr/", GD_OBJECTIVE_x0, true, 6}};
  for (int i = 0; i < 5; i++) {
    gd_diffusion diffusion = network_a_diffusion;
    diffusion.prediction = cases[i].prediction;
    diffusion.zero_terminal_snr = cases[i].zero_terminal_snr;
    gd_fixture f = open_fixture(&diffusion, N_IMAGES);
    int n = check_sampler(&f, "samplers.h5", cases[i].group, "x_T", GD_SAMPLER_dpmpp_2m) +
            check_sampler(&f, "samplers.h5", cases[i].group, "x_T", GD_SAMPLER_unipc) +
            check_sampler(&f, "samplers.h5", cases[i].group, "x_T", GD_SAMPLER_heun);
    assert_int_equal(n, cases[i].n_trajectories);
    close_fixture(&f);
  }
}

static void samplers_of_flow_hold(void **state) {
  (void)state;
  gd_fixture f = open_fixture(&network_a_flow, N_IMAGES);
  int n = check_sampler(&f, "flow.h5", "", "x_1", GD_SAMPLER_euler) +
          check_sampler(&f, "flow.h5", "", "x_1", GD_SAMPLER_midpoint) +
          check_sampler(&f, "flow.h5", "", "x_1", GD_SAMPLER_heun);
  assert_int_equal(n, 9);
  close_fixture(&f);
}

// The network at n points of golden/flow.h5 and what it answers there.
static void check_flow_output(gd_fixture *f, const char *x_name, const char *s_name, const char *output_name, int n) {
  int64_t count = n * NETWORK_A_ELEMENTS;
  float *x = golden("flow.h5", x_name, count), *t = golden("flow.h5", s_name, n);
  float *wanted = golden("flow.h5", output_name, count);
  for (int i = 0; i < n; i++) t[i] *= 1000;
  double error =
      relative_error(gd_generator_predict(f->generator, &(gd_generator_input){.n = n, .x = x}, t), wanted, count);
  if (!(error <= 1e-5)) fail_msg("flow.h5 %s differs by %g", output_name, error);
  gd_free(x);
  gd_free(t);
  gd_free(wanted);
}

static void outputs_and_replay_targets_of_flow_hold(void **state) {
  (void)state;
  enum { N_POINTS = 4 };
  gd_fixture f = open_fixture(&network_a_flow, N_POINTS);
  check_flow_output(&f, "x_s", "s", "output", N_POINTS);
  check_flow_output(&f, "replay_x_s", "replay_s", "replay_target_distillation", N_IMAGES);
  float *x = golden("flow.h5", "replay_sample", COUNT), *target = golden("flow.h5", "replay_eps", COUNT);
  float *x_s = golden("flow.h5", "replay_x_s", COUNT), *wanted = golden("flow.h5", "replay_target_replay", COUNT);
  float *s = golden("flow.h5", "replay_s", N_IMAGES);
  for (int i = 0; i < N_IMAGES; i++)
    gd_schedule_noise(f.schedule, (int)lrintf(1000 * s[i]) - 1, NETWORK_A_ELEMENTS, x + i * NETWORK_A_ELEMENTS,
                      target + i * NETWORK_A_ELEMENTS);
  assert_true(relative_error(x, x_s, COUNT) < 1e-5 && relative_error(target, wanted, COUNT) < 1e-5);
  gd_free(x);
  gd_free(target);
  gd_free(x_s);
  gd_free(wanted);
  gd_free(s);
  close_fixture(&f);
}

// The evenly spaced timesteps as a list give the same bits.
static void a_list_replaces_the_steps(void **state) {
  (void)state;
  gd_fixture f = open_fixture(&network_a_diffusion, N_IMAGES);
  gd_sampling steps = {.sampler = GD_SAMPLER_ddim, .steps = 4};
  gd_sampling list = {.sampler = GD_SAMPLER_ddim, .steps = 10, .n_timesteps = 4, .timesteps = {999, 749, 499, 249}};
  gd_sampling later = {.sampler = GD_SAMPLER_ddim, .n_timesteps = 2, .timesteps = {899, 499}};
  float *a = golden("samplers.h5", "x_T", COUNT), *b = golden("samplers.h5", "x_T", COUNT);
  float *c = golden("samplers.h5", "x_T", COUNT);
  gd_generator_sample(f.generator, &steps, &(gd_generator_input){.n = N_IMAGES, .x = a}, NULL);
  gd_generator_sample(f.generator, &list, &(gd_generator_input){.n = N_IMAGES, .x = b}, NULL);
  gd_generator_sample(f.generator, &later, &(gd_generator_input){.n = N_IMAGES, .x = c}, NULL);
  assert_memory_equal(a, b, COUNT * sizeof(float));
  assert_memory_not_equal(a, c, COUNT * sizeof(float));
  gd_free(a);
  gd_free(b);
  gd_free(c);
  close_fixture(&f);
}

// Images do not depend on how many are in the generator's batch: the last, partly filled batch of a sample set gives
// the same bits as a full one.
static void partly_filled_batch_gives_the_same_bits(void **state) {
  (void)state;
  enum { BATCH = 7 };
  gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = 3};
  gd_fixture f = open_fixture(&network_a_diffusion, BATCH);
  float *given = golden("diffusion.h5", "ddim_x_T", N_IMAGES * NETWORK_A_ELEMENTS);
  float *part = GD_NEW_ARRAY(float, N_IMAGES *NETWORK_A_ELEMENTS),
        *full = GD_NEW_ARRAY(float, BATCH *NETWORK_A_ELEMENTS);
  for (int i = 0; i < BATCH; i++)
    memcpy(full + i * NETWORK_A_ELEMENTS, given + i % N_IMAGES * NETWORK_A_ELEMENTS,
           NETWORK_A_ELEMENTS * sizeof(float));
  memcpy(part, given, N_IMAGES * NETWORK_A_ELEMENTS * sizeof(float));
  gd_generator_sample(f.generator, &sampling, &(gd_generator_input){.n = N_IMAGES, .x = part}, NULL);
  gd_generator_sample(f.generator, &sampling, &(gd_generator_input){.n = BATCH, .x = full}, NULL);
  assert_memory_equal(part, full, N_IMAGES * NETWORK_A_ELEMENTS * sizeof(float));
  assert_memory_not_equal(part, given, N_IMAGES * NETWORK_A_ELEMENTS * sizeof(float));
  gd_free(given);
  gd_free(part);
  gd_free(full);
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(deterministic_trajectories_hold),
                                     cmocka_unit_test(trajectory_with_noise_holds),
                                     cmocka_unit_test(samplers_of_diffusion_hold),
                                     cmocka_unit_test(samplers_of_flow_hold),
                                     cmocka_unit_test(outputs_and_replay_targets_of_flow_hold),
                                     cmocka_unit_test(a_list_replaces_the_steps),
                                     cmocka_unit_test(partly_filled_batch_gives_the_same_bits)};
  return GD_TEST_MAIN(tests);
}
