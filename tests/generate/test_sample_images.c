/* A set of images by several networks: image i is the one that network i % n makes alone, on any number of ranks. */
#include <string.h>

#include "gendistill/generate.h"
#include "network_a.h"
#include "support.h"

enum { N = 75, ELEMENTS = NETWORK_A_ELEMENTS, N_NETWORKS = 3 };

// Images first .. first + n - 1 on this rank, and their places.
static uint8_t *sample(const gd_net *net, const gd_schedule *schedule, int n_networks, const float *const *networks,
                       int64_t first) {
  gd_generator *generator;
  gd_label_cycle labels = {.n = 0};
  gd_sampling sampling = {.sampler = GD_SAMPLER_ddim, .steps = 2, .eta = 0.5};
  gd_random key = {.seed = 5, .purpose = GD_RANDOM_SAMPLE_START},
            noise = {.seed = 5, .purpose = GD_RANDOM_SAMPLE_NOISE};
  gd_sample_request request = {.sampling = &sampling,
                               .shape = gd_net_shape(net, 0),
                               .start = key,
                               .noise = noise,
                               .labels = &labels,
                               .n_networks = n_networks > 1 ? n_networks : 0,
                               .networks = networks,
                               .first = first,
                               .n_global = N};
  uint8_t *images = gd_alloc_zero(N * ELEMENTS);
  int64_t n_done;
  assert_ok(gd_generator_create(&generator, net, schedule, GD_IMAGE_CHUNK, GD_FLOAT32));
  gd_generator_load(generator, networks[0]);
  assert_ok(gd_sample_images(test_comm, generator, &request, images, NULL, &n_done));
  gd_range local = gd_range_images(test_comm, N);
  assert_int_equal(n_done, local.end - local.begin);
  gd_generator_destroy(&generator);
  return images;
}

static void networks_take_turns(void **state) {
  (void)state;
  enum { FIRST = 7 };
  gd_net *net;
  gd_schedule *schedule;
  gd_unet_create(&net, &network_a, NETWORK_A_SIZE, 1);
  gd_schedule_create(&schedule, &network_a_diffusion);
  const gd_param_table *table = gd_net_params(net);
  float *networks[N_NETWORKS];
  uint8_t *alone[N_NETWORKS];
  for (int k = 0; k < N_NETWORKS; k++) {
    networks[k] = GD_NEW_ARRAY(float, table->total);
    gd_param_table_initialise(table, (uint64_t)k + 1, networks[k]);
    alone[k] = sample(net, schedule, 1, (const float *const *)&networks[k], FIRST);
  }
  uint8_t *together = sample(net, schedule, N_NETWORKS, (const float *const *)networks, FIRST);
  gd_range local = gd_range_images(test_comm, N);
  for (int64_t row = 0; row < local.end - local.begin; row++)
    for (int k = 0; k < N_NETWORKS; k++) {
      bool same = memcmp(together + row * ELEMENTS, alone[k] + row * ELEMENTS, ELEMENTS) == 0;
      assert_true(same == ((FIRST + local.begin + row) % N_NETWORKS == k));
    }
  for (int k = 0; k < N_NETWORKS; k++) {
    gd_free(networks[k]);
    gd_free(alone[k]);
  }
  gd_free(together);
  gd_schedule_destroy(&schedule);
  gd_net_destroy(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(networks_take_turns)};
  return GD_TEST_MAIN(tests);
}
