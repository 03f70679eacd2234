/* Data and scripts for gnuplot, which draws the pictures: training loss, measures after each task, class histograms.
 * The scripts stay beside the pictures, to be changed and run again: cd DIRECTORY && gnuplot loss.gp */
#define _GNU_SOURCE  // posix_spawn_file_actions_addchdir_np
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "report/report.h"

extern char **environ;

enum { SMOOTHED_STEPS = 50 };

// Okabe and Ito's palette, which colour-blind readers can tell apart; then shades of grey.
static const char *const palette[] = {"#000000", "#0072B2", "#56B4E9", "#009E73", "#E69F00",
                                      "#CC79A7", "#D55E00", "#F0E442", "#777777", "#AAAAAA"};

const char *gd_report_colour(const gd_report_group *group) {
  return palette[group->colour % (int)(sizeof palette / sizeof *palette)];
}

void gd_report_begin_plot(FILE *gp, const char *png, int width, int height) {
  fprintf(gp, "set terminal pngcairo size %d,%d font 'Sans,15' background '#ffffff'\nset output '%s'\n", width, height,
          png);
  fprintf(gp, "set encoding utf8\nset tics nomirror\nset grid ytics lc rgb '#dddddd'\nset border 3\n");
}

// Labels without the characters that gnuplot's enhanced text takes for layout.
static void write_title(FILE *gp, const gd_report_group *group) {
  fprintf(gp, "title \"%s\" noenhanced", group->label);
}

/* ---- Training loss ---- */

static int64_t shortest(const gd_report_group *group) {
  int64_t n = group->runs[0]->n_steps;
  for (int r = 1; r < group->n_runs; r++)
    if (group->runs[r]->n_steps < n) n = group->runs[r]->n_steps;
  return n;
}

// A running mean over steps and the group's runs, which begins again with each task.
static void write_loss_data(const gd_report_group *group, FILE *data) {
  int64_t n = shortest(group), first = 0;
  double sum = 0;
  for (int64_t s = 0; s < n; s++) {
    const gd_report_run *run = group->runs[0];
    if (s > 0 && run->task[s] != run->task[s - 1]) first = s, sum = 0;
    for (int r = 0; r < group->n_runs; r++) {
      sum += group->runs[r]->loss[s];
      if (s - first >= SMOOTHED_STEPS) sum -= group->runs[r]->loss[s - SMOOTHED_STEPS];
    }
    int64_t window = s - first + 1 < SMOOTHED_STEPS ? s - first + 1 : SMOOTHED_STEPS;
    if (s - first >= SMOOTHED_STEPS / 5)
      fprintf(data, "%lld %.6g\n", (long long)s + 1, sum / (double)window / group->n_runs);
    if (s + 1 < n && run->task[s + 1] != run->task[s]) fprintf(data, "\n");  // a gap in the line
  }
  fprintf(data, "\n\n");
}

static gd_err write_loss(const gd_report *report) {
  gd_err err;
  FILE *data = gd_report_open(report, "loss.dat", &err);
  if (!data) return err;
  fprintf(data, "# step, loss (running mean of %d steps, mean of the runs); a block a group\n", SMOOTHED_STEPS);
  for (int g = 0; g < report->n_groups; g++) write_loss_data(&report->groups[g], data);
  err = gd_report_close(report, "loss.dat", data);
  FILE *gp = err == GD_OK ? gd_report_open(report, "loss.gp", &err) : NULL;
  if (!gp) return err;
  gd_report_begin_plot(gp, "loss.png", 1100, 650);
  fprintf(gp,
          "set logscale y\nset xlabel 'training step'\nset ylabel 'training loss, mean of %d steps'\n"
          "set key outside below maxrows 3\nset format y '%%g'\nset mytics 10\n",
          SMOOTHED_STEPS);
  const gd_report_run *run = report->groups[report->n_groups - 1].runs[0];  // finetune or what is nearest to it
  for (int64_t s = 1; s < run->n_steps; s++)
    if (run->task[s] != run->task[s - 1])
      fprintf(gp, "set arrow from %lld, graph 0 to %lld, graph 1 nohead dt 3 lc rgb '#999999'\n", (long long)s,
              (long long)s);
  fprintf(gp, "plot");
  for (int g = 0; g < report->n_groups; g++) {
    fprintf(gp, "%s 'loss.dat' index %d using 1:2 with lines lw 2 lc rgb '%s' ", g ? ", \\\n " : "", g,
            gd_report_colour(&report->groups[g]));
    write_title(gp, &report->groups[g]);
  }
  fprintf(gp, "\n");
  return gd_report_close(report, "loss.gp", gp);
}

