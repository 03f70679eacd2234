/* What the files of the report share: runs as read, groups of runs, and the numbers that are reported. */
#ifndef GD_REPORT_REPORT_H
#define GD_REPORT_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "gendistill/config.h"
#include "gendistill/eval.h"
#include "gendistill/report.h"

/* Sums over the steps of a run, and over its replay pools. */
typedef struct gd_report_cost {
  double steps, images, replay_images, teacher_evaluations;
  double gradients; /* of single images, at the end of a task */
  double seconds_compute, seconds_replay, seconds_gradients, seconds_reduction, seconds_io;
} gd_report_cost;

typedef struct gd_report_run {
  const char *path;
  gd_config *config;
  char *settings; /* the resolved configuration */
  float *loss;    /* (n_steps) */
  int *task;      /* (n_steps) from 1 */
  int64_t n_steps;
  gd_report_cost cost;
  double pool_evaluations[GD_MAX_CLASSES]; /* of each task's pool */
  json_t *evaluations;                     /* array of objects, one per task, in the order of the tasks */
  json_t *timesteps;                       /* the newest line of loss_by_timestep, or NULL */
  char *frechet; /* name of the distance: frechet_<extractor> or fid; NULL without evaluations */
} gd_report_run;

/* Reads config.resolved.yaml and metrics.jsonl. GD_ERR_INPUT naming file and line. */
gd_err gd_report_run_read(gd_report_run *out, const char *path);
void gd_report_run_clear(gd_report_run *run);

/* Number `key` ("kld", "solver.forgetting", "task_share.2") of an evaluation; NAN where there is none. */
double gd_report_number(const json_t *evaluation, const char *key);

/* Whether the run learns all tasks at once, and so has a single one. */
bool gd_report_is_joint(const gd_report_run *run);

/* The newest evaluation; that after the run's last task; that which has seen n tasks. NULL where there is none. */
const json_t *gd_report_newest(const gd_report_run *run);
const json_t *gd_report_last(const gd_report_run *run);
const json_t *gd_report_seen(const gd_report_run *run, int n_tasks);

/* A picture NAME.png, drawn by NAME.gp. */
typedef struct gd_report_picture {
  const char *name, *caption;
} gd_report_picture;

enum { GD_N_PICTURES = 6 };
extern const gd_report_picture gd_report_pictures[GD_N_PICTURES];

/* Runs that differ in the seed only. */
typedef struct gd_report_group {
  char *label; /* the strategy, and what distinguishes it from groups of the same strategy */
  int colour;  /* index of its colour, the same in all pictures */
  int n_runs;
  const gd_report_run **runs;
} gd_report_group;

typedef struct gd_report {
  const char *directory;
  int n_runs, n_groups, n_tasks, n_classes; /* n_tasks, n_classes: maximum over the runs */
  gd_report_run *runs;
  gd_report_group *groups;
  bool drawn[GD_N_PICTURES]; /* which pictures there are */
} gd_report;

/* Sorts the runs into groups, the groups into the order of the strategies. Local. */
void gd_report_group_runs(gd_report *report);

/* Mean and standard error of a number over the runs of a group that have it. */
typedef struct gd_report_mean {
  int n;
  double mean, error; /* error: 0 for n = 1; mean: NAN for n = 0 */
} gd_report_mean;

/* Of `key` after `n_tasks` tasks seen; 0: after the last task. "frechet" is the distance, whatever its name. */
gd_report_mean gd_report_group_mean(const gd_report_group *group, int n_tasks, const char *key);

/* Mean cost of a group's runs. */
gd_report_cost gd_report_group_cost(const gd_report_group *group);

/* "T-shirt" for class 0 of Fashion-MNIST. */
const char *gd_report_class_name(const gd_report *report, int class);

/* DIRECTORY/NAME opened for writing; NULL with an error recorded. */
FILE *gd_report_open(const gd_report *report, const char *name, gd_err *err);
/* Closes it and prints its name to stdout. */
gd_err gd_report_close(const gd_report *report, const char *name, FILE *file);

gd_err gd_report_write_csv(const gd_report *report);
gd_err gd_report_write_markdown(const gd_report *report);
/* Data and scripts for gnuplot, and the pictures as far as it can make them: report->drawn. */
gd_err gd_report_draw(gd_report *report);
/* grid-images.png and grid.gp: images after each task, one row per group. */
gd_err gd_report_write_grid(const gd_report *report);

/* timesteps.dat and timesteps.gp: mean squared error by timestep; and whether any group has it. */
gd_err gd_report_write_timesteps(const gd_report *report);
bool gd_report_has_timesteps(const gd_report *report);

/* The first lines of a gnuplot script: terminal, output file, fonts, margins. */
void gd_report_begin_plot(FILE *gp, const char *png, int width, int height);
/* `text` in quotes, as gnuplot wants it. */
void gd_report_write_quoted(FILE *gp, const char *text);
/* "#rrggbb" of a group. */
const char *gd_report_colour(const gd_report_group *group);

/* One key for all panels of a picture GD_PANELS_WIDTH wide (gnuplot's own is as wide as a panel): its height for n
 * entries, and its lines in the script, for the groups that have rows. height: of the picture. */
enum { GD_PANELS_WIDTH = 1200 };
int gd_report_key_height(const gd_report *report, int n);
void gd_report_write_key(const gd_report *report, FILE *gp, const int *n_rows, int height);

#endif
