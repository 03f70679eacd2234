/* The choice of images for a balanced pool: equally many of each class, as the solver of the task before labels them.
 */
#include <string.h>

#include "gendistill/learn.h"
#include "gendistill/model.h"
#include "strategy/balance.h"
#include "support.h"

enum { SIDE = 16, N_ELEMENTS = SIDE * SIDE, N = 75, N_CLASSES = 10 };

static void counted(const uint8_t *labels, const uint32_t *chosen, int n, int counts[GD_MAX_CLASSES]) {
  memset(counts, 0, GD_MAX_CLASSES * sizeof *counts);
  for (int i = 0; i < n; i++) {
    if (i > 0) assert_true(chosen[i] > chosen[i - 1]);  // each once
    counts[labels[chosen[i]]]++;
  }
}

static void classes_have_equal_shares_as_far_as_there_are_images(void **state) {
  (void)state;
  static const uint8_t labels[] = {7, 7, 7, 0, 7, 0, 3, 7, 0, 0, 7, 7};  // 4 of class 0, 1 of 3, 7 of 7
  uint32_t chosen[12];
  int counts[GD_MAX_CLASSES];
  gd_balance_pick(labels, 12, 7, chosen);
  counted(labels, chosen, 7, counts);
  assert_int_equal(counts[0], 3);
  assert_int_equal(counts[3], 1);
  assert_int_equal(counts[7], 3);
  assert_int_equal(chosen[0], 0);  // the first of its class
  gd_balance_pick(labels, 12, 11, chosen);
  counted(labels, chosen, 11, counts);
  assert_int_equal(counts[0], 4);
  assert_int_equal(counts[7], 6);
  gd_balance_pick(labels, 12, 12, chosen);
  counted(labels, chosen, 12, counts);
  assert_int_equal(counts[7], 7);
}

typedef struct gd_fixture {
  gd_config *config;
  gd_net *net;
  float *params;
  uint8_t images[N * N_ELEMENTS], labels[N];
  gd_balance all;
} gd_fixture;

// Noise of many levels, and a solver that tells some of it apart.
static void open_fixture(gd_fixture *f, const char *folder) {
  char *directory = gd_format("output.directory=%s", folder);
  const char *sets[] = {directory,
                        "dataset.image_size=16",
                        "replay.source=pool",
                        "replay.pool_balance=solver",
                        "evaluation.measures=true",
                        "tasks.order=[[8, 2, 5], [1, 3]]"};
  assert_ok(gd_config_create_from_text(&f->config, "test", "", 6, sets));
  gd_solver_create(&f->net, SIDE, 1, N_CLASSES, false);
  f->params = GD_NEW_ARRAY(float, gd_net_params(f->net)->total);
  gd_param_table_initialise(gd_net_params(f->net), 5, f->params);
  for (int64_t i = 0; i < gd_net_params(f->net)->total; i++) f->params[i] *= 3;
  for (int i = 0; i < N * N_ELEMENTS; i++) {
    int level = 8 << (i / N_ELEMENTS % 6);
    f->images[i] = (uint8_t)gd_random_below((gd_random){.seed = 3}, (uint64_t)i, (uint32_t)(level < 256 ? level : 256));
  }
  gd_range local = gd_range_images(test_comm, N);
  f->all = (gd_balance){.n = N, .local = local, .images = f->images + local.begin * N_ELEMENTS};
  gd_free(directory);
}

static void store_solver(const gd_fixture *f) {
  gd_checkpoint solver = {.task = 0, .task_done = true, .config_text = gd_strdup(""), .code_version = gd_strdup("")};
  size_t nbytes = (size_t)gd_net_params(f->net)->total * sizeof(float);
  gd_checkpoint_add(&solver, "model", memcpy(gd_alloc(nbytes), f->params, nbytes));
  char *folder = gd_format("%s/solver", f->config->output.directory), *path = gd_solver_path(folder, 0);
  if (test_comm->rank == 0) assert_ok(gd_folder_make(folder));
  assert_ok(gd_checkpoint_write(test_comm, path, gd_net_params(f->net), &solver));
  gd_checkpoint_clear(&solver);
  gd_free(path);
  gd_free(folder);
}

// By this rank alone: which of the first task's classes the solver finds likeliest.
static void label_alone(gd_fixture *f) {
  static const int classes[] = {8, 2, 5};
  gd_plan *plan;
  float logits[N * N_CLASSES];
  gd_images images = {.held = f->images, .held_size = SIDE, .size = SIDE, .channels = 1};
  assert_ok(gd_plan_create(&plan, f->net, GD_IMAGE_CHUNK, GD_INFERENCE, GD_FLOAT32));
  gd_plan_load(plan, f->params);
  gd_extract(plan, f->net, N, &images, logits);
  gd_plan_destroy(&plan);
  for (int i = 0; i < N; i++) {
    f->labels[i] = 8;
    for (int c = 1; c < 3; c++)
      if (logits[i * N_CLASSES + classes[c]] > logits[i * N_CLASSES + f->labels[i]]) f->labels[i] = (uint8_t)classes[c];
  }
}

static void labels_are_those_of_the_solver_before(void **state) {
  (void)state;
  gd_fixture f;
  enum { N_CHOSEN = 20 };
  uint32_t chosen[N_CHOSEN], expected[N_CHOSEN];
  char *folder = test_folder_create();
  open_fixture(&f, folder);
  gd_pool_request request = {.comm = test_comm, .config = f.config, .shape = {.h = SIDE, .w = SIDE, .c = 1}, .task = 1};
  assert_int_equal(gd_balance_choose(&request, &f.all, N_CHOSEN, chosen), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "solver/solver-task01.h5"));  // names the missing file
  store_solver(&f);
  label_alone(&f);
  int counts[GD_MAX_CLASSES] = {0}, n_seen = 0;
  for (int i = 0; i < N; i++) n_seen += counts[f.labels[i]]++ == 0;
  assert_true(n_seen > 1);  // or the choice would be arbitrary
  assert_ok(gd_balance_choose(&request, &f.all, N_CHOSEN, chosen));
  gd_balance_pick(f.labels, N, N_CHOSEN, expected);
  assert_memory_equal(chosen, expected, sizeof chosen);
  gd_net_destroy(&f.net);
  gd_config_destroy(&f.config);
  gd_free(f.params);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(classes_have_equal_shares_as_far_as_there_are_images),
      cmocka_unit_test(labels_are_those_of_the_solver_before),
  };
  return GD_TEST_MAIN(tests);
}