/* ---- Measures after each task ---- */

enum { N_PANELS = 4 };  // the first of gd_report_metrics

static int write_course_data(const gd_report *report, const gd_report_group *group, FILE *data) {
  int n_rows = 0;
  for (int t = 1; t <= report->n_tasks; t++) {
    if (gd_report_group_mean(group, t, "kld").n == 0) continue;
    fprintf(data, "%d", t);
    for (int k = 0; k < N_PANELS; k++) {
      gd_report_mean m = gd_report_group_mean(group, t, gd_report_metrics[k].key);
      double factor = gd_report_metrics[k].factor;
      if (m.n)
        fprintf(data, " %.10g %.10g", factor * m.mean, factor * m.error);
      else
        fprintf(data, " ? ?");
    }
    fprintf(data, "\n");
    n_rows++;
  }
  fprintf(data, n_rows ? "\n\n" : "? ? ? ? ? ? ? ? ?\n\n\n");
  return n_rows;
}

static void write_panel(const gd_report *report, FILE *gp, int k, const int *n_rows) {
  const gd_report_metric *metric = &gd_report_metrics[k];
  fprintf(gp, "set ylabel \"%s\"\nplot", metric->title);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    double last = metric->factor * gd_report_group_mean(group, 0, metric->key).mean;
    bool flat = n_rows[g] == 1 && report->n_tasks > 1 && !isnan(last);  // a single point: a level to compare with
    fprintf(gp, "%s", g ? ", \\\n " : "");
    if (flat) fprintf(gp, " %.10g with lines dt 2 lw 2 lc rgb '%s' notitle, \\\n ", last, gd_report_colour(group));
    fprintf(gp, " 'metrics.dat' index %d using 1:%d:%d with yerrorlines lw 2 pt 7 ps 1 lc rgb '%s' ", g, 2 * k + 2,
            2 * k + 3, gd_report_colour(group));
    if (k == 0)
      write_title(gp, group);
    else
      fprintf(gp, "notitle");
  }
  fprintf(gp, "\n");
}

static gd_err write_measures(const gd_report *report) {
  gd_err err;
  FILE *data = gd_report_open(report, "metrics.dat", &err);
  if (!data) return err;
  int *n_rows = GD_NEW_ARRAY(int, report->n_groups);
  fprintf(data, "# tasks seen, then mean and standard error of");
  for (int k = 0; k < N_PANELS; k++) fprintf(data, "%s %s", k ? "," : "", gd_report_metrics[k].title);
  fprintf(data, "; a block a group\n");
  for (int g = 0; g < report->n_groups; g++) n_rows[g] = write_course_data(report, &report->groups[g], data);
  err = gd_report_close(report, "metrics.dat", data);
  FILE *gp = err == GD_OK ? gd_report_open(report, "metrics.gp", &err) : NULL;
  if (gp) {
    gd_report_begin_plot(gp, "metrics.png", 1200, 1000);
    fprintf(gp,
            "set datafile missing '?'\nset xlabel 'tasks learned'\nset xrange [0.7:%g]\nset xtics 1\n"
            "set yrange [0:*]\nset key outside above maxrows 3\nset multiplot layout 2,2 margins 0.09,0.98,0.08,0.86 "
            "spacing 0.1,0.1\nset key at screen 0.5,0.98 center top maxrows 2\n",
            report->n_tasks + 0.3);
    for (int k = 0; k < N_PANELS; k++) write_panel(report, gp, k, n_rows);
    fprintf(gp, "unset multiplot\n");
    err = gd_report_close(report, "metrics.gp", gp);
  }
  gd_free(n_rows);
  return err;
}

