/* Small run folders as `train` writes them, with known numbers, for the tests of the report. */
#ifndef GENDISTILL_TESTS_REPORT_FIXTURE_H
#define GENDISTILL_TESTS_REPORT_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "gendistill/config.h"
#include "gendistill/store.h"
#include "support.h"

enum { FIXTURE_TASKS = 3, FIXTURE_STEPS = 20, FIXTURE_SIZE = 16, FIXTURE_IMAGES = 10 };

typedef struct fixture_run {
  const char *strategy;
  uint64_t seed;
  double frechet, kld, accuracy; /* after the last task; after each earlier task half of it; accuracy < 0: no solver */
  bool evaluated;
} fixture_run;

static void fixture_evaluation(FILE *out, const fixture_run *run, int task, int n_tasks, int seen, double share) {
  const char *quote = run->seed > INT64_MAX ? "\"" : "";  // evaluations write seeds beyond int64 in quotes
  fprintf(
      out,
      "{\"event\": \"evaluation\", \"format\": 2, \"task\": %d, \"n_tasks\": %d, \"tasks_seen\": %d, \"features\": "
      "\"resnet18\", "
      "\"classifier_digest\": \"00ff\", \"classifier_accuracy\": 0.9, \"split\": \"test\", \"n_generated\": %d, "
      "\"sampler\": \"ddim\", \"steps\": 10, \"eta\": 0.0, \"seed\": %s%llu%s, \"ema\": false, \"n_real\": %d, "
      "\"frechet_resnet18\": %.17g, \"frechet_clipped\": 0.5, \"kld\": %.17g, \"absolute_ratio_difference\": 0.25, "
      "\"true_counts\": [10, 10, 10, 10, 10, 10, 0, 0, 0, 0], \"generated_counts\": [4, 6, 0, 0, 0, 0, 0, 0, 0, 0], ",
      task, n_tasks, seen, FIXTURE_IMAGES, quote, (unsigned long long)run->seed, quote, 20 * seen, share * run->frechet,
      share * run->kld);
  fprintf(out, "\"task_classes\": [");
  for (int t = 0; t < seen; t++) fprintf(out, "%s[%d, %d]", t ? ", " : "", 2 * t, 2 * t + 1);
  fprintf(out, "], \"task_share\": [");
  for (int t = 0; t < seen; t++) fprintf(out, "%s%.17g", t ? ", " : "", 1.0 / seen);
  fprintf(out, "], \"task_frechet\": [");
  for (int t = 0; t < seen; t++) fprintf(out, t ? ", null" : "7.5");
  if (run->accuracy < 0) {
    fprintf(out, "]}\n");
    return;
  }
  fprintf(out, "], \"solver\": {\"task_accuracy\": [");
  for (int t = 0; t < seen; t++) fprintf(out, "%s%.17g", t ? ", " : "", share * run->accuracy);
  fprintf(out, "], \"average_accuracy\": %.17g, \"forgetting\": 0.125}}\n", share * run->accuracy);
}

static void fixture_metrics(const char *folder, const fixture_run *run, int n_tasks) {
  char *path = gd_format("%s/metrics.jsonl", folder);
  FILE *out = fopen(path, "w");
  assert_non_null(out);
  int replay_images = strcmp(run->strategy, "lwf") == 0 ? 100 : strncmp(run->strategy, "generative", 10) == 0 ? 50 : 0;
  for (int step = 1; step <= n_tasks * FIXTURE_STEPS; step++) {
    int task = (step - 1) / FIXTURE_STEPS + 1;
    int images = task > 1 ? replay_images : 0;
    fprintf(out,
            "{\"event\": \"step\", \"task\": %d, \"global_step\": %d, \"loss\": %.9g, \"replay_images\": %d, "
            "\"teacher_evaluations\": %d, \"seconds_compute\": 0.5, \"seconds_replay\": 0.25, "
            "\"seconds_reduction\": 0.25, \"seconds_io\": 0.0}\n",
            task, step, 1.0 / step, images, 3 * images);
    bool joint = strcmp(run->strategy, "joint") == 0;
    if (run->evaluated && step % FIXTURE_STEPS == 0)
      fixture_evaluation(out, run, task, n_tasks, joint ? FIXTURE_TASKS : task, task == n_tasks ? 1 : 0.5);
  }
  assert_int_equal(fclose(out), 0);
  gd_free(path);
}

static void fixture_samples(const char *folder, int task, const fixture_run *run) {
  gd_comm *alone;
  uint8_t *images = gd_alloc((size_t)FIXTURE_IMAGES * FIXTURE_SIZE * FIXTURE_SIZE);
  memset(images, 40 * task + (int)run->seed, (size_t)FIXTURE_IMAGES * FIXTURE_SIZE * FIXTURE_SIZE);
  gd_sample_set set = {.n_global = FIXTURE_IMAGES,
                       .h = FIXTURE_SIZE,
                       .w = FIXTURE_SIZE,
                       .c = 1,
                       .sampler = "ddim",
                       .steps = 10,
                       .local = {0, FIXTURE_IMAGES},
                       .images = images};
  char *path = gd_sample_set_path(folder, task), *samples = gd_format("%s/samples", folder);
  assert_ok(gd_folder_make(samples));
  gd_comm_create(&alone, MPI_COMM_SELF);
  assert_ok(gd_sample_set_write(alone, path, &set));
  gd_comm_destroy(&alone);
  gd_free(path);
  gd_free(samples);
  gd_free(images);
}

/* Makes FOLDER/NAME; `setting` (may be NULL): one more override of its configuration. */
static void fixture_make_run(const char *folder, const char *name, const fixture_run *run, const char *setting) {
  gd_config *config;
  char *path = gd_format("%s/%s", folder, name), *yaml = gd_format("%s/config.resolved.yaml", path);
  char *sets[] = {gd_format("strategy.name=%s", run->strategy),
                  gd_format("seed=%llu", (unsigned long long)run->seed),
                  gd_format("output.directory=%s", path),
                  gd_format("dataset.image_size=%d", FIXTURE_SIZE),
                  gd_strdup("tasks.order=[[0, 1], [2, 3], [4, 5]]"),
                  gd_strdup(setting ? setting : "strategy.lambda=1")};
  assert_ok(gd_folder_make(path));
  assert_ok(gd_config_create(&config, NULL, 6, (const char *const *)sets));
  char *text = gd_config_dump(config);
  FILE *out = fopen(yaml, "w");
  assert_non_null(out);
  fputs(text, out);
  assert_int_equal(fclose(out), 0);
  int n_tasks = strcmp(run->strategy, "joint") == 0 ? 1 : FIXTURE_TASKS;
  fixture_metrics(path, run, n_tasks);
  for (int task = 0; task < n_tasks; task++) fixture_samples(path, task, run);
  for (int i = 0; i < 6; i++) gd_free(sets[i]);
  gd_free(text);
  gd_free(yaml);
  gd_free(path);
  gd_config_destroy(&config);
}

#endif
