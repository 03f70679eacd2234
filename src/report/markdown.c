/* report.md: the tables, the protocol behind them, and links to the pictures. */
#include <math.h>
#include <string.h>

#include "report/report.h"

/* ---- Cells ---- */

static void write_mean(FILE *out, gd_report_mean m, const gd_report_metric *metric, bool bold) {
  const char *mark = bold ? "**" : "";
  if (m.n == 0)
    fprintf(out, " - |");
  else if (m.n == 1)
    fprintf(out, " %s%.*f%s |", mark, metric->digits, metric->factor * m.mean, mark);
  else
    fprintf(out, " %s%.*f%s ± %.*f |", mark, metric->digits, metric->factor * m.mean, mark, metric->digits,
            metric->factor * m.error);
}

static void write_rule(FILE *out, int n_columns) {
  fprintf(out, "\n|");
  for (int i = 0; i < n_columns; i++) fprintf(out, " --- |");
  fprintf(out, "\n");
}

static const char *metric_title(const gd_report *report, const gd_report_metric *metric) {
  for (int i = 0; i < report->n_runs && strcmp(metric->key, "frechet") == 0; i++)
    if (report->runs[i].frechet) return report->runs[i].frechet;
  return metric->title;
}

/* ---- Tables ---- */

static double best_mean(const gd_report *report, const gd_report_metric *metric) {
  double best = NAN;
  for (int g = 0; g < report->n_groups; g++) {
    double mean = gd_report_group_mean(&report->groups[g], 0, metric->key).mean;
    bool better = metric->higher_is_better ? mean > best : mean < best;
    if (isnan(best) || better) best = mean;
  }
  return best;
}

static void write_final(const gd_report *report, FILE *out) {
  fprintf(out, "## After the last task\n\n| strategy |");
  for (int k = 0; k < GD_N_METRICS; k++)
    fprintf(out, " %s %s |", metric_title(report, &gd_report_metrics[k]),
            gd_report_metrics[k].higher_is_better ? "↑" : "↓");
  fprintf(out, " seeds |");
  write_rule(out, GD_N_METRICS + 2);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    fprintf(out, "| %s |", group->label);
    for (int k = 0; k < GD_N_METRICS; k++) {
      const gd_report_metric *metric = &gd_report_metrics[k];
      gd_report_mean m = gd_report_group_mean(group, 0, metric->key);
      write_mean(out, m, metric, m.n > 0 && m.mean == best_mean(report, metric));
    }
    fprintf(out, " %d |\n", group->n_runs);
  }
  fprintf(out, "\nMean ± standard error over seeds; ↓ lower is better. ACC and forgetting are the solver's.\n");
}

static void write_task_heads(const gd_report *report, FILE *out, const char *corner, const char *prefix) {
  fprintf(out, "| %s |", corner);
  for (int t = 1; t <= report->n_tasks; t++) fprintf(out, " %s %d |", prefix, t);
  write_rule(out, report->n_tasks + 1);
}

static void write_course(const gd_report *report, FILE *out) {
  fprintf(out, "\n## After each task\n");
  for (int k = 0; k < GD_N_METRICS; k++) {
    const gd_report_metric *metric = &gd_report_metrics[k];
    fprintf(out, "\n### %s\n\n", metric_title(report, metric));
    write_task_heads(report, out, "strategy", "task");
    for (int g = 0; g < report->n_groups; g++) {
      fprintf(out, "| %s |", report->groups[g].label);
      for (int t = 1; t <= report->n_tasks; t++)
        write_mean(out, gd_report_group_mean(&report->groups[g], t, metric->key), metric, false);
      fprintf(out, "\n");
    }
  }
}

// Rows: after task i; columns: task j.
static void write_matrix(const gd_report *report, FILE *out, const char *title, const char *key,
                         const gd_report_metric *format) {
  fprintf(out, "\n### %s\n", title);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    fprintf(out, "\n");
    write_task_heads(report, out, group->label, "of task");
    for (int i = 1; i <= report->n_tasks; i++) {
      char *first = gd_format("%s.0", key);
      bool any = gd_report_group_mean(group, i, first).n > 0;
      gd_free(first);
      if (!any) continue;
      fprintf(out, "| after %d |", i);
      for (int j = 0; j < report->n_tasks; j++) {
        char *element = gd_format("%s.%d", key, j);
        write_mean(out, gd_report_group_mean(group, i, element), format, false);
        gd_free(element);
      }
      fprintf(out, "\n");
    }
  }
}

static void write_forgetting(const gd_report *report, FILE *out) {
  static const gd_report_metric percent = {"", "", 100, 1, false}, plain = {"", "", 1, 2, false};
  fprintf(out, "\n## Forgetting, task by task\n");
  write_matrix(report, out, "Share of the generated images that are of a task's classes, %", "task_share", &percent);
  write_matrix(report, out, "Fréchet distance of these images from the task's test images", "task_frechet", &plain);
  write_matrix(report, out, "Accuracy of the solver on a task's test images, %", "solver.task_accuracy", &percent);
}