/* ---- Class histogram ---- */

static gd_err write_classes(const gd_report *report) {
  gd_err err;
  FILE *data = gd_report_open(report, "classes.dat", &err);
  if (!data) return err;
  fprintf(data, "# class, share of the test images in %%, then of each group's generated images\n");
  for (int c = 0; c < report->n_classes; c++) {
    fprintf(data, "\"%s\"", gd_report_class_name(report, c));
    char *real = gd_format("true_counts.%d", c), *generated = gd_format("generated_counts.%d", c);
    for (int g = -1; g < report->n_groups; g++) {
      const gd_report_group *group = &report->groups[g < 0 ? 0 : g];
      double count = gd_report_group_mean(group, 0, g < 0 ? real : generated).mean;
      double all = gd_report_group_mean(group, 0, g < 0 ? "n_real" : "n_generated").mean;
      fprintf(data, " %.6g", 100 * count / all);
    }
    fprintf(data, "\n");
    gd_free(real);
    gd_free(generated);
  }
  err = gd_report_close(report, "classes.dat", data);
  FILE *gp = err == GD_OK ? gd_report_open(report, "classes.gp", &err) : NULL;
  if (!gp) return err;
  gd_report_begin_plot(gp, "classes.png", 1200, 620);
  fprintf(gp,
          "set style data histograms\nset style histogram clustered gap 1\nset style fill solid 0.9 noborder\n"
          "set ylabel 'share of the images after the last task, %%'\nset yrange [0:*]\n"
          "set xtics rotate by -25 scale 0\nset key outside above maxrows 2\n"
          "plot 'classes.dat' using 2:xtic(1) lc rgb '#bbbbbb' title 'test images'");
  for (int g = 0; g < report->n_groups; g++) {
    fprintf(gp, ", \\\n  '' using %d lc rgb '%s' ", g + 3, gd_report_colour(&report->groups[g]));
    write_title(gp, &report->groups[g]);
  }
  fprintf(gp, "\n");
  return gd_report_close(report, "classes.gp", gp);
}

/* ---- gnuplot ---- */

// Runs a script in the report's folder; false with a warning where that does not work.
static bool run_gnuplot(const gd_report *report, const char *script) {
  char *const arguments[] = {"gnuplot", (char *)script, NULL};
  posix_spawn_file_actions_t actions;
  pid_t process;
  int status = 0;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, report->directory);
  int failed = posix_spawnp(&process, "gnuplot", &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed) {
    gd_log(GD_LOG_WARN, "gnuplot cannot be run (%s): tables only, no pictures", strerror(failed));
    return false;
  }
  if (waitpid(process, &status, 0) == process && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  gd_log(GD_LOG_WARN, "gnuplot failed on %s/%s: not all pictures are drawn", report->directory, script);
  return false;
}

gd_err gd_report_draw(const gd_report *report, bool *drawn) {
  gd_err err;
  GD_TRY(gd_report_write_grid(report));
  GD_TRY(write_loss(report));
  *drawn = run_gnuplot(report, "grid.gp") && run_gnuplot(report, "loss.gp");
  if (report->n_classes == 0) goto done;
  GD_TRY(write_measures(report));
  GD_TRY(write_classes(report));
  *drawn = *drawn && run_gnuplot(report, "metrics.gp") && run_gnuplot(report, "classes.gp");
done:
  return err;
}
