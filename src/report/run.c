/* Reading a run: its configuration, the steps and the evaluations in metrics.jsonl. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gendistill/strategy.h"
#include "report/report.h"

void gd_report_run_clear(gd_report_run *run) {
  gd_config_destroy(&run->config);
  gd_free(run->settings);
  gd_free(run->loss);
  gd_free(run->task);
  gd_free(run->frechet);
  json_decref(run->evaluations);
  json_decref(run->timesteps);
  *run = (gd_report_run){0};
}

static double number_of(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

// Room for one more; arrays grow by doubling.
static void add_step(gd_report_run *run, const json_t *line) {
  int64_t n = run->n_steps;
  if ((n & (n - 1)) == 0) {
    int64_t room = n ? 2 * n : 1;
    float *loss = GD_NEW_ARRAY(float, room);
    int *task = GD_NEW_ARRAY(int, room);
    if (n) {
      memcpy(loss, run->loss, (size_t)n * sizeof *loss);
      memcpy(task, run->task, (size_t)n * sizeof *task);
    }
    gd_free(run->loss);
    gd_free(run->task);
    run->loss = loss;
    run->task = task;
  }
  bool skipped = json_is_true(json_object_get(line, "skipped"));  // its loss is no number
  run->loss[n] = skipped ? (n > 0 ? run->loss[n - 1] : 0) : (float)number_of(line, "loss");
  run->task[n] = (int)number_of(line, "task");
  run->n_steps++;
  run->cost.replay_images += number_of(line, "replay_images");
  run->cost.teacher_evaluations += number_of(line, "teacher_evaluations");
  run->cost.seconds_compute += number_of(line, "seconds_compute");
  run->cost.seconds_replay += number_of(line, "seconds_replay");
  run->cost.seconds_reduction += number_of(line, "seconds_reduction");
  run->cost.seconds_io += number_of(line, "seconds_io");
}

// A resumed run names its pool again: the evaluations count once a task, the seconds are those of the making.
static void add_pool(gd_report_run *run, const json_t *line) {
  run->pool_evaluations[(int)number_of(line, "task") - 1] = number_of(line, "teacher_evaluations");
  run->cost.seconds_replay += number_of(line, "seconds_replay");
}

static void add_gradients(gd_report_run *run, const json_t *line) {
  run->cost.gradients += number_of(line, "gradients");
  run->cost.seconds_gradients += number_of(line, "seconds_gradients");
}

static bool is_count(const json_t *object, const char *key) {
  json_int_t value = json_integer_value(json_object_get(object, key));
  return value >= 1 && value <= GD_MAX_CLASSES;
}

// Evaluations without a format are of the first, whose ratio difference is twice today's.
static void modernise_evaluation(json_t *line) {
  const json_t *difference = json_object_get(line, "absolute_ratio_difference");
  if (json_object_get(line, "format") || !json_is_number(difference)) return;
  json_object_set_new(line, "absolute_ratio_difference", json_real(json_number_value(difference) / 2));
}

// The later of two evaluations of a task counts.
static void add_evaluation(gd_report_run *run, json_t *line) {
  size_t i = 0, n = json_array_size(run->evaluations);
  while (i < n && number_of(json_array_get(run->evaluations, i), "task") != number_of(line, "task")) i++;
  if (i < n)
    json_array_set(run->evaluations, i, line);
  else
    json_array_append(run->evaluations, line);
}

// NULL, or what is wrong with the line.
static const char *take_line(gd_report_run *run, json_t *line) {
  const char *event = json_string_value(json_object_get(line, "event"));
  if (event && strcmp(event, "step") == 0) {
    bool has_loss = json_is_number(json_object_get(line, "loss")) || json_is_true(json_object_get(line, "skipped"));
    if (!is_count(line, "task") || !has_loss) return "a step without task or loss";
    add_step(run, line);
  }
  if (event && strcmp(event, "pool") == 0) {
    if (!is_count(line, "task")) return "a pool without task";
    add_pool(run, line);
  }
  if (event && strcmp(event, "evaluation") == 0) {
    if (!is_count(line, "task") || !is_count(line, "n_tasks") || !is_count(line, "tasks_seen"))
      return "an evaluation without task, n_tasks or tasks_seen";
    int n_classes = gd_dataset_kind_get(run->config->dataset.name)->n_classes;
    if (json_array_size(json_object_get(line, "generated_counts")) > (size_t)n_classes)
      return "an evaluation of more classes than the data set has";
    modernise_evaluation(line);
    add_evaluation(run, line);
  }
  if (event && strcmp(event, "gradients") == 0) add_gradients(run, line);
  if (event && strcmp(event, "loss_by_timestep") == 0) {
    if (!json_is_array(json_object_get(line, "data"))) return "a loss by timestep without data";
    json_decref(run->timesteps);
    run->timesteps = json_incref(line);
  }
  return NULL;
}

static gd_err read_lines(gd_report_run *run, const char *path, FILE *file) {
  gd_err err = GD_OK;
  char *text = NULL;
  size_t capacity = 0;
  ssize_t length;
  for (int number = 1; err == GD_OK && (length = getline(&text, &capacity, file)) > 0; number++) {
    json_error_t why;
    json_t *line = json_loads(text, 0, &why);
    const char *wrong = line ? take_line(run, line) : NULL;
    if (!line && text[length - 1] != '\n')
      gd_log(GD_LOG_WARN, "%s:%d: the last line is cut off, left out", path, number);
    else if (!json_is_object(line))
      err = gd_error(GD_ERR_INPUT, "%s:%d: not a JSON object: %s", path, number, line ? "an array" : why.text);
    else if (wrong)
      err = gd_error(GD_ERR_INPUT, "%s:%d: %s", path, number, wrong);
    json_decref(line);
  }
  if (err == GD_OK && !feof(file)) err = gd_error(GD_ERR_INPUT, "%s: cannot read: %s", path, strerror(errno));
  free(text);
  return err;
}

// The distance's name: fid, or the key that begins with frechet_ and is none of the others.
static void find_frechet(gd_report_run *run) {
  const char *key;
  json_t *value;
  json_object_foreach(json_array_get(run->evaluations, 0), key, value) {
    bool is_distance = strncmp(key, "frechet_", 8) == 0 && strcmp(key, "frechet_clipped") != 0;
    if (is_distance || strcmp(key, "fid") == 0) run->frechet = gd_strdup(key);
  }
}

gd_err gd_report_run_read(gd_report_run *out, const char *path) {
  gd_err err;
  FILE *file = NULL;
  struct stat status;
  *out = (gd_report_run){.path = path, .evaluations = json_array()};
  char *config = gd_format("%s/config.resolved.yaml", path), *metrics = gd_format("%s/metrics.jsonl", path);
  if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
    GD_TRY(gd_error(GD_ERR_INPUT, "%s: no such run folder", path));
  GD_TRY(gd_config_create(&out->config, config, 0, NULL));
  out->settings = gd_config_dump(out->config);
  file = fopen(metrics, "r");
  if (!file) GD_TRY(gd_error(GD_ERR_INPUT, "%s: cannot read: %s", metrics, strerror(errno)));
  GD_TRY(read_lines(out, metrics, file));
  out->cost.steps = (double)out->n_steps;
  for (int t = 0; t < GD_MAX_CLASSES; t++) out->cost.teacher_evaluations += out->pool_evaluations[t];
  out->cost.images = (double)out->n_steps * out->config->training.batch_size;
  find_frechet(out);
  if (json_array_size(out->evaluations) == 0)
    gd_log(GD_LOG_WARN, "%s: no evaluation, so only loss and images are reported: run `gendistill evaluate %s`",
           metrics, path);
done:
  if (file) fclose(file);
  if (err != GD_OK) gd_report_run_clear(out);
  gd_free(config);
  gd_free(metrics);
  return err;
}

bool gd_report_is_joint(const gd_report_run *run) {
  return gd_strategy_get(run->config->strategy.name)->data == GD_DATA_ALL;
}

/* ---- Numbers of an evaluation ---- */

double gd_report_number(const json_t *evaluation, const char *key) {
  char *path = gd_strdup(key);
  for (char *part = path; part && evaluation;) {
    char *dot = strchr(part, '.');
    if (dot) *dot = 0;
    evaluation =
        json_is_array(evaluation) ? json_array_get(evaluation, (size_t)atoi(part)) : json_object_get(evaluation, part);
    part = dot ? dot + 1 : NULL;
  }
  gd_free(path);
  return json_is_number(evaluation) ? json_number_value(evaluation) : NAN;
}

const json_t *gd_report_newest(const gd_report_run *run) {
  size_t n = json_array_size(run->evaluations);
  return n ? json_array_get(run->evaluations, n - 1) : NULL;
}

const json_t *gd_report_last(const gd_report_run *run) {
  const json_t *newest = gd_report_newest(run);
  return newest && number_of(newest, "task") == number_of(newest, "n_tasks") ? newest : NULL;
}

const json_t *gd_report_seen(const gd_report_run *run, int n_tasks) {
  size_t i;
  json_t *evaluation;
  json_array_foreach(run->evaluations, i, evaluation) {
    if ((int)gd_report_number(evaluation, "tasks_seen") == n_tasks) return evaluation;
  }
  return NULL;
}
