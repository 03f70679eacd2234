/* What the files of the report share: runs as read, groups of runs, and the numbers that are reported. */
#ifndef GD_REPORT_REPORT_H
#define GD_REPORT_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "gendistill/config.h"
#include "gendistill/report.h"

/* Sums over the steps of a run. */
typedef struct gd_report_cost {
  double images, seconds_compute, seconds_replay, seconds_reduction, seconds_io;
} gd_report_cost;

typedef struct gd_report_run {
  const char *path;
  gd_config *config;
  char *settings; /* the resolved configuration */
  float *loss;    /* (n_steps) */
  int *task;      /* (n_steps) from 1 */
  int64_t n_steps;
  gd_report_cost cost;
  json_t *evaluations; /* array of objects, one a task, in the order of the tasks */
  char *frechet;       /* name of the distance: frechet_<extractor> or fid; NULL without evaluations */
} gd_report_run;

/* Reads config.resolved.yaml and metrics.jsonl. GD_ERR_INPUT naming file and line. */
gd_err gd_report_run_read(gd_report_run *out, const char *path);
void gd_report_run_clear(gd_report_run *run);

/* Number `key` ("kld", "solver.forgetting", "task_share.2") of an evaluation; NAN where there is none. */
double gd_report_number(const json_t *evaluation, const char *key);

/* The last evaluation, or NULL; and the one that has seen n tasks. */
const json_t *gd_report_last(const gd_report_run *run);
const json_t *gd_report_seen(const gd_report_run *run, int n_tasks);

/* Runs that differ in the seed only. */
typedef struct gd_report_group {
  char *label; /* the strategy, and what tells it from groups of the same strategy */
  int colour;  /* index of its colour, the same in all pictures */
  int n_runs;
  const gd_report_run **runs;
} gd_report_group;

typedef struct gd_report {
  const char *directory;
  int n_runs, n_groups, n_tasks, n_classes; /* n_tasks, n_classes: most of any run */
  gd_report_run *runs;
  gd_report_group *groups;
} gd_report;

/* Sorts the runs into groups, the groups into the order of the strategies. Local. */
void gd_report_group_runs(gd_report *report);

/* Mean and standard error of a number over the runs of a group that have it. */
typedef struct gd_report_mean {
  int n;
  double mean, error; /* error: 0 for n = 1; mean: NAN for n = 0 */
} gd_report_mean;

/* Of `key` after `n_tasks` tasks seen; 0: after the last task. "frechet" stands for the distance, whatever its name. */
gd_report_mean gd_report_group_mean(const gd_report_group *group, int n_tasks, const char *key);

/* A number that is reported for each task. */
typedef struct gd_report_metric {
  const char *key, *title;
  double factor; /* from the stored number to the one shown */
  int digits;    /* behind the point */
  bool higher_is_better;
} gd_report_metric;

enum { GD_N_METRICS = 5 };
extern const gd_report_metric gd_report_metrics[GD_N_METRICS];

/* "T-shirt" for class 0 of Fashion-MNIST. */
const char *gd_report_class_name(const gd_report *report, int class);

/* DIRECTORY/NAME opened for writing; NULL with an error recorded. */
FILE *gd_report_open(const gd_report *report, const char *name, gd_err *err);
gd_err gd_report_close(const gd_report *report, const char *name, FILE *file);

gd_err gd_report_write_csv(const gd_report *report);
/* pictures: whether they were drawn, to be linked. */
gd_err gd_report_write_markdown(const gd_report *report, bool pictures);
/* Data and scripts for gnuplot; *drawn: whether it has made the pictures. */
gd_err gd_report_draw(const gd_report *report, bool *drawn);
/* grid-images.png and grid.gp: images after each task, a row a group. */
gd_err gd_report_write_grid(const gd_report *report);

/* The first lines of a gnuplot script: terminal, output file, fonts, margins. */
void gd_report_begin_plot(FILE *gp, const char *png, int width, int height);
/* "#rrggbb" of a group. */
const char *gd_report_colour(const gd_report_group *group);

#endif
