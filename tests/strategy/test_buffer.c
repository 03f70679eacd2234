/* The buffer of experience replay: which images it keeps, and what a step replays of them. */
#include <math.h>
#include <string.h>

#include "strategy/buffer.h"
#include "support.h"

enum { N_IMAGES = 600, SIZE = 8, N_ELEMENTS = SIZE * SIZE };

typedef struct buffer_fixture {
  gd_config *config;
  gd_dataset dataset;
} buffer_fixture;

// Image i is all i % 251; its class is i % 10, but only images below 20 are of class 9.
static void open_fixture(buffer_fixture *f, const char *text) {
  assert_ok(gd_config_create_from_text(&f->config, "test", text, 0, NULL));
  f->dataset = (gd_dataset){.n = N_IMAGES, .size = SIZE, .channels = 1, .n_classes = 10};
  f->dataset.images = gd_alloc(N_IMAGES * N_ELEMENTS);
  f->dataset.labels = gd_alloc(N_IMAGES);
  for (int i = 0; i < N_IMAGES; i++) {
    memset(f->dataset.images + i * N_ELEMENTS, i % 251, N_ELEMENTS);
    f->dataset.labels[i] = (uint8_t)(i % 10 == 9 && i >= 20 ? 8 : i % 10);
  }
}

static void close_fixture(buffer_fixture *f) {
  gd_config_destroy(&f->config);
  gd_free(f->dataset.images);
  gd_free(f->dataset.labels);
}

static const char *const in_order =
    "dataset: {image_size: 8}\nmodel: {block_out_channels: [8, 16], attention: [false, true], norm_num_groups: 4}\n"
    "tasks: {order: [[0, 9], [2, 3], [4, 5], [6, 7], [8, 1]]}\nstrategy: {name: experience_replay}\n"
    "training: {batch_size: 8, slots: 2}\n";

// The buffer before task `task` (from 1) with `images` for the key; its size goes to *n.
static uint32_t *choose(const char *images, int task, uint32_t *n, int counts[10]) {
  buffer_fixture f;
  char *text = gd_format("%sreplay: {%s}\n", in_order, images);
  open_fixture(&f, text);
  uint32_t *chosen = gd_buffer_choose(f.config, &f.dataset, task, n);
  memset(counts, 0, 10 * sizeof *counts);
  for (uint32_t i = 0; i < *n; i++) {
    assert_true(i == 0 || chosen[i] > chosen[i - 1]);
    counts[f.dataset.labels[chosen[i]]]++;
  }
  close_fixture(&f);
  gd_free(text);
  return chosen;
}

static bool holds(const uint32_t *images, uint32_t n, uint32_t image) {
  for (uint32_t i = 0; i < n; i++)
    if (images[i] == image) return true;
  return false;
}

static void classes_share_the_buffer(void **state) {
  (void)state;
  uint32_t n, n_later;
  int counts[10];
  uint32_t *first = choose("buffer_images: 23", 2, &n, counts);  // 5 of each of 4 classes, but class 9 has only 2
  assert_true(counts[0] == 5 && counts[9] == 2 && counts[2] == 5 && counts[3] == 5 && n == 17);
  uint32_t *later = choose("buffer_images: 23", 4, &n_later, counts);  // 2 of each of 8 classes
  assert_true(counts[0] == 2 && counts[9] == 2 && counts[7] == 2 && counts[8] == 0 && n_later == 16);
  // what a class keeps when it has to share is what it had
  for (uint32_t i = 0; i < n_later; i++)
    if (later[i] % 10 == 0 || later[i] % 10 == 2) assert_true(holds(first, n, later[i]));
  gd_free(first);
  gd_free(later);
}

static void a_class_has_its_own_number(void **state) {
  (void)state;
  uint32_t n;
  int counts[10];
  uint32_t *chosen = choose("buffer_images: 7, buffer_per: class", 3, &n, counts);
  assert_true(counts[0] == 7 && counts[9] == 2 && counts[4] == 7 && counts[6] == 0 && n == 37);
  gd_free(chosen);
}

