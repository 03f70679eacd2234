/* report.md: the tables, the protocol behind them, and links to the pictures. */
#include <math.h>
#include <string.h>

#include "report/report.h"

/* ---- Cells ---- */

static void write_mean(FILE *out, gd_report_mean m, const gd_reported *metric, bool bold) {
  const char *mark = bold ? "**" : "";
  double mean = metric->factor * m.mean;
  int digits = metric->digits;
  if (digits < 0) digits = mean != 0 && fabs(mean) < 1000 ? (int)fmin(3 - floor(log10(fabs(mean))), 9) : 0;
  if (m.n == 0)
    fprintf(out, " - |");
  else if (m.n == 1)
    fprintf(out, " %s%.*f%s |", mark, digits, mean, mark);
  else
    fprintf(out, " %s%.*f%s ± %.*f |", mark, digits, mean, mark, digits, metric->factor * m.error);
}

// Text in a cell: what Markdown gives a meaning gets a backslash; a name's single _ has none.
static void write_cell(FILE *out, const char *text) {
  fprintf(out, " ");
  for (; *text; text++) {
    if (strchr("|\\`*<[", *text)) fputc('\\', out);
    fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
  }
  fprintf(out, " |");
}

static void write_rule(FILE *out, int n_columns) {
  fprintf(out, "\n|");
  for (int i = 0; i < n_columns; i++) fprintf(out, " --- |");
  fprintf(out, "\n");
}

static const char *metric_title(const gd_report *report, const gd_reported *metric) {
  for (int i = 0; i < report->n_runs && strcmp(metric->key, "frechet") == 0; i++)
    if (report->runs[i].frechet) return report->runs[i].frechet;
  return metric->title;
}

/* ---- Tables ---- */

// The reported numbers that some group has, in their order: fills `metrics`, returns how many.
static int measured_metrics(const gd_report *report, const gd_reported *metrics[GD_N_METRICS * GD_MAX_REPORTED]) {
  int n = 0;
  const gd_reported *metric;
  for (int k = 0; (metric = gd_reported_get(k)); k++) {
    bool any = false;
    for (int g = 0; g < report->n_groups; g++)
      for (int t = 0; t <= report->n_tasks; t++)
        any = any || gd_report_group_mean(&report->groups[g], t, metric->key).n > 0;
    if (any) metrics[n++] = metric;
  }
  return n;
}

static double best_mean(const gd_report *report, const gd_reported *metric) {
  double best = NAN;
  for (int g = 0; g < report->n_groups; g++) {
    double mean = gd_report_group_mean(&report->groups[g], 0, metric->key).mean;
    bool better = metric->higher_is_better ? mean > best : mean < best;
    if (isnan(best) || better) best = mean;
  }
  return best;
}

// The number `key` of real images after the last task, mean over all runs.
static gd_report_mean real_mean(const gd_report *report, const char *key) {
  gd_report_mean out = {.mean = NAN};
  double sum = 0;
  int n = 0;
  for (int i = 0; i < report->n_runs; i++) {
    const gd_report_run *run = &report->runs[i];
    char *name = gd_format("real.%s", strcmp(key, "frechet") == 0 && run->frechet ? run->frechet : key);
    double value = gd_report_number(gd_report_last(run), name);
    gd_free(name);
    if (isnan(value)) continue;
    sum += value;
    out.n = 1;  // the same images for all runs of one data set and order of tasks: no spread to show
    out.mean = sum / ++n;
  }
  return out;
}

// What real images get: the floor of each number.
static void write_real(const gd_report *report, FILE *out, int n_metrics, const gd_reported *const *metrics) {
  fprintf(out, "| *real images* |");
  for (int k = 0; k < n_metrics; k++) write_mean(out, real_mean(report, metrics[k]->key), metrics[k], false);
  fprintf(out, " |\n");
}

static bool has_cumulative(const gd_report *report) {
  for (int g = 0; g < report->n_groups; g++)
    if (report->groups[g].runs[0]->config->strategy.name == GD_STRATEGY_cumulative) return true;
  return false;
}

static void write_final(const gd_report *report, FILE *out) {
  fprintf(out, "\n## After the last task\n\n| strategy |");
  const gd_reported *metrics[GD_N_METRICS * GD_MAX_REPORTED];
  int n_metrics = measured_metrics(report, metrics);
  for (int k = 0; k < n_metrics; k++)
    fprintf(out, " %s %s |", metric_title(report, metrics[k]), metrics[k]->higher_is_better ? "↑" : "↓");
  fprintf(out, " seeds |");
  write_rule(out, n_metrics + 2);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    fprintf(out, "|");
    write_cell(out, group->label);
    for (int k = 0; k < n_metrics; k++) {
      gd_report_mean m = gd_report_group_mean(group, 0, metrics[k]->key);
      write_mean(out, m, metrics[k], m.n > 0 && m.mean == best_mean(report, metrics[k]));
    }
    fprintf(out, " %d |\n", gd_report_group_mean(group, 0, "kld").n);
  }
  if (real_mean(report, "frechet").n > 0) write_real(report, out, n_metrics, metrics);
  fprintf(
      out,
      "\nMean ± standard error over seeds; ↓ lower is better. Real images: training images, as many as were "
      "generated.\n"
      "ACC and forgetting are the solver's.%s All numbers of\n"
      "every run and task are in report.csv: strategy, label (the group), seed, task (from 1), metric (its name in\n"
      "metrics.jsonl; `task_share.0` is the first of an array), value. Task 0: sums over the whole run.\n",
      has_cumulative(report) ? " What the paper calls Joint is `cumulative`." : "");
}

