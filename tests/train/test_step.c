/* Corner cases of a step: the loss gradient by finite differences, what all ranks agree on, fewer images than slots,
 * losses that are not finite, and configurations that do not fit. app/test_rank_invariance.sh tests that a step has the
 * same bits on any number of ranks. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support.h"
#include "train/loss.h"
#include "train/trainer.h"

enum { N_IMAGES = 12, SIDE = 8 };

static const char *const text =
    "dataset: {image_size: 8}\n"
    "model: {block_out_channels: [8, 16], attention: [false, true], norm_num_groups: 4}\n"
    "training: {batch_size: 8, slots: 4}\n";

typedef struct gd_fixture {
  gd_config *config;
  gd_dataset dataset;
  gd_trainer *trainer;
  uint32_t indices[N_IMAGES];
} gd_fixture;

// Returns the status of gd_trainer_create; on an error the trainer is NULL.
static gd_err open_fixture(gd_fixture *f, const char *set) {
  *f = (gd_fixture){.dataset = {.n = N_IMAGES, .size = SIDE, .channels = 1, .n_classes = 1}};
  assert_ok(gd_config_create_from_text(&f->config, "test", text, set != NULL, &set));
  f->dataset.images = gd_alloc_zero(N_IMAGES * SIDE * SIDE);
  for (int i = 0; i < N_IMAGES * SIDE * SIDE; i++) f->dataset.images[i] = (uint8_t)(i * 37 % 251);
  for (int i = 0; i < N_IMAGES; i++) f->indices[i] = (uint32_t)i;
  return gd_trainer_create(&f->trainer, test_comm, f->config, &f->dataset);
}

static void close_fixture(gd_fixture *f) {
  gd_trainer_destroy(&f->trainer);
  gd_config_destroy(&f->config);
  gd_free(f->dataset.images);
}

static void begin_task(gd_trainer *trainer, int task) {
  gd_replay_cost pool;
  gd_trainer_begin_task(trainer, task);
  assert_ok(gd_trainer_prepare(trainer, 2, NULL, &pool));
}

static void *copy_params(const gd_fixture *f) {
  size_t nbytes = (size_t)f->trainer->table->total * sizeof(float);
  return memcpy(gd_alloc(nbytes), f->trainer->params, nbytes);
}

/* ---- The loss ---- */

enum { N_ROWS = 5, N_ELEMENTS = 6, N_VALUES = N_ROWS * N_ELEMENTS };

static double loss(gd_loss_part parts[2], const float *output, float *gradient) {
  gd_loss_gradient(2, parts, 1000, output, N_ROWS, gradient);
  return parts[0].factor * parts[0].squares + parts[1].factor * parts[1].squares;
}

static void check_loss_gradient(int replay_row) {
  float output[N_VALUES], gradient[N_VALUES], unused[N_VALUES], targets[2][N_VALUES];
  gd_random key = {.seed = 1, .purpose = GD_RANDOM_NOISE};
  gd_random_normal(key, 0, N_VALUES, output);
  gd_random_normal(key, 1, N_VALUES, targets[0]);
  gd_random_normal(key, 2, N_VALUES, targets[1]);
  double weights[] = {1, 0.25};
  int timesteps[] = {0, 999};
  // the last row is of no part: a slot with fewer images than the plan
  gd_batch current = {.n = 2,
                      .n_elements = N_ELEMENTS,
                      .target = targets[0],
                      .timesteps = timesteps,
                      .weights = weights},
           replayed = current;
  replayed.target = targets[1];
  gd_loss_part parts[] = {{.batch = &current, .factor = 0.25},
                          {.batch = &replayed, .first_row = replay_row, .factor = 0.5}};
  loss(parts, output, gradient);
  const gd_loss_bins *bins = &parts[0].bins;
  assert_true(bins->images[0] == 1 && bins->images[GD_LOSS_BINS - 1] == 1 && bins->images[1] == 0);
  assert_true(fabs(bins->squares[0] + 0.25 * bins->squares[GD_LOSS_BINS - 1] - parts[0].squares) < 1e-12);
  for (int i = 0; i < N_VALUES; i++) {
    const float kept = output[i], h = 0.125f;
    output[i] = kept + h;
    double above = loss(parts, output, unused);
    output[i] = kept - h;
    double below = loss(parts, output, unused);
    output[i] = kept;
    assert_true(fabs((above - below) / (2 * h) - gradient[i]) < 1e-5);  // exact for a quadratic, up to rounding
    if (i >= (replay_row + 2) * N_ELEMENTS) assert_true(gradient[i] == 0);
  }
}

