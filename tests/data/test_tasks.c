/* Classes to tasks, a task's images, epoch order, and an image as floats. */
#include <string.h>

#include "gendistill/data.h"
#include "gendistill/strategy.h"
#include "support.h"

static gd_config *config_of(const char *text) {
  gd_config *config = NULL;
  assert_ok(gd_config_create_from_text(&config, "test.yaml", text, 0, NULL));
  return config;
}

static gd_task_split *split_of(const gd_config *config) {
  gd_task_split *split = GD_NEW(gd_task_split);
  assert_ok(gd_task_split_make(split, &config->tasks, config->seed, 10));
  return split;
}

static void seeded_split_is_a_partition(void **state) {
  (void)state;
  gd_config *config = config_of("seed: 3");
  gd_task_split *split = split_of(config);
  int seen[10] = {0};
  assert_int_equal(split->n_tasks, 5);
  for (int t = 0; t < 5; t++) {
    assert_int_equal(split->n_classes[t], 2);
    for (int i = 0; i < 2; i++) {
      assert_in_range(split->classes[t][i], 0, 9);
      seen[split->classes[t][i]]++;
    }
  }
  for (int c = 0; c < 10; c++) assert_int_equal(seen[c], 1);
  gd_free(split);
  gd_config_destroy(&config);
}

static void split_follows_the_seed(void **state) {
  (void)state;
  gd_config *config = config_of("seed: 3"), *other = config_of("seed: 4");
  gd_task_split *a = split_of(config), *b = split_of(config), *c = split_of(other);
  assert_memory_equal(a, b, sizeof *a);
  assert_true(memcmp(a, c, sizeof *a) != 0);
  gd_free(a);
  gd_free(b);
  gd_free(c);
  gd_config_destroy(&config);
  gd_config_destroy(&other);
}

static void listed_split_is_as_listed(void **state) {
  (void)state;
  gd_config *config = config_of("tasks: {order: [[7, 2], [0, 5, 1]]}");
  gd_task_split *split = split_of(config);
  assert_int_equal(split->n_tasks, 2);
  assert_int_equal(split->n_classes[1], 3);
  assert_int_equal(split->classes[0][0], 7);
  assert_int_equal(split->classes[1][2], 1);
  gd_free(split);
  gd_config_destroy(&config);
}

// The configuration checks ten classes; these are checks for other numbers of classes.
static void impossible_splits_are_refused(void **state) {
  (void)state;
  gd_task_split *split = GD_NEW(gd_task_split);
  gd_config *config = config_of("tasks: {order: [[0, 7], [1]]}");
  assert_int_equal(gd_task_split_make(split, &config->tasks, config->seed, 7), GD_ERR_INPUT);
  assert_string_equal(gd_error_message(), "key 'tasks.order': class 7 does not exist, there are 0 to 6");
  config->tasks.classes[1][0] = 0;
  assert_int_equal(gd_task_split_make(split, &config->tasks, config->seed, 10), GD_ERR_INPUT);
  assert_string_equal(gd_error_message(), "key 'tasks.order': class 0 is listed twice");
  gd_config_destroy(&config);
  config = config_of("");
  assert_int_equal(gd_task_split_make(split, &config->tasks, config->seed, 12), GD_ERR_INPUT);
  assert_string_equal(gd_error_message(), "key 'tasks.count': 12 classes cannot be divided into 5 equal tasks");
  gd_config_destroy(&config);
  gd_free(split);
}

enum { N = 1000 };
static uint8_t labels[N];

static gd_dataset labelled(void) {
  for (int i = 0; i < N; i++) labels[i] = (uint8_t)(i * 7 % 10);
  return (gd_dataset){.n = N, .n_classes = 10, .labels = labels};
}

// Checks that the indices ascend and that every label is from `first` to n_classes - 1; returns how many there are.
static int64_t check_indices(const char *text, int task, int first, int n_classes, uint32_t **out) {
  gd_dataset dataset = labelled();
  gd_config *config = config_of(text);
  gd_task_split *split = split_of(config);
  int64_t n = 0;
  uint32_t *indices = gd_strategy_images(config, &dataset, split, task, &n);
  for (int64_t i = 0; i < n; i++) {
    assert_true(indices[i] < N && (i == 0 || indices[i] > indices[i - 1]));
    assert_in_range(labels[indices[i]], first, n_classes - 1);
  }
  gd_free(split);
  gd_config_destroy(&config);
  if (out)
    *out = indices;
  else
    gd_free(indices);
  return n;
}

#define LISTED "tasks: {order: [[0, 1], [2, 3], [4, 5, 6], [9]]}\n"

static void a_task_has_its_classes(void **state) {
  (void)state;
  assert_int_equal(check_indices(LISTED, 0, 0, 2, NULL), 200);
  assert_int_equal(check_indices(LISTED, 2, 4, 7, NULL), 300);
  assert_int_equal(check_indices(LISTED "strategy: {name: cumulative}", 0, 0, 2, NULL), 200);
  assert_int_equal(check_indices(LISTED "strategy: {name: cumulative}", 2, 0, 7, NULL), 700);
  assert_int_equal(check_indices(LISTED "strategy: {name: joint}", 0, 0, 10, NULL), 800);
}

