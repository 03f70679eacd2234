/* Runs to groups, and means over the runs of a group. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/report.h"

/* ---- Labels: the strategy, and the settings in which its runs differ ---- */

// Where the value on a line of a resolved configuration ends: before the comment.
static size_t length_of(const char *line) {
  size_t length = strcspn(line, "\n");
  for (size_t i = 0; i + 3 < length; i++)
    if (strncmp(line + i, "  # ", 4) == 0) return i;
  return length;
}

// One line of a resolved configuration as "section.key=value"; new string, NULL for a section's heading.
static char *setting_of(const char *line, char section[64]) {
  size_t length = length_of(line);
  const char *colon = memchr(line, ':', length);
  if (!colon) return NULL;
  if (line[0] != ' ' && (size_t)(colon - line) + 1 == length) {
    snprintf(section, 64, "%.*s.", (int)(colon - line), line);
    return NULL;
  }
  bool inner = line[0] == ' ';
  while (*line == ' ') line++, length--;
  const char *value = colon + 1 + (colon[1] == ' ');
  return gd_format("%s%.*s=%.*s", inner ? section : "", (int)(colon - line), line,
                   (int)(length - (size_t)(value - line)), value);
}

static bool starts_with(const char *text, const char *start) {
  return strncmp(text, start, strlen(start)) == 0;
}

static bool tells_nothing(const char *setting) {
  static const char *const free_keys[] = {
      "seed=", "output.", "dataset.path=", "evaluation.cache=", "strategy.name=", "evaluation.measures="};
  for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
    if (starts_with(setting, free_keys[i])) return true;
  return false;
}

// Settings of the metrics distinguish runs only once these are measured.
static bool is_of_measures(const char *setting) {
  return starts_with(setting, "evaluation.") || starts_with(setting, "classifier.") || starts_with(setting, "solver.");
}

// Whether the setting on this line is another one in some run of the same strategy.
static bool another_differs(const gd_report *report, const gd_report_run *run, const char *line, bool of_measures) {
  size_t length = strcspn(line, "\n");
  int number = 0;
  for (const char *at = run->settings; at < line; at++) number += *at == '\n';
  for (int i = 0; i < report->n_runs; i++) {
    const gd_report_run *other = &report->runs[i];
    if (other->config->strategy.name != run->config->strategy.name) continue;
    if (of_measures && (!gd_report_newest(run) || !gd_report_newest(other))) continue;
    const char *theirs = other->settings;  // the same keys are in the same lines
    for (int k = 0; k < number && theirs; k++) theirs = strchr(theirs, '\n') ? strchr(theirs, '\n') + 1 : NULL;
    if (!theirs || strcspn(theirs, "\n") != length || strncmp(theirs, line, length) != 0) return true;
  }
  return false;
}

static char *label_of(const gd_report *report, const gd_report_run *run) {
  char section[64] = "", *label = gd_strdup(gd_strategy_name(run->config->strategy.name));
  for (const char *line = run->settings; line && *line;) {
    char *setting = setting_of(line, section);
    if (setting && !tells_nothing(setting) && another_differs(report, run, line, is_of_measures(setting))) {
      char *longer = gd_format("%s %s", label, setting + (starts_with(setting, "strategy.") ? 9 : 0));
      gd_free(label);
      label = longer;
    }
    gd_free(setting);
    line = strchr(line, '\n');
    if (line) line++;
  }
  return label;
}

/* ---- Groups ---- */

static int compare_groups(const void *a, const void *b) {
  const gd_report_group *x = a, *y = b;
  int by_strategy = (int)x->runs[0]->config->strategy.name - (int)y->runs[0]->config->strategy.name;
  return by_strategy ? by_strategy : strcmp(x->label, y->label);
}

void gd_report_group_runs(gd_report *report) {
  report->groups = GD_NEW_ARRAY(gd_report_group, report->n_runs);
  for (int i = 0; i < report->n_runs; i++) {
    const gd_report_run *run = &report->runs[i];
    char *label = label_of(report, run);
    int g = 0;
    while (g < report->n_groups && strcmp(report->groups[g].label, label) != 0) g++;
    gd_report_group *group = &report->groups[g];
    if (g == report->n_groups) {
      *group =
          (gd_report_group){.label = gd_strdup(label), .runs = GD_NEW_ARRAY(const gd_report_run *, report->n_runs)};
      report->n_groups++;
    }
    for (int r = 0; r < group->n_runs; r++)
      if (group->runs[r]->config->seed == run->config->seed)
        gd_log(GD_LOG_WARN, "%s and %s have the same settings and seed: their spread says nothing about seeds",
               group->runs[r]->path, run->path);
    group->runs[group->n_runs++] = run;
    gd_free(label);
    int seen = run->config->tasks.count;
    if (seen > report->n_tasks) report->n_tasks = seen;
    int classes = (int)json_array_size(json_object_get(gd_report_newest(run), "generated_counts"));
    if (classes > report->n_classes) report->n_classes = classes;
  }
  qsort(report->groups, (size_t)report->n_groups, sizeof *report->groups, compare_groups);
  for (int g = 0; g < report->n_groups; g++) report->groups[g].colour = g;
}

gd_report_mean gd_report_group_mean(const gd_report_group *group, int n_tasks, const char *key) {
  gd_report_mean out = {0};
  double sum = 0, squares = 0;
  double *values = GD_NEW_ARRAY(double, group->n_runs);
  for (int i = 0; i < group->n_runs; i++) {
    const gd_report_run *run = group->runs[i];
    const json_t *evaluation = n_tasks ? gd_report_seen(run, n_tasks) : gd_report_last(run);
    const char *name = strcmp(key, "frechet") == 0 && run->frechet ? run->frechet : key;
    double value = gd_report_number(evaluation, name);
    if (isnan(value)) continue;
    values[out.n++] = value;
    sum += value;
  }
  out.mean = out.n ? sum / out.n : NAN;
  for (int i = 0; i < out.n; i++) squares += (values[i] - out.mean) * (values[i] - out.mean);
  out.error = out.n > 1 ? sqrt(squares / (out.n - 1) / out.n) : 0;
  gd_free(values);
  return out;
}

gd_report_cost gd_report_group_cost(const gd_report_group *group) {
  enum { N = sizeof(gd_report_cost) / sizeof(double) };
  gd_report_cost mean = {0};
  double sums[N] = {0}, one[N];
  for (int r = 0; r < group->n_runs; r++) {
    memcpy(one, &group->runs[r]->cost, sizeof one);
    for (int i = 0; i < N; i++) sums[i] += one[i] / group->n_runs;
  }
  memcpy(&mean, sums, sizeof mean);
  return mean;
}