static void write_task_heads(const gd_report *report, FILE *out, const char *corner, const char *prefix) {
  fprintf(out, "|");
  write_cell(out, corner);
  for (int t = 1; t <= report->n_tasks; t++) fprintf(out, " %s %d |", prefix, t);
  write_rule(out, report->n_tasks + 1);
}

static void write_course(const gd_report *report, FILE *out) {
  fprintf(out, "\n## After each task\n");
  const gd_reported *metrics[GD_N_METRICS * GD_MAX_REPORTED];
  int n_metrics = measured_metrics(report, metrics);
  for (int k = 0; k < n_metrics; k++) {
    fprintf(out, "\n### %s\n\n", metric_title(report, metrics[k]));
    write_task_heads(report, out, "strategy", "task");
    for (int g = 0; g < report->n_groups; g++) {
      fprintf(out, "|");
      write_cell(out, report->groups[g].label);
      for (int t = 1; t <= report->n_tasks; t++)
        write_mean(out, gd_report_group_mean(&report->groups[g], t, metrics[k]->key), metrics[k], false);
      fprintf(out, "\n");
    }
  }
}

// Rows: after task i; columns: task j. Tasks after which the group has no number `needs` have no row.
static void write_matrix(const gd_report *report, const gd_report_group *group, FILE *out, const char *key,
                         const char *needs, const gd_reported *format) {
  bool begun = false;
  for (int i = 1; i <= report->n_tasks; i++) {
    if (gd_report_group_mean(group, i, needs).n == 0) continue;
    if (!begun) {
      fprintf(out, "\n");
      write_task_heads(report, out, group->label, "of task");
    }
    begun = true;
    fprintf(out, "| after %d |", i);
    for (int j = 0; j < report->n_tasks; j++) {
      char *element = gd_format("%s.%d", key, j);
      write_mean(out, gd_report_group_mean(group, i, element), format, false);
      gd_free(element);
    }
    fprintf(out, "\n");
  }
}

static void write_matrices(const gd_report *report, FILE *out, const char *title, const char *key, const char *needs,
                           const gd_reported *format) {
  fprintf(out, "\n### %s\n", title);
  for (int g = 0; g < report->n_groups; g++) write_matrix(report, &report->groups[g], out, key, needs, format);
}

static void write_forgetting(const gd_report *report, FILE *out) {
  static const gd_reported percent = {.factor = 100, .digits = 1}, distance = {.factor = 1, .digits = -1};
  fprintf(out, "\n## Forgetting, task by task\n");
  write_matrices(report, out, "Share of the generated images that are of a task's classes, %", "task_share",
                 "tasks_seen", &percent);
  write_matrices(report, out, "Fréchet distance of these images from the task's test images", "task_frechet",
                 "tasks_seen", &distance);
  write_matrices(report, out, "KID of these images", "task_kid", "task_kid.0", &distance);
  write_matrices(report, out, "Coverage of a task's test images, %", "task_coverage", "task_coverage.0", &percent);
  write_matrices(report, out, "Accuracy of the solver on a task's test images, %", "solver.task_accuracy",
                 "solver.average_accuracy", &percent);
}

static void write_counts_row(const gd_report *report, const gd_report_group *group, FILE *out, const char *key) {
  static const gd_reported plain = {.factor = 1};
  for (int c = 0; c < report->n_classes; c++) {
    char *element = gd_format("%s.%d", key, c);
    gd_report_mean m = gd_report_group_mean(group, 0, element);
    if (strcmp(key, "true_counts") == 0 && m.n > 1) m.n = 1;  // all runs have the same test images
    write_mean(out, m, &plain, false);
    gd_free(element);
  }
  fprintf(out, "\n");
}

static void write_counts(const gd_report *report, FILE *out) {
  bool real = false;
  fprintf(out, "\n## Images of each class after the last task\n\n| images |");
  for (int c = 0; c < report->n_classes; c++) fprintf(out, " %s |", gd_report_class_name(report, c));
  write_rule(out, report->n_classes + 1);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    if (gd_report_group_mean(group, 0, "n_real").n == 0) continue;
    if (!real) {
      fprintf(out, "| *test images* |");
      write_counts_row(report, group, out, "true_counts");
    }
    real = true;
    fprintf(out, "|");
    write_cell(out, group->label);
    write_counts_row(report, group, out, "generated_counts");
  }
}

