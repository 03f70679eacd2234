/* DDIM trajectories of golden/diffusion.h5 through a real network: from x_T to x_0 with network a of golden/unet.h5.
 *
 * The first step divides by sqrt(abar + 1e-8) with abar = 0. That enlarges rounding differences by a factor of 10,000,
 * hence the tolerance. */
#include <math.h>
#include <string.h>

#include "generate/generator.h"
#include "network_a.h"
#include "support.h"

enum { N_IMAGES = 2, N_ETA1_STEPS = 5 };

typedef struct gd_fixture {
  gd_net *net;
  gd_schedule *schedule;
  gd_generator *generator;
  float *params;
} gd_fixture;

static gd_fixture open_fixture(int batch) {
  gd_fixture f = {0};
  gd_unet_create(&f.net, &network_a, NETWORK_A_SIZE, 1);
  gd_schedule_create(&f.schedule, &network_a_diffusion);
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

static void check_trajectory(gd_fixture *f, const char *expected_name, int steps, double eta, float *noise) {
  int64_t count = N_IMAGES * NETWORK_A_ELEMENTS;
  float *x = golden("diffusion.h5", "ddim_x_T", count), *expected = golden("diffusion.h5", expected_name, count);
  gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = steps, .eta = eta};
  gd_generator_sample_with(f->generator, &sampling, N_IMAGES, given_noise, noise, x);
  double error = relative_error(x, expected, count);
  print_message("%s: differs by %.2g\n", expected_name, error);
  if (!(error <= 1e-3)) fail_msg("%s: differs by %g", expected_name, error);
  gd_free(x);
  gd_free(expected);
}

static void deterministic_trajectories_hold(void **state) {
  (void)state;
  gd_fixture f = open_fixture(N_IMAGES);
  check_trajectory(&f, "ddim_2", 2, 0.0, NULL);
  check_trajectory(&f, "ddim_10", 10, 0.0, NULL);
  close_fixture(&f);
}

static void trajectory_with_noise_holds(void **state) {
  (void)state;
  gd_fixture f = open_fixture(N_IMAGES);
  float *noise = golden("diffusion.h5", "ddim_5_eta1_noise", N_ETA1_STEPS * N_IMAGES * NETWORK_A_ELEMENTS);
  check_trajectory(&f, "ddim_5_eta1", N_ETA1_STEPS, 1.0, noise);
  gd_free(noise);
  close_fixture(&f);
}

// Images do not depend on how many are in the generator's batch: the last, partly filled batch of a sample set gives
// the same bits as a full one.
static void partly_filled_batch_gives_the_same_bits(void **state) {
  (void)state;
  enum { BATCH = 7 };
  gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = 3};
  gd_fixture f = open_fixture(BATCH);
  float *given = golden("diffusion.h5", "ddim_x_T", N_IMAGES * NETWORK_A_ELEMENTS);
  float *part = GD_NEW_ARRAY(float, N_IMAGES *NETWORK_A_ELEMENTS),
        *full = GD_NEW_ARRAY(float, BATCH *NETWORK_A_ELEMENTS);
  for (int i = 0; i < BATCH; i++)
    memcpy(full + i * NETWORK_A_ELEMENTS, given + i % N_IMAGES * NETWORK_A_ELEMENTS,
           NETWORK_A_ELEMENTS * sizeof(float));
  memcpy(part, given, N_IMAGES * NETWORK_A_ELEMENTS * sizeof(float));
  gd_generator_sample(f.generator, &sampling, N_IMAGES, NULL, part);
  gd_generator_sample(f.generator, &sampling, BATCH, NULL, full);
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
                                     cmocka_unit_test(partly_filled_batch_gives_the_same_bits)};
  return GD_TEST_MAIN(tests);
}