static void loss_gradient_agrees_with_differences(void **state) {
  (void)state;
  check_loss_gradient(2);
  check_loss_gradient(0);  // lwf: the current rows are the replay rows
}

/* ---- The step ---- */

static void all_ranks_learn_of_losses_and_requests(void **state) {
  (void)state;
  gd_fixture f;
  gd_step_metrics metrics;
  assert_ok(open_fixture(&f, "training.reduction=fast"));
  begin_task(f.trainer, 0);
  begin_task(f.trainer, 1);  // with a teacher
  assert_ok(gd_trainer_step(f.trainer, 1, f.indices, 6, 0, &metrics));
  assert_int_equal(metrics.requests, 0);
  // before the step the student equals the teacher: the two agree
  assert_true(metrics.loss_data > 0.1 && metrics.loss_replay < 1e-9);
  assert_true(fabs(metrics.loss - metrics.loss_data / 2) < 1e-6);
  bool last_rank = test_comm->rank == test_comm->size - 1;
  assert_ok(gd_trainer_step(f.trainer, 2, f.indices, 6, last_rank ? GD_REQUEST_STOP : 0, &metrics));
  assert_int_equal(metrics.requests, GD_REQUEST_STOP);
  assert_true(metrics.loss_replay > 0);
  double mine[2] = {metrics.loss, metrics.gradient_norm}, first[2] = {mine[0], mine[1]};
  MPI_Bcast(first, 2, MPI_DOUBLE, 0, test_comm->mpi);
  assert_memory_equal(mine, first, sizeof mine);
  close_fixture(&f);
}

// Two images in four slots: two slots are empty, and the loss is still the mean over the two images.
static void fewer_images_than_slots(void **state) {
  (void)state;
  gd_fixture f;
  gd_step_metrics metrics, again;
  assert_ok(open_fixture(&f, NULL));
  begin_task(f.trainer, 0);
  assert_ok(gd_trainer_step(f.trainer, 1, f.indices, 2, 0, &metrics));
  close_fixture(&f);
  assert_true(metrics.gradient_norm > 0);
  assert_ok(open_fixture(&f, "training.slots=8"));  // six of them empty
  begin_task(f.trainer, 0);
  assert_ok(gd_trainer_step(f.trainer, 1, f.indices, 2, 0, &again));
  assert_true(fabs(metrics.loss - again.loss) < 1e-6);
  assert_true(fabs(metrics.gradient_norm - again.gradient_norm) < 1e-5 * metrics.gradient_norm);
  close_fixture(&f);
}

static void non_finite_loss_changes_nothing(void **state) {
  (void)state;
  gd_fixture f;
  gd_step_metrics metrics;
  assert_ok(open_fixture(&f, NULL));
  f.trainer->params[f.trainer->table->total - 1] = NAN;
  begin_task(f.trainer, 0);
  float *before = copy_params(&f);
  assert_int_equal(gd_trainer_step(f.trainer, 1, f.indices, 6, 0, &metrics), GD_ERR_FAILED);
  assert_non_null(strstr(gd_error_message(), "task 1, step 1: not finite: loss nan"));
  char *arrays = gd_format("gradients of %d of %d parameter arrays, the last of them conv_out.bias",
                           f.trainer->table->n, f.trainer->table->n);
  if (!strstr(gd_error_message(), arrays)) fail_msg("no '%s' in: %s", arrays, gd_error_message());
  gd_free(arrays);
  assert_memory_equal(before, f.trainer->params, (size_t)f.trainer->table->total * sizeof(float));
  gd_free(before);
  close_fixture(&f);
}