static void limit_holds_for_each_task(void **state) {
  (void)state;
  assert_int_equal(check_indices(LISTED "dataset: {limit: 30}", 2, 4, 7, NULL), 30);
  assert_int_equal(check_indices(LISTED "dataset: {limit: 150}", 3, 9, 10, NULL), 100);
  assert_int_equal(check_indices(LISTED "dataset: {limit: 150}\nstrategy: {name: cumulative}", 1, 0, 4, NULL), 300);
  assert_int_equal(check_indices(LISTED "dataset: {limit: 150}\nstrategy: {name: joint}", 0, 0, 10, NULL), 550);
}

static void limit_chooses_by_the_seed(void **state) {
  (void)state;
  uint32_t *a, *b, *c, *all;
  int64_t n = check_indices(LISTED "dataset: {limit: 50}", 0, 0, 2, &a);
  check_indices(LISTED "dataset: {limit: 50}\nstrategy: {name: finetune}", 0, 0, 2, &b);
  check_indices("seed: 1\n" LISTED "dataset: {limit: 50}", 0, 0, 2, &c);
  check_indices(LISTED, 0, 0, 2, &all);
  assert_int_equal(n, 50);
  assert_memory_equal(a, b, 50 * sizeof *a);
  assert_true(memcmp(a, c, 50 * sizeof *a) != 0);
  assert_true(memcmp(a, all, 50 * sizeof *a) != 0);  // not simply the first ones
  gd_free(a);
  gd_free(b);
  gd_free(c);
  gd_free(all);
}

// With a limit, joint training has the same images as all tasks together.
static void joint_has_the_tasks_choices(void **state) {
  (void)state;
  uint32_t *joint, *task;
  int64_t n = check_indices(LISTED "dataset: {limit: 20}\nstrategy: {name: joint}", 0, 0, 10, &joint);
  assert_int_equal(n, 80);
  bool chosen[N] = {false};
  for (int64_t i = 0; i < n; i++) chosen[joint[i]] = true;
  for (int t = 0; t < 4; t++) {
    int64_t n_task = check_indices(LISTED "dataset: {limit: 20}", t, 0, 10, &task);
    assert_int_equal(n_task, 20);
    for (int64_t i = 0; i < n_task; i++) assert_true(chosen[task[i]]);
    gd_free(task);
  }
  gd_free(joint);
}

static void epoch_order_is_a_permutation(void **state) {
  (void)state;
  uint32_t order[N], other[N];
  int seen[N] = {0};
  gd_epoch_order(42, 1, 2, N, order);
  for (int i = 0; i < N; i++) {
    assert_true(order[i] < N);
    seen[order[i]]++;
  }
  for (int i = 0; i < N; i++) assert_int_equal(seen[i], 1);
  gd_epoch_order(42, 1, 2, N, other);
  assert_memory_equal(order, other, sizeof order);
  gd_epoch_order(42, 1, 3, N, other);
  assert_true(memcmp(order, other, sizeof order) != 0);
  gd_epoch_order(42, 2, 2, N, other);
  assert_true(memcmp(order, other, sizeof order) != 0);
  gd_epoch_order(43, 1, 2, N, other);
  assert_true(memcmp(order, other, sizeof order) != 0);
  gd_epoch_order(42, 0, 0, 0, NULL);
}

static void an_image_is_floats_from_minus_1_to_1(void **state) {
  (void)state;
  uint8_t images[] = {9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0, 255, 51, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  gd_dataset dataset = {.n = 2, .size = 2, .channels = 3, .images = images};
  float out[12], mirrored[12];
  gd_dataset_image(&dataset, 1, false, out);
  assert_true(out[0] == -1.0f && out[1] == 1.0f);
  assert_true(out[2] > -0.60001f && out[2] < -0.59999f);
  gd_dataset_image(&dataset, 1, true, mirrored);
  for (int y = 0; y < 2; y++)
    for (int x = 0; x < 2; x++)
      for (int c = 0; c < 3; c++) assert_true(mirrored[(y * 2 + x) * 3 + c] == out[(y * 2 + 1 - x) * 3 + c]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(seeded_split_is_a_partition),  cmocka_unit_test(split_follows_the_seed),
      cmocka_unit_test(listed_split_is_as_listed),    cmocka_unit_test(impossible_splits_are_refused),
      cmocka_unit_test(a_task_has_its_classes),       cmocka_unit_test(limit_holds_for_each_task),
      cmocka_unit_test(limit_chooses_by_the_seed),    cmocka_unit_test(joint_has_the_tasks_choices),
      cmocka_unit_test(epoch_order_is_a_permutation), cmocka_unit_test(an_image_is_floats_from_minus_1_to_1),
  };
  return GD_TEST_MAIN(tests);
}
