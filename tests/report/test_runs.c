/* The report: means and errors computed by hand, groups, pictures, and refused runs. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gendistill/report.h"
#include "report_fixture.h"

static const fixture_run runs[] = {{"finetune", 1, 40, 2, 0.2, true},
                                   {"joint", 1, 4, 0.02, 0.9, true},
                                   {"joint", 2, 5, 0.04, 0.8, true},
                                   {"lwf", 1, 20, 1, 0.5, true},
                                   {"lwf", 2, 26, 1.5, 0.75, true},
                                   {"generative_distillation", 1, 1000, 4, 0.25, true},
                                   {"generative_distillation", 2, 1300, 5, 0.5, true}};
enum { N_RUNS = sizeof runs / sizeof *runs };

static char *read_text(const char *folder, const char *name) {
  char *path = gd_format("%s/%s", folder, name);
  FILE *file = fopen(path, "r");
  if (!file) fail_msg("%s was not written", path);
  char *text = gd_alloc_zero(1 << 18);
  assert_true(fread(text, 1, (1 << 18) - 1, file) > 0);
  fclose(file);
  gd_free(path);
  return text;
}

static void contains(const char *text, const char *what) {
  if (!strstr(text, what)) fail_msg("no '%s' in:\n%s", what, text);
}

// Makes the runs and reports them to FOLDER/report.
static void report_all(const char *folder) {
  const char *paths[N_RUNS];
  for (int i = 0; i < N_RUNS; i++) {
    char *name = gd_format("%s-%d", runs[i].strategy, (int)runs[i].seed);
    fixture_make_run(folder, name, &runs[i], NULL);
    paths[i] = gd_format("%s/%s", folder, name);
    gd_free(name);
  }
  char *directory = gd_format("%s/report", folder);
  assert_ok(gd_report_write(N_RUNS, paths, directory));
  for (int i = 0; i < N_RUNS; i++) gd_free((char *)paths[i]);
  gd_free(directory);
}

// In the name of a folder, and in the label of a group with a text setting.
static void marks_in_names_do_not_break_tables(void **state) {
  (void)state;
  static const fixture_run run = {"lwf", 1, 40, 2, 0.2, true};
  char *folder = test_folder_create(), *directory = gd_format("%s/report", folder);
  fixture_make_run(folder, "a|b", &run, "evaluation.inception_weights=w|1");
  fixture_make_run(folder, "*c*", &run, "evaluation.inception_weights=w2");
  const char *paths[] = {gd_format("%s/a|b", folder), gd_format("%s/*c*", folder)};
  assert_ok(gd_report_write(2, paths, directory));
  char *text = read_text(folder, "report/report.md");
  contains(text, "/a\\|b |");
  contains(text, "/\\*c\\* |");
  contains(text, "| lwf evaluation.inception_weights=\"w\\|1\" | **40.00** |");
  gd_free(text);
  text = read_text(folder, "report/report.csv");
  contains(text, "lwf,\"lwf evaluation.inception_weights=\"\"w|1\"\"\",1,");
  gd_free(text);
  for (int i = 0; i < 2; i++) gd_free((char *)paths[i]);
  gd_free(directory);
  test_folder_remove(folder);
}

static void tables_hold_means_and_errors(void **state) {
  (void)state;
  char *folder = test_folder_create();
  report_all(folder);
  char *text = read_text(folder, "report/report.md");
  // joint: 4.5 +- sqrt(0.5 / 2), ACC 85 +- 5; lwf: 23 +- 3, 1.25 +- 0.25; finetune: one seed
  contains(text, "| joint | **4.500** ± 0.500 | **0.030** ± 0.010 | **0.250** ± 0.000 | **85.0** ± 5.0 |");
  contains(text, "| lwf | 23.00 ± 3.00 | 1.250 ± 0.250 |");
  contains(text, "| finetune | 40.00 | 2.000 |");
  contains(text, "| lwf | 11.50 ± 1.50 | 11.50 ± 1.50 | 23.00 ± 3.00 |");
  contains(text, "| joint | - | - | 4.500 ± 0.500 |");
  contains(text, "| after 2 | 50.0 ± 0.0 | 50.0 ± 0.0 | - |");
  contains(text, "| generative_distillation | 1150 ± 150 | 4.500 ± 0.500 |");
  contains(text, "| images | T-shirt | Trouser |");
  contains(text, "| *test images* | 10 | 10 |");
  contains(text, "| finetune | 60 | 128.0 | 0 | 0 | 0 | 30.0 | 15.0 | 0.0 | 15.0 | 0.0 |");
  assert_true(strstr(text, "| joint |") < strstr(text, "| lwf |") &&
              strstr(text, "| lwf |") < strstr(text, "| finetune |"));
  contains(text, "| lwf | 60 | 128.0 | 4000 | 12000 | 0 | 30.0 |");
  assert_null(strstr(text, "cannot be compared"));
  gd_free(text);
  text = read_text(folder, "report/report.csv");
  contains(text, "strategy,label,seed,task,metric,value\n");
  contains(text, "lwf,\"lwf\",2,3,frechet_resnet18,26\n");
  contains(text, "lwf,\"lwf\",2,2,solver.task_accuracy.1,0.375\n");
  contains(text, "lwf,\"lwf\",2,0,teacher_evaluations,12000\n");
  gd_free(text);
  test_folder_remove(folder);
}

static void assert_png(const char *folder, const char *name, int width, int height) {
  char *path = gd_format("%s/report/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (!file) fail_msg("%s was not drawn", path);
  unsigned char head[24];
  assert_int_equal(fread(head, 1, sizeof head, file), sizeof head);
  assert_memory_equal(head, "\x89PNG", 4);
  assert_int_equal(head[18] << 8 | head[19], width);
  assert_int_equal(head[22] << 8 | head[23], height);
  fclose(file);
  gd_free(path);
}

static void pictures_are_drawn(void **state) {
  (void)state;
  char *folder = test_folder_create();
  report_all(folder);
  assert_png(folder, "loss.png", 1100, 650);
  assert_png(folder, "metrics.png", 1200, 1016);
  assert_png(folder, "classes.png", 1200, 620);
  assert_png(folder, "grid.png", 667, 382);
  assert_png(folder, "cost.png", 1200, 596);
  char *text = read_text(folder, "report/report.md");
  contains(text, "(metrics.png)");
  gd_free(text);
  test_folder_remove(folder);
}

// Of two seeds with a gap each; a later line counts; a run without such lines is left out.
static void errors_are_drawn_by_timestep(void **state) {
  (void)state;
  static const fixture_run runs_here[] = {
      {"lwf", 1, 40, 2, 0.2, true}, {"lwf", 2, 40, 2, 0.2, true}, {"finetune", 1, 40, 2, 0.2, true}};
  static const char *const lines[] = {
      "{\"event\": \"loss_by_timestep\", \"task\": 1, \"data\": [9, 9, 9, 9]}\n"
      "{\"event\": \"loss_by_timestep\", \"task\": 3, \"data\": [1, 2, null, null], \"replay\": [0.5, 1, 1, 1]}\n",
      "{\"event\": \"loss_by_timestep\", \"task\": 3, \"data\": [3, null, 6, null], \"replay\": [0.5, 1, 1, 1]}\n", ""};
  char *folder = test_folder_create(), *directory = gd_format("%s/report", folder), *paths[3];
  for (int i = 0; i < 3; i++) {
    char *name = gd_format("run-%d", i);
    fixture_make_run(folder, name, &runs_here[i], NULL);
    paths[i] = gd_format("%s/%s", folder, name);
    char *metrics = gd_format("%s/metrics.jsonl", paths[i]);
    FILE *file = fopen(metrics, "a");
    assert_non_null(file);
    fputs(lines[i], file);
    assert_int_equal(fclose(file), 0);
    gd_free(metrics);
    gd_free(name);
  }
  assert_ok(gd_report_write(3, (const char *const *)paths, directory));
  char *text = read_text(folder, "report/timesteps.dat");
  contains(text, "0.125 2 0.5\n0.375 2 1\n0.625 6 1\n0.875 ? 1\n");
  gd_free(text);
  assert_png(folder, "timesteps.png", 1200, 568);
  for (int i = 0; i < 3; i++) gd_free(paths[i]);
  gd_free(directory);
  test_folder_remove(folder);
}

static void without_gnuplot_there_are_tables(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_strdup(getenv("PATH"));
  setenv("PATH", folder, 1);
  report_all(folder);
  setenv("PATH", path, 1);
  char *text = read_text(folder, "report/report.md");
  contains(text, "| lwf | 23.00 ± 3.00 |");
  assert_null(strstr(text, ".png"));
  gd_free(text);
  gd_free(path);
  test_folder_remove(folder);
}

static void append(const char *folder, const char *run, const char *text) {
  char *path = gd_format("%s/%s/metrics.jsonl", folder, run);
  FILE *file = fopen(path, "a");
  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
  gd_free(path);
}

// Reports the runs FOLDER/a, b, ... and returns report.md.
static char *report_first(const char *folder, int n) {
  char *paths[8], *directory = gd_format("%s/report", folder);
  for (int i = 0; i < n; i++) paths[i] = gd_format("%s/%c", folder, 'a' + i);
  assert_ok(gd_report_write(n, (const char *const *)paths, directory));
  for (int i = 0; i < n; i++) gd_free(paths[i]);
  gd_free(directory);
  return read_text(folder, "report/report.md");
}

static void seeds_keep_all_their_digits(void **state) {
  (void)state;
  char *folder = test_folder_create();
  fixture_run run = {"lwf", 12345678901, 20, 1, 0.5, true};
  fixture_make_run(folder, "a", &run, NULL);
  run.seed = (uint64_t)INT64_MAX + 2;
  fixture_make_run(folder, "b", &run, NULL);
  char *text = report_first(folder, 2);
  contains(text, " | 12345678901 | ");
  contains(text, " | 9223372036854775809 | ");
  gd_free(text);
  text = read_text(folder, "report/report.csv");
  contains(text, "lwf,\"lwf\",12345678901,3,kld,1\n");
  contains(text, "lwf,\"lwf\",9223372036854775809,3,kld,1\n");
  gd_free(text);
  test_folder_remove(folder);
}

static void settings_tell_groups_apart(void **state) {
  (void)state;
  char *folder = test_folder_create();
  fixture_run run = {"lwf", 1, 20, 1, 0.5, true}, plain = {"finetune", 1, 0, 0, 0, false};
  fixture_make_run(folder, "a", &run, "strategy.lambda=0.5");
  fixture_make_run(folder, "c", &run, "strategy.lambda=2");
  run.seed = 2;
  fixture_make_run(folder, "b", &run, "strategy.lambda=0.5");
  fixture_make_run(folder, "d", &plain, NULL);
  char *text = report_first(folder, 4);
  contains(text, "| lwf lambda=0.5 | **20.00** ± 0.00 |");
  contains(text, "| lwf lambda=2.0 | **20.00** |");
  contains(text, "| finetune | - |");  // not evaluated
  assert_null(strstr(text, "cannot be compared"));
  gd_free(text);
  test_folder_remove(folder);
}

static void different_evaluation_settings_are_reported(void **state) {
  (void)state;
  char *folder = test_folder_create();
  fixture_run run = {"lwf", 1, 20, 1, 0.5, true};
  fixture_make_run(folder, "a", &run, NULL);
  run.seed = 2;
  fixture_make_run(folder, "b", &run, NULL);
  // the later evaluation of the last task counts; in its format, which has no number, the ratio difference is twice
  // ours
  append(folder, "b",
         "{\"event\": \"evaluation\", \"task\": 3, \"n_tasks\": 3, \"tasks_seen\": 3, \"steps\": 50, "
         "\"frechet_resnet18\": 30, \"kld\": 1, \"absolute_ratio_difference\": 0.5, \"features\": \"resnet18\"}\n");
  char *text = report_first(folder, 2);
  contains(text, "| lwf | **25.00** ± 5.00 | **1.000** ± 0.000 | **0.250** ± 0.000 |");
  contains(text, "cannot be compared; these differ:");
  contains(text, ", steps,");
  assert_null(strstr(text, "features,"));
  gd_free(text);
  test_folder_remove(folder);
}

static void without_a_solver_its_panel_is_left_out(void **state) {
  (void)state;
  char *folder = test_folder_create();
  fixture_run run = {"lwf", 1, 20, 1, -1, true};
  fixture_make_run(folder, "a", &run, NULL);
  char *text = report_first(folder, 1);
  contains(text, "| lwf | **20.00** | **1.000** | **0.250** | 1 |");
  contains(text, "(metrics.png)");
  gd_free(text);
  assert_png(folder, "metrics.png", 1200, 988);
  test_folder_remove(folder);
}

static void gradients_are_counted(void **state) {
  (void)state;
  char *folder = test_folder_create();
  fixture_run run = {"ewc", 1, 20, 1, 0.5, true};
  fixture_make_run(folder, "a", &run, NULL);
  for (int task = 1; task <= 2; task++) {
    char *line = gd_format(
        "{\"event\": \"gradients\", \"task\": %d, \"global_step\": %d, \"gradients\": 8, \"seconds_gradients\": 2}\n",
        task, 20 * task);
    append(folder, "a", line);
    gd_free(line);
  }
  char *text = report_first(folder, 1);
  contains(text, "| ewc | 60 | 120.0 | 0 | 0 | 16 | 30.0 | 15.0 | 4.0 | 15.0 | 0.0 |");
  gd_free(text);
  test_folder_remove(folder);
}

// A pool counts once per task, however often the run was resumed; without two different costs there is no picture.
static void pools_are_counted(void **state) {
  (void)state;
  char *folder = test_folder_create();
  fixture_run run = {"lwf", 1, 20, 1, 0.5, true};
  fixture_make_run(folder, "a", &run, "replay.source=pool");
  const char *line =
      "{\"event\": \"pool\", \"task\": %d, \"global_step\": 20, \"images\": 7, \"teacher_evaluations\": 14, "
      "\"seconds_replay\": %d}\n";
  static const int tasks_and_seconds[][2] = {{2, 3}, {2, 0}, {3, 4}};
  for (int i = 0; i < 3; i++) {
    char *pool = gd_format(line, tasks_and_seconds[i][0], tasks_and_seconds[i][1]);
    append(folder, "a", pool);
    gd_free(pool);
  }
  char *text = report_first(folder, 1);
  contains(text, "| lwf | 60 | 114.6 | 4000 | 12028 | 0 | 30.0 | 22.0 |");
  assert_null(strstr(text, "(cost.png)"));
  gd_free(text);
  fixture_make_run(folder, "b", &run, NULL);
  text = report_first(folder, 2);
  contains(text, "(cost.png)");
  gd_free(text);
  test_folder_remove(folder);
}

static void unfinished_runs_stay_out_of_the_final_table(void **state) {
  (void)state;
  char *folder = test_folder_create();
  fixture_run run = {"lwf", 1, 20, 1, 0.5, true};
  fixture_make_run(folder, "a", &run, "solver.epochs=20");
  run.seed = 2;
  run.evaluated = false;
  fixture_make_run(folder, "b", &run, "solver.epochs=3");  // in its own group only once it is evaluated
  append(folder, "a",
         "{\"event\": \"evaluation\", \"task\": 2, \"n_tasks\": 3, \"tasks_seen\": 2, "
         "\"frechet_resnet18\": 12, \"kld\": 0.5}\n");
  char *text = report_first(folder, 2);
  contains(text, "| lwf | **20.00** | **1.000** | **0.250** | **50.0** | **12.5** | 1 |");
  contains(text, "| lwf | 10.00 | 12.00 | 20.00 |");
  gd_free(text);
  append(folder, "b",
         "{\"event\": \"evaluation\", \"task\": 1, \"n_tasks\": 3, \"tasks_seen\": 1, "
         "\"frechet_resnet18\": 99, \"kld\": 9}\n");
  text = report_first(folder, 2);
  contains(text, "| lwf solver.epochs=20 | **20.00** | **1.000** | **0.250** | **50.0** | **12.5** | 1 |");
  contains(text, "| lwf solver.epochs=3 | - | - | - | - | - | 0 |");
  contains(text, "| lwf solver.epochs=3 | 99.00 | - | - |");
  gd_free(text);
  test_folder_remove(folder);
}

static void runs_without_evaluation_have_loss_and_images(void **state) {
  (void)state;
  char *folder = test_folder_create();
  fixture_run run = {"lwf", 1, 0, 0, 0, false};
  fixture_make_run(folder, "a", &run, NULL);
  run.strategy = "joint";
  fixture_make_run(folder, "b", &run, NULL);
  char *text = report_first(folder, 2);
  contains(text, "(loss.png)");
  contains(text, "(grid.png)");
  contains(text, "| lwf | 60 | 128.0 |");
  assert_null(strstr(text, "(metrics.png)"));
  assert_null(strstr(text, "After the last task"));
  gd_free(text);
  assert_png(folder, "loss.png", 1100, 650);
  test_folder_remove(folder);
}

static void refused(int n, const char *const *paths, const char *folder, const char *what) {
  char *directory = gd_format("%s/report", folder);
  assert_int_equal(gd_report_write(n, paths, directory), GD_ERR_INPUT);
  contains(gd_error_message(), what);
  assert_int_not_equal(access(directory, F_OK), 0);
  gd_free(directory);
}

static void bad_runs_are_refused_by_name(void **state) {
  (void)state;
  char *folder = test_folder_create(), *run = gd_format("%s/a", folder), *again = gd_format("%s/../a", run);
  char *metrics = gd_format("%s/metrics.jsonl", run), *directory = gd_format("%s/report", folder);
  const fixture_run one = {"lwf", 1, 20, 1, 0.5, true};
  fixture_make_run(folder, "a", &one, NULL);
  refused(2, (const char *[]){run, again}, folder, "given twice");
  refused(1, (const char *[]){"/nosuch"}, folder, "/nosuch: no such run folder");
  append(folder, "a", "{\"event\": \"step\", \"task\": 3, \"lo");  // an incomplete line of a killed run
  assert_ok(gd_report_write(1, (const char *[]){run}, directory));
  test_folder_remove(directory);
  append(folder, "a", "ss\": x}\n");
  refused(1, (const char *[]){run}, folder, "metrics.jsonl:64: not a JSON object");
  fixture_metrics(run, &one, FIXTURE_TASKS);
  append(folder, "a", "[1]\n");
  refused(1, (const char *[]){run}, folder, "metrics.jsonl:64: not a JSON object");
  fixture_metrics(run, &one, FIXTURE_TASKS);
  append(folder, "a", "{\"event\": \"evaluation\", \"task\": 1.5}\n");
  refused(1, (const char *[]){run}, folder, "metrics.jsonl:64: an evaluation without task");
  assert_int_equal(unlink(metrics), 0);
  refused(1, (const char *[]){run}, folder, "metrics.jsonl: cannot read");
  char *yaml = gd_format("%s/config.resolved.yaml", run);
  assert_int_equal(unlink(yaml), 0);
  refused(1, (const char *[]){run}, folder, "config.resolved.yaml");
  char *all[] = {run, again, metrics, yaml};
  for (int i = 0; i < 4; i++) gd_free(all[i]);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(marks_in_names_do_not_break_tables),
      cmocka_unit_test(tables_hold_means_and_errors),
      cmocka_unit_test(pictures_are_drawn),
      cmocka_unit_test(errors_are_drawn_by_timestep),
      cmocka_unit_test(without_gnuplot_there_are_tables),
      cmocka_unit_test(seeds_keep_all_their_digits),
      cmocka_unit_test(settings_tell_groups_apart),
      cmocka_unit_test(different_evaluation_settings_are_reported),
      cmocka_unit_test(without_a_solver_its_panel_is_left_out),
      cmocka_unit_test(gradients_are_counted),
      cmocka_unit_test(pools_are_counted),
      cmocka_unit_test(unfinished_runs_stay_out_of_the_final_table),
      cmocka_unit_test(runs_without_evaluation_have_loss_and_images),
      cmocka_unit_test(bad_runs_are_refused_by_name),
  };
  return GD_TEST_MAIN(tests);
}