static void a_non_finite_step_may_be_skipped(void **state) {
  (void)state;
  gd_fixture f;
  gd_step_metrics metrics;
  assert_ok(open_fixture(&f, "training.nonfinite=skip"));
  begin_task(f.trainer, 0);
  float *last = &f.trainer->params[f.trainer->table->total - 1], kept = *last;
  *last = INFINITY;
  gd_plan_load(gd_trainer_plan(f.trainer), f.trainer->params);
  float *before = copy_params(&f);
  gd_log_setup(test_comm->rank, GD_LOG_ERROR);  // the warning is expected
  assert_ok(gd_trainer_step(f.trainer, 1, f.indices, 6, 0, &metrics));
  gd_log_setup(test_comm->rank, GD_LOG_WARN);
  assert_true(metrics.skipped);
  assert_memory_equal(before, f.trainer->params, (size_t)f.trainer->table->total * sizeof(float));
  *last = kept;
  gd_plan_load(gd_trainer_plan(f.trainer), f.trainer->params);
  assert_ok(gd_trainer_step(f.trainer, 2, f.indices, 6, 0, &metrics));
  assert_false(metrics.skipped);
  assert_memory_not_equal(before, f.trainer->params, (size_t)f.trainer->table->total * sizeof(float));
  gd_free(before);
  close_fixture(&f);
}

// In every task the decay of the average is 2/11 at the first step and approaches training.ema_decay.
static void the_average_warms_up_in_each_task(void **state) {
  (void)state;
  gd_fixture f;
  gd_step_metrics metrics;
  assert_ok(open_fixture(&f, "training.ema_decay=0.25"));
  int64_t n = f.trainer->table->total;
  double *expected = GD_NEW_ARRAY(double, n);
  for (int64_t i = 0; i < n; i++) expected[i] = f.trainer->params[i];
  for (int task = 0; task < 2; task++) {
    static const double decays[] = {2.0 / 11, 0.25, 0.25};  // 3/12 is the first that reaches 0.25
    begin_task(f.trainer, task);
    assert_false(gd_trainer_has_learned(f.trainer));
    for (int step = 1; step <= 3; step++) {
      assert_ok(gd_trainer_step(f.trainer, step, f.indices, 6, 0, &metrics));
      assert_true(gd_trainer_has_learned(f.trainer));
      for (int64_t i = 0; i < n; i++) {
        expected[i] += (1 - decays[step - 1]) * (f.trainer->params[i] - expected[i]);
        if (!(fabs(f.trainer->ema[i] - expected[i]) < 1e-6))
          fail_msg("task %d, step %d, value %d: %g, not %g", task, step, (int)i, f.trainer->ema[i], expected[i]);
      }
    }
  }
  gd_free(expected);
  close_fixture(&f);
}

static void check_teacher(const char *set, gd_teacher teacher, bool averaged) {
  gd_fixture f;
  gd_step_metrics metrics;
  assert_ok(open_fixture(&f, set));
  f.config->strategy.teacher = teacher;
  size_t nbytes = (size_t)f.trainer->table->total * sizeof(float);
  begin_task(f.trainer, 0);
  assert_ok(gd_trainer_step(f.trainer, 1, f.indices, 6, 0, &metrics));
  begin_task(f.trainer, 1);
  if (f.trainer->ema) assert_memory_not_equal(f.trainer->params, f.trainer->ema, nbytes);
  assert_memory_equal(f.trainer->teacher, averaged ? f.trainer->ema : f.trainer->params, nbytes);
  close_fixture(&f);
}

static void the_teacher_is_the_average_or_not(void **state) {
  (void)state;
  check_teacher("training.ema_decay=0.9", GD_TEACHER_EMA, true);
  check_teacher("training.ema_decay=0.9", GD_TEACHER_RAW, false);
  check_teacher("training.ema_decay=0", GD_TEACHER_EMA, false);
}