// The choice follows from the seed, and stays within the images that the run trains on.
static void seed_and_limit_count(void **state) {
  (void)state;
  uint32_t n[3];
  int counts[10];
  uint32_t *chosen[3];
  for (int i = 0; i < 2; i++) {
    buffer_fixture f;
    char *text = gd_format("%sseed: %d\n", in_order, i + 1);
    open_fixture(&f, text);
    f.config->replay.buffer_images = 40;
    chosen[i] = gd_buffer_choose(f.config, &f.dataset, 1, &n[i]);
    if (i == 1) {
      int64_t n_trained;
      f.config->dataset.limit = 12;
      gd_task_split split;
      assert_ok(gd_task_split_make(&split, &f.config->tasks, f.config->seed, 10));
      gd_task_choice choice = {.scope = GD_DATA_TASK, .limit = 12, .seed = f.config->seed};
      uint32_t *trained = gd_task_indices(&f.dataset, &split, choice, 0, &n_trained);
      chosen[2] = gd_buffer_choose(f.config, &f.dataset, 1, &n[2]);
      assert_true(n_trained == 12 && n[2] <= 12 && n[2] > 6);
      for (uint32_t k = 0; k < n[2]; k++) assert_true(holds(trained, 12, chosen[2][k]));
      gd_free(trained);
    }
    close_fixture(&f);
    gd_free(text);
  }
  assert_true(n[0] == n[1] && memcmp(chosen[0], chosen[1], n[0] * sizeof(uint32_t)) != 0);
  for (int i = 0; i < 3; i++) gd_free(chosen[i]);
  gd_free(choose("buffer_images: 40", 1, &n[0], counts));
}

/* ---- Steps ---- */

// Three steps of 8 images go through a buffer of 12 twice: each image twice, noised as the equation says.
static void steps_go_through_the_buffer(void **state) {
  (void)state;
  enum { BATCH = 8, STEPS = 3, KEPT = 12 };
  buffer_fixture f;
  char *text = gd_format("%sreplay: {buffer_images: 12}\n", in_order);
  open_fixture(&f, text);
  uint32_t n;
  uint32_t *kept = gd_buffer_choose(f.config, &f.dataset, 3, &n);  // 2 of each of 6 classes
  assert_int_equal(n, KEPT);
  gd_net *net;
  gd_schedule *schedule;
  gd_replay *replay;
  gd_model_create(&net, f.config);
  gd_schedule_create(&schedule, &f.config->diffusion);
  gd_replay_setting setting = {.comm = test_comm,
                               .config = f.config,
                               .dataset = &f.dataset,
                               .schedule = schedule,
                               .net = net,
                               .task = 3,
                               .n_steps = STEPS};
  assert_ok(gd_replay_create(&replay, &setting, BATCH));
  assert_null(gd_replay_teacher(replay));
  int timesteps[BATCH], seen[N_IMAGES] = {0};
  float noise[BATCH * N_ELEMENTS], x[BATCH * N_ELEMENTS], t[BATCH];
  for (int i = 0; i < BATCH; i++) timesteps[i] = 100 * i;
  for (int i = 0; i < BATCH * N_ELEMENTS; i++) noise[i] = (float)(i % 7) - 3;
  gd_replay_draws draws = {.timesteps = timesteps, .noise = noise};
  gd_batch batch = gd_batch_make(BATCH, N_ELEMENTS);
  batch.x = x;
  batch.t = t;
  for (int step = 1; step <= STEPS; step++) {
    gd_replay_give(replay, &draws);
    gd_replay_step present = {.number = step, .n_current = BATCH};
    assert_int_equal(gd_replay_begin_step(replay, &present), BATCH);
    gd_replay_fill(replay, (gd_range){0, 3}, &batch);  // as two ranks would
    float first[3 * N_ELEMENTS];
    memcpy(first, x, sizeof first);
    gd_replay_fill(replay, (gd_range){0, BATCH}, &batch);
    assert_memory_equal(first, x, sizeof first);
    for (int i = 0; i < BATCH; i++) {
      gd_noise_level level = gd_schedule_level(schedule, timesteps[i]);
      int64_t at = i * N_ELEMENTS;
      double value = ((double)x[at] - level.sigma * noise[at]) / level.alpha;  // x_0
      long byte = lround((value + 1) * 127.5);
      bool found = false;
      for (int k = 0; k < KEPT; k++)
        if (kept[k] % 251 == (uint32_t)byte) {
          seen[kept[k]]++;
          found = true;
        }
      assert_true(found);
      for (int e = 0; e < N_ELEMENTS; e++) {
        double expected = level.alpha * ((double)byte / 127.5 - 1) + (double)level.sigma * noise[at + e];
        assert_true(fabs(x[at + e] - expected) < 1e-5 && batch.target[at + e] == noise[at + e]);
      }
    }
  }
  for (int k = 0; k < KEPT; k++) assert_int_equal(seen[kept[k]], 2);
  gd_batch_clear(&batch);
  gd_replay_destroy(&replay);
  gd_schedule_destroy(&schedule);
  gd_net_destroy(&net);
  gd_free(kept);
  close_fixture(&f);
  gd_free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(classes_share_the_buffer),
      cmocka_unit_test(a_class_has_its_own_number),
      cmocka_unit_test(seed_and_limit_count),
      cmocka_unit_test(steps_go_through_the_buffer),
  };
  return GD_TEST_MAIN(tests);
}
