/* The report of several runs: read them, group them, write tables, draw pictures. */
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

#include "gendistill/store.h"

static const gd_dataset_kind *dataset_of(const gd_report_run *run) {
  return gd_dataset_kind_get(run->config->dataset.name);
}

const char *gd_report_class_name(const gd_report *report, int class) {
  const gd_dataset_kind *dataset = dataset_of(&report->runs[0]);
  GD_REQUIRE(class >= 0 && class < dataset->n_classes);
  return dataset->class_names[class];
}

FILE *gd_report_open(const gd_report *report, const char *name, gd_err *err) {
  char *path = gd_format("%s/%s", report->directory, name);
  FILE *file = gd_file_begin(path, err);
  gd_free(path);
  return file;
}

gd_err gd_report_close(const gd_report *report, const char *name, FILE *file) {
  char *path = gd_format("%s/%s", report->directory, name);
  gd_err err = gd_file_end(file, path, GD_OK);
  if (err == GD_OK) printf("%s\n", path);
  gd_free(path);
  return err;
}

// The same folder under two names would count a run twice.
static gd_err refuse_twice(int n_runs, const char *const *runs) {
  gd_err err = GD_OK;
  for (int i = 0; i < n_runs && err == GD_OK; i++) {
    char *mine = realpath(runs[i], NULL);
    for (int k = 0; k < i && mine && err == GD_OK; k++) {
      char *other = realpath(runs[k], NULL);
      if (other && strcmp(mine, other) == 0) err = gd_error(GD_ERR_INPUT, "%s: given twice", runs[i]);
      free(other);
    }
    free(mine);
  }
  return err;
}

static gd_err check_one_dataset(const gd_report *report) {
  for (int i = 1; i < report->n_runs; i++)
    if (dataset_of(&report->runs[i]) != dataset_of(&report->runs[0]))
      return gd_error(GD_ERR_INPUT, "%s and %s are of different data sets: make a report of each", report->runs[0].path,
                      report->runs[i].path);
  return GD_OK;
}

static void clear_report(gd_report *report) {
  for (int i = 0; i < report->n_runs; i++) gd_report_run_clear(&report->runs[i]);
  for (int g = 0; g < report->n_groups; g++) {
    gd_free(report->groups[g].label);
    gd_free(report->groups[g].runs);
  }
  gd_free(report->runs);
  gd_free(report->groups);
}

gd_err gd_report_write(int n_runs, const char *const *runs, const char *directory) {
  gd_err err;
  gd_report report = {.directory = directory, .runs = GD_NEW_ARRAY(gd_report_run, n_runs)};
  GD_TRY(refuse_twice(n_runs, runs));
  for (; report.n_runs < n_runs; report.n_runs++)
    GD_TRY(gd_report_run_read(&report.runs[report.n_runs], runs[report.n_runs]));
  GD_TRY(check_one_dataset(&report));
  gd_report_group_runs(&report);
  GD_TRY(gd_folder_make(directory));
  GD_TRY(gd_report_write_csv(&report));
  GD_TRY(gd_report_draw(&report));
  err = gd_report_write_markdown(&report);
done:
  clear_report(&report);
  return err;
}
