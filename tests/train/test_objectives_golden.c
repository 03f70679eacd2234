/* The loss of the real training step for each objective and loss weight, and for flow matching, with the draws of
 * golden/objectives.h5 and golden/flow.h5, on any number of ranks. */
#include <math.h>
#include <string.h>

#include "network_a.h"
#include "support.h"
#include "train/trainer.h"

static const char *const text =
    "dataset: {image_size: 16}\n"
    "model: {block_out_channels: [16, 16, 32], attention: [false, false, true], norm_num_groups: 8}\n"
    "strategy: {name: finetune}\n";

enum { MAX_N = 5 };

// `times` are timesteps, or levels s of flow matching.
static void load_timesteps(const char *file, const char *times, int n, int *timesteps) {
  float *t = golden(file, times, n);
  for (int i = 0; i < n; i++) timesteps[i] = (int)lrintf(*times == 's' ? 1000 * t[i] - 1 : t[i]);
  gd_free(t);
}

static double step_loss(const char *file, const char *times, int n, int n_sets, const char *const *sets) {
  gd_config *config;
  gd_trainer *trainer;
  gd_replay_cost pool;
  gd_step_metrics metrics;
  int timesteps[MAX_N];
  static const uint32_t indices[MAX_N] = {0, 1, 2, 3, 4};
  assert_ok(gd_config_create_from_text(&config, "test", text, n_sets, sets));
  assert_ok(gd_trainer_create(&trainer, test_comm, config, NULL));
  gd_trainer_begin_task(trainer, 0);
  assert_int_equal(golden_params("unet.h5", "a/weights", trainer->table, trainer->params), trainer->table->n);
  assert_ok(gd_trainer_prepare(trainer, 1, NULL, &pool));
  float *images = golden(file, "x0", n * NETWORK_A_ELEMENTS), *noise = golden(file, "eps", n * NETWORK_A_ELEMENTS);
  load_timesteps(file, times, n, timesteps);
  gd_step_draws draws = {.images = images, .noise = noise, .timesteps = timesteps};
  trainer->given = &draws;
  assert_ok(gd_trainer_step(trainer, 1, indices, n, 0, &metrics));
  gd_free(images);
  gd_free(noise);
  gd_trainer_destroy(&trainer);
  gd_config_destroy(&config);
  return metrics.loss;
}

static void check_loss(const char *file, const char *path, double loss) {
  float *wanted = golden(file, path, 1);
  if (!(fabs(loss - wanted[0]) <= 1e-5 * wanted[0])) fail_msg("%s %s is %.9g, not %.9g", file, path, loss, wanted[0]);
  gd_free(wanted);
}

static void check_objective(const char *schedule, const char *prediction, const char *weight) {
  const char *zero = strcmp(schedule, "zero_snr") == 0 ? "true" : "false";
  char *sets[] = {gd_format("diffusion.prediction=%s", prediction), gd_format("diffusion.zero_terminal_snr=%s", zero),
                  gd_format("diffusion.loss_weight=%s", weight), gd_strdup("training.batch_size=5"),
                  gd_strdup("training.slots=4")};
  char *path = gd_format("%s/%s/%s", schedule, prediction, strcmp(weight, "none") ? "loss" : "loss_unweighted");
  check_loss("objectives.h5", path, step_loss("objectives.h5", "t", 5, 5, (const char *const *)sets));
  for (int i = 0; i < 5; i++) gd_free(sets[i]);
  gd_free(path);
}

static void losses_of_objectives_hold(void **state) {
  (void)state;
  static const char *const schedules[] = {"plain", "zero_snr"}, *const predictions[] = {"epsilon", "v", "x0"};
  for (int i = 0; i < 6; i++) {
    check_objective(schedules[i / 3], predictions[i % 3], "none");
    check_objective(schedules[i / 3], predictions[i % 3], "min_snr");
  }
}

static void loss_of_flow_matching_holds(void **state) {
  (void)state;
  static const char *const sets[] = {"diffusion.path=flow", "training.batch_size=4", "training.slots=4"};
  check_loss("flow.h5", "loss", step_loss("flow.h5", "s", 4, 3, sets));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(losses_of_objectives_hold),
                                     cmocka_unit_test(loss_of_flow_matching_holds)};
  return GD_TEST_MAIN(tests);
}
