/* report.csv: one row per run, task and number, for other programs. report.md says what the columns are. */
#include <string.h>

#include "report/report.h"

typedef struct csv_row {
  FILE *out;
  const gd_report_group *group;
  const gd_report_run *run;
  int task;  // from 1
} csv_row;

static void write_number(const csv_row *row, const char *metric, double value) {
  fprintf(row->out, "%s,\"", gd_strategy_name(row->run->config->strategy.name));
  for (const char *at = row->group->label; *at; at++) {
    if (*at == '"') fputc('"', row->out);
    fputc(*at, row->out);
  }
  fprintf(row->out, "\",%llu,%d,%s,%.15g\n", (unsigned long long)row->run->config->seed, row->task, metric, value);
}

// Numbers, arrays of numbers and objects of them, with names like solver.task_accuracy.2
static void write_value(const csv_row *row, const char *name, const json_t *value) {
  const char *key;
  json_t *child;
  size_t i;
  if (json_is_number(value)) write_number(row, name, json_number_value(value));
  if (json_is_array(value)) json_array_foreach(value, i, child) {
      char *inner = gd_format("%s.%zu", name, i);
      write_value(row, inner, child);
      gd_free(inner);
    }
  if (json_is_object(value)) json_object_foreach((json_t *)value, key, child) {
      char *inner = gd_format(*name ? "%s.%s" : "%s%s", name, key);
      if (strcmp(inner, "task") != 0 && strcmp(inner, "seed") != 0) write_value(row, inner, child);
      gd_free(inner);
    }
}

// Of the whole run: task 0.
static void write_cost_rows(csv_row *row) {
  const gd_report_cost *cost = &row->run->cost;
  row->task = 0;
  write_number(row, "replay_images", cost->replay_images);
  write_number(row, "teacher_evaluations", cost->teacher_evaluations);
  write_number(row, "gradients", cost->gradients);
  write_number(row, "seconds_compute", cost->seconds_compute);
  write_number(row, "seconds_replay", cost->seconds_replay);
  write_number(row, "seconds_gradients", cost->seconds_gradients);
  write_number(row, "seconds_reduction", cost->seconds_reduction);
  write_number(row, "seconds_io", cost->seconds_io);
}

gd_err gd_report_write_csv(const gd_report *report) {
  gd_err err;
  csv_row row = {.out = gd_report_open(report, "report.csv", &err)};
  if (!row.out) return err;
  fprintf(row.out, "strategy,label,seed,task,metric,value\n");
  for (int g = 0; g < report->n_groups; g++) {
    row.group = &report->groups[g];
    for (int r = 0; r < row.group->n_runs; r++) {
      row.run = row.group->runs[r];
      size_t i;
      json_t *evaluation;
      json_array_foreach(row.run->evaluations, i, evaluation) {
        row.task = (int)gd_report_number(evaluation, "task");
        write_value(&row, "", evaluation);
      }
      write_cost_rows(&row);
    }
  }
  return gd_report_close(report, "report.csv", row.out);
}