static void write_cost(const gd_report *report, FILE *out) {
  fprintf(out,
          "\n## Cost of the training, mean of a group's runs\n\n"
          "| strategy | steps | images/s | replay images | teacher evaluations | single gradients | compute, s | "
          "replay, s | gradients, s | reduction, s | files, s |");
  write_rule(out, 11);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    gd_report_cost cost = gd_report_group_cost(group);
    double seconds = cost.seconds_compute + cost.seconds_replay + cost.seconds_gradients + cost.seconds_reduction;
    fprintf(out, "|");
    write_cell(out, group->label);
    fprintf(out, " %.0f | %.1f | %.0f | %.0f | %.0f | %.1f | %.1f | %.1f | %.1f | %.1f |\n", cost.steps,
            seconds > 0 ? cost.images / seconds : 0, cost.replay_images, cost.teacher_evaluations, cost.gradients,
            cost.seconds_compute, cost.seconds_replay, cost.seconds_gradients, cost.seconds_reduction, cost.seconds_io);
  }
  fprintf(out,
          "\nImages/s: current images, without the time for files, sampling and metrics. Teacher evaluations: of one\n"
          "image each, for replay images, pools and targets. Single gradients: of one image each, forward and "
          "backward, for\n"
          "the Fisher information.\n");
}

/* ---- Protocol ---- */

static const char *const protocol_keys[] = {"features",
                                            "classifier_digest",
                                            "classifier_accuracy",
                                            "split",
                                            "n_real",
                                            "n_generated",
                                            "sampler",
                                            "steps",
                                            "eta",
                                            "guidance",
                                            "timesteps",
                                            "evaluations",
                                            "ema",
                                            "seed",
                                            "solver.epochs",
                                            "solver.loss",
                                            "solver.replay",
                                            "solver.temperature"};
enum { N_PROTOCOL_KEYS = sizeof protocol_keys / sizeof *protocol_keys };

static char *protocol_value(const gd_report_run *run, const char *key) {
  const json_t *evaluation = gd_report_newest(run), *value = json_object_get(evaluation, key);
  double number = gd_report_number(evaluation, key);
  if (json_is_string(value)) return gd_strdup(json_string_value(value));
  if (json_is_integer(value)) return gd_format("%lld", (long long)json_integer_value(value));
  if (json_is_boolean(value)) return gd_strdup(json_is_true(value) ? "yes" : "no");
  return isnan(number) ? gd_strdup("-") : gd_format("%.10g", number);
}

// Whether two runs were measured in different ways; their seeds may differ, and how far they have come. Evaluations
// follow from sampler and steps.
static bool differ(const gd_report_run *a, const gd_report_run *b, const char *key) {
  if (!gd_report_newest(a) || !gd_report_newest(b) || strcmp(key, "seed") == 0) return false;
  if (strcmp(key, "evaluations") == 0) return false;
  if (strcmp(key, "n_real") == 0 && (!gd_report_last(a) || !gd_report_last(b))) return false;
  char *x = protocol_value(a, key), *y = protocol_value(b, key);
  bool out = strcmp(x, y) != 0;
  gd_free(x);
  gd_free(y);
  return out;
}

static bool any_differ(const gd_report *report, const char *key) {
  for (int i = 1; i < report->n_runs; i++)
    for (int k = 0; k < i; k++)
      if (differ(&report->runs[i], &report->runs[k], key)) return true;
  return false;
}

static void write_protocol(const gd_report *report, FILE *out) {
  bool differs = false;
  fprintf(out, "\n## How the numbers were got\n\n| run |");
  for (int k = 0; k < N_PROTOCOL_KEYS; k++) fprintf(out, " %s |", protocol_keys[k]);
  write_rule(out, N_PROTOCOL_KEYS + 1);
  for (int i = 0; i < report->n_runs; i++) {
    fprintf(out, "|");
    write_cell(out, report->runs[i].path);
    for (int k = 0; k < N_PROTOCOL_KEYS; k++) {
      char *value = protocol_value(&report->runs[i], protocol_keys[k]);
      write_cell(out, value);
      gd_free(value);
    }
    fprintf(out, "\n");
  }
  for (int k = 0; k < N_PROTOCOL_KEYS; k++) {
    if (!any_differ(report, protocol_keys[k])) continue;
    fprintf(out, "%s %s",
            differs ? "," : "\n**Warning: the runs' numbers cannot be compared; these differ:", protocol_keys[k]);
    differs = true;
  }
  if (differs) fprintf(out, ".**\n");
}

gd_err gd_report_write_markdown(const gd_report *report) {
  gd_err err;
  FILE *out = gd_report_open(report, "report.md", &err);
  if (!out) return err;
  fprintf(out, "# Continual training: %d run%s\n", report->n_runs, report->n_runs > 1 ? "s" : "");
  if (report->n_classes > 0) write_final(report, out);
  for (int i = 0; i < GD_N_PICTURES; i++)
    if (report->drawn[i]) fprintf(out, "\n![%s](%s.png)\n", gd_report_pictures[i].caption, gd_report_pictures[i].name);
  if (report->n_classes > 0) {
    write_course(report, out);
    write_forgetting(report, out);
    write_counts(report, out);
  }
  write_cost(report, out);
  if (report->n_classes > 0) write_protocol(report, out);
  return gd_report_close(report, "report.md", out);
}