// The second of the task's two steps has half the learning rate of the first, and no other effect.
static void the_learning_rate_falls(void **state) {
  (void)state;
  double moved[2];
  for (int i = 0; i < 2; i++) {
    gd_fixture f;
    gd_step_metrics metrics;
    assert_ok(open_fixture(&f, i == 0 ? NULL : "training.schedule=linear"));
    begin_task(f.trainer, 0);
    assert_ok(gd_trainer_step(f.trainer, 1, f.indices, 6, 0, &metrics));
    float *before = copy_params(&f);
    assert_ok(gd_trainer_step(f.trainer, 2, f.indices, 6, 0, &metrics));
    moved[i] = 0;
    for (int64_t j = 0; j < f.trainer->table->total; j++) moved[i] += fabs(f.trainer->params[j] - before[j]);
    gd_free(before);
    close_fixture(&f);
  }
  assert_true(fabs(moved[1] / moved[0] - 0.5) < 1e-3);
}

// One bit differs in one rank's parameters, moments or teacher: no checkpoint is written.
static void replicas_that_differ_are_not_saved(void **state) {
  (void)state;
  gd_fixture f;
  uint64_t digest;
  gd_position position = {.step = 1, .global_step = 1};
  char *folder = test_folder_create(), *set = gd_format("output.directory=%s", folder);
  char *checkpoints = gd_format("%s/checkpoints", folder), *path = gd_checkpoint_path(checkpoints, 0, 1);
  assert_ok(open_fixture(&f, set));
  if (test_comm->rank == 0) assert_ok(gd_folder_make(checkpoints));
  MPI_Barrier(test_comm->mpi);
  begin_task(f.trainer, 0);
  begin_task(f.trainer, 1);
  float *const arrays[] = {f.trainer->params, f.trainer->v, f.trainer->teacher};
  for (int i = 0; i < 3 && test_comm->size > 1; i++) {
    uint32_t *word = (uint32_t *)(arrays[i] + f.trainer->table->total / 2);
    bool mine = test_comm->rank == test_comm->size - 1;
    if (mine) *word ^= 1u << 3;
    assert_int_equal(gd_trainer_save(f.trainer, &position, &digest), GD_ERR_FAILED);
    if (mine) *word ^= 1u << 3;
    char *expected = gd_format("of 1 of %d ranks, rank %d the first of them", test_comm->size, test_comm->size - 1);
    if (!strstr(gd_error_message(), expected)) fail_msg("no '%s' in: %s", expected, gd_error_message());
    gd_free(expected);
    assert_null(fopen(path, "r"));
  }
  assert_ok(gd_trainer_save(f.trainer, &position, &digest));
  close_fixture(&f);
  test_folder_remove(folder);
  gd_free(set);
  gd_free(checkpoints);
  gd_free(path);
}

static void configurations_that_do_not_fit(void **state) {
  (void)state;
  gd_fixture f;
  if (test_comm->size > 1) {
    assert_int_equal(open_fixture(&f, "training.slots=1"), GD_ERR_INPUT);
    char *expected = gd_format("%d ranks, but training.slots is 1", test_comm->size);
    assert_non_null(strstr(gd_error_message(), expected));
    gd_free(expected);
    close_fixture(&f);
  }
  gd_config *config;
  const char *sets[] = {"strategy.name=lwf", "replay.batch=5"};
  gd_trainer *trainer;
  assert_ok(gd_config_create_from_text(&config, "test", text, 2, sets));
  assert_int_equal(gd_trainer_create(&trainer, test_comm, config, NULL), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "replay.batch is 5"));
  gd_config_destroy(&config);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(loss_gradient_agrees_with_differences),
                                     cmocka_unit_test(all_ranks_learn_of_losses_and_requests),
                                     cmocka_unit_test(fewer_images_than_slots),
                                     cmocka_unit_test(non_finite_loss_changes_nothing),
                                     cmocka_unit_test(a_non_finite_step_may_be_skipped),
                                     cmocka_unit_test(the_average_warms_up_in_each_task),
                                     cmocka_unit_test(the_teacher_is_the_average_or_not),
                                     cmocka_unit_test(the_learning_rate_falls),
                                     cmocka_unit_test(replicas_that_differ_are_not_saved),
                                     cmocka_unit_test(configurations_that_do_not_fit)};
  return GD_TEST_MAIN(tests);
}
