/* What the solver's methods without generator are made of: weights and answers of LwF, and the Fisher information of
 * its cross entropy, against plain arithmetic on any number of ranks. */
#include <math.h>
#include <string.h>

#include "eval/solver_method.h"
#include "gendistill/model.h"
#include "strategy/regulariser.h"
#include "support.h"

enum { SIDE = 16, N = 70, N_ELEMENTS = SIDE * SIDE, N_CLASSES = 10 };

typedef struct gd_fixture {
  gd_config *config;
  gd_dataset train;
  gd_task_split split;
  gd_net *net;
  gd_plan *plan;
  float *params;
  uint8_t pixels[N * N_ELEMENTS], labels[N];
  double logits[N][N_CLASSES];
} gd_fixture;

// Noise of several levels; image i is of class i % 10, and task 2 has the classes 2 and 6.
static void open_fixture(gd_fixture *f, const char *method) {
  char *set = gd_format("solver.method=%s", method);
  const char *sets[] = {set,
                        "dataset.image_size=16",
                        "tasks.order=[[8, 1, 5], [2, 6], [0, 3]]",
                        "strategy.fisher_images=14",
                        "training.slots=4",
                        "training.batch_size=8"};
  *f = (gd_fixture){0};
  assert_ok(gd_config_create_from_text(&f->config, "test", "", 6, sets));
  for (int i = 0; i < N * N_ELEMENTS; i++)
    f->pixels[i] = (uint8_t)gd_random_below((gd_random){.seed = 3}, (uint64_t)i, 8u << (i / N_ELEMENTS % 6));
  for (int i = 0; i < N; i++) f->labels[i] = (uint8_t)(i % N_CLASSES);
  f->train = (gd_dataset){
      .n = N, .size = SIDE, .channels = 1, .n_classes = N_CLASSES, .images = f->pixels, .labels = f->labels};
  assert_ok(gd_task_split_make(&f->split, &f->config->tasks, 0, N_CLASSES));
  gd_solver_create(&f->net, SIDE, 1, N_CLASSES, false);
  f->params = GD_NEW_ARRAY(float, gd_net_params(f->net)->total);
  gd_param_table_initialise(gd_net_params(f->net), 5, f->params);
  assert_ok(gd_plan_create(&f->plan, f->net, GD_IMAGE_CHUNK, GD_INFERENCE, GD_FLOAT32));
  gd_plan_load(f->plan, f->params);
  gd_free(set);
  float logits[N * N_CLASSES];
  gd_images all = gd_dataset_images(&f->train, 0);
  gd_extract(f->plan, f->net, N, &all, logits);
  for (int i = 0; i < N; i++)
    for (int c = 0; c < N_CLASSES; c++) f->logits[i][c] = logits[i * N_CLASSES + c];
}

static void close_fixture(gd_fixture *f) {
  gd_plan_destroy(&f->plan);
  gd_net_destroy(&f->net);
  gd_config_destroy(&f->config);
  gd_free(f->params);
}

static void weights_are_the_references(void **state) {
  (void)state;
  static const double expected[] = {0, 0.5, 1.33, 2.25, 3.2};
  gd_fixture f;
  open_fixture(&f, "lwf");
  for (int i = 1; i <= 5; i++) assert_true(fabs(gd_solver_distillation_weight(f.config, i) - expected[i - 1]) < 0.005);
  close_fixture(&f);
}

static void answers_are_those_of_the_solver_before(void **state) {
  (void)state;
  static const int earlier[] = {8, 1, 5};
  gd_fixture f;
  gd_solver_answers answers;
  int64_t n;
  open_fixture(&f, "lwf");
  uint32_t *images = gd_solver_images(f.config, &f.train, &f.split, 1, &n);
  assert_int_equal(n, 2 * N / N_CLASSES);  // the task's only
  gd_solver_answers_make(&answers, test_comm, f.config, &f.train, &f.split, 1, f.plan, f.net);
  for (int64_t i = 0; i < n; i++) {
    double total = 0, seen = 0;
    for (int k = 0; k < 3; k++) total += exp(f.logits[images[i]][earlier[k]] / 2);  // solver.temperature
    for (int k = 0; k < 3; k++) {
      double target = answers.targets[i * N_CLASSES + earlier[k]];
      assert_true(fabs(target - exp(f.logits[images[i]][earlier[k]] / 2) / total) < 1e-6);
      assert_true(answers.active[earlier[k]]);
      seen += target;
    }
    assert_true(fabs(seen - 1) < 1e-6 && answers.targets[i * N_CLASSES + 2] == 0);
  }
  assert_false(answers.active[2]);
  gd_solver_answers_clear(&answers);
  gd_free(images);
  close_fixture(&f);
}

// By the last layer's biases, whose gradient is softmax(logits) - label; the images of the task come once each.
static void fisher_information_is_of_the_cross_entropy(void **state) {
  (void)state;
  gd_fixture f;
  gd_regularisation *r;
  int64_t n;
  double expected[N_CLASSES] = {0};
  open_fixture(&f, "ewc");
  const gd_param_table *table = gd_net_params(f.net);
  gd_regulariser_settings settings = gd_solver_regulariser_settings(f.config, f.split.n_tasks);
  uint32_t *images = gd_solver_images(f.config, &f.train, &f.split, 1, &n);
  assert_int_equal(n, settings.fisher_images);
  gd_regularisation_create(&r, &settings, table);
  gd_regularisation_begin_task(r, 1, f.params);
  assert_ok(gd_solver_end_task(r, test_comm, f.config, &f.train, f.net, f.params, 1, images, n));
  for (int64_t i = 0; i < n; i++) {
    const double *logits = f.logits[images[i]];
    double total = 0;
    for (int c = 0; c < N_CLASSES; c++) total += exp(logits[c]);
    for (int c = 0; c < N_CLASSES; c++)
      expected[c] += pow(exp(logits[c]) / total - (c == f.labels[images[i]]), 2) / (double)n;
  }
  const float *fisher = r->arrays[0].values + gd_param_table_find(table, "fc.bias")->offset;
  for (int c = 0; c < N_CLASSES; c++) assert_true(fabs(fisher[c] - expected[c]) < 1e-5 * expected[c]);
  gd_regularisation_destroy(&r);
  gd_free(images);
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_are_the_references),
      cmocka_unit_test(answers_are_those_of_the_solver_before),
      cmocka_unit_test(fisher_information_is_of_the_cross_entropy),
  };
  return GD_TEST_MAIN(tests);
}