static void write_counts(const gd_report *report, FILE *out) {
  static const gd_report_metric plain = {"", "", 1, 0, false};
  fprintf(out, "\n## Generated images of each class after the last task\n\n| strategy |");
  for (int c = 0; c < report->n_classes; c++) fprintf(out, " %s |", gd_report_class_name(report, c));
  write_rule(out, report->n_classes + 1);
  for (int g = 0; g < report->n_groups; g++) {
    fprintf(out, "| %s |", report->groups[g].label);
    for (int c = 0; c < report->n_classes; c++) {
      char *element = gd_format("generated_counts.%d", c);
      write_mean(out, gd_report_group_mean(&report->groups[g], 0, element), &plain, false);
      gd_free(element);
    }
    fprintf(out, "\n");
  }
}

static void write_cost(const gd_report *report, FILE *out) {
  fprintf(out,
          "\n## Cost of the training, mean of a group's runs\n\n"
          "| strategy | steps | images/s | compute, s | replay, s | reduction, s | files, s |");
  write_rule(out, 7);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    gd_report_cost sum = {0};
    double steps = 0, n = group->n_runs;
    for (int r = 0; r < group->n_runs; r++) {
      const gd_report_cost *cost = &group->runs[r]->cost;
      steps += (double)group->runs[r]->n_steps;
      sum.images += cost->images;
      sum.seconds_compute += cost->seconds_compute;
      sum.seconds_replay += cost->seconds_replay;
      sum.seconds_reduction += cost->seconds_reduction;
      sum.seconds_io += cost->seconds_io;
    }
    double seconds = sum.seconds_compute + sum.seconds_replay + sum.seconds_reduction;
    fprintf(out, "| %s | %.0f | %.1f | %.1f | %.1f | %.1f | %.1f |\n", group->label, steps / n,
            seconds > 0 ? sum.images / seconds : 0, sum.seconds_compute / n, sum.seconds_replay / n,
            sum.seconds_reduction / n, sum.seconds_io / n);
  }
  fprintf(out, "\nImages/s: current images, without the time for files, sampling and measures.\n");
}

/* ---- Protocol ---- */

static const char *const protocol_keys[] = {
    "features", "classifier_digest", "classifier_accuracy", "split", "n_real", "n_generated", "sampler", "steps", "eta",
    "ema"};
enum { N_PROTOCOL_KEYS = sizeof protocol_keys / sizeof *protocol_keys };

static char *protocol_value(const gd_report_run *run, const char *key) {
  const json_t *value = json_object_get(gd_report_last(run), key);
  if (!value) return gd_strdup("-");
  if (json_is_string(value)) return gd_strdup(json_string_value(value));
  if (json_is_boolean(value)) return gd_strdup(json_is_true(value) ? "yes" : "no");
  return gd_format("%.10g", json_number_value(value));
}

static void write_protocol(const gd_report *report, FILE *out) {
  bool differs = false;
  fprintf(out, "\n## How the numbers were got\n\n| run | seed |");
  for (int k = 0; k < N_PROTOCOL_KEYS; k++) fprintf(out, " %s |", protocol_keys[k]);
  write_rule(out, N_PROTOCOL_KEYS + 2);
  for (int i = 0; i < report->n_runs; i++) {
    const gd_report_run *run = &report->runs[i];
    fprintf(out, "| %s | %llu |", run->path, (unsigned long long)run->config->seed);
    for (int k = 0; k < N_PROTOCOL_KEYS; k++) {
      char *mine = protocol_value(run, protocol_keys[k]), *first = protocol_value(&report->runs[0], protocol_keys[k]);
      fprintf(out, " %s |", mine);
      differs = differs || strcmp(mine, first) != 0;
      gd_free(mine);
      gd_free(first);
    }
    fprintf(out, "\n");
  }
  if (differs) fprintf(out, "\n**The runs were not measured in the same way: their numbers cannot be compared.**\n");
}

gd_err gd_report_write_markdown(const gd_report *report, bool pictures) {
  gd_err err;
  FILE *out = gd_report_open(report, "report.md", &err);
  if (!out) return err;
  fprintf(out, "# Continual training: %d runs\n\n", report->n_runs);
  if (report->n_classes > 0) write_final(report, out);
  if (pictures) {
    fprintf(out, "\n![generated images after each task](grid.png)\n\n![training loss](loss.png)\n");
    if (report->n_classes > 0)
      fprintf(out, "\n![measures after each task](metrics.png)\n\n![images of each class](classes.png)\n");
  }
  if (report->n_classes > 0) {
    write_course(report, out);
    write_forgetting(report, out);
    write_counts(report, out);
  }
  write_cost(report, out);
  if (report->n_classes > 0) write_protocol(report, out);
  return gd_report_close(report, "report.md", out);
}
