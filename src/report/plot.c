/* Data and scripts for gnuplot, which draws the pictures: training loss, measures after each task, class histograms.
 * The scripts stay with the pictures, to be changed and run again: cd DIRECTORY && gnuplot loss.gp */
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report/report.h"

extern char **environ;

enum { SMOOTHED_STEPS = 50 };

const gd_report_picture gd_report_pictures[GD_N_PICTURES] = {
    {"grid", "Images after each task, one row per strategy"},
    {"loss", "Training loss"},
    {"metrics", "Measures after each task"},
    {"classes", "Classes of the images after the last task"},
    {"timesteps", "Mean squared error by timestep, in the last epoch"},
    {"cost", "Measures after the last task, against what the teacher's replay cost"},
};

// Okabe and Ito's palette, which colour-blind readers can distinguish; then shades of grey.
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

void gd_report_write_quoted(FILE *gp, const char *text) {
  fputc('\'', gp);
  for (; *text; text++) {
    if (*text == '\'') fputc('\'', gp);
    fputc(*text, gp);
  }
  fputc('\'', gp);
}

static void write_title(FILE *gp, const gd_report_group *group) {
  fprintf(gp, "title ");
  gd_report_write_quoted(gp, group->label);
  fprintf(gp, " noenhanced");
}

/* ---- Training loss ---- */

static const gd_report_run *longest_run(const gd_report_group *group) {
  const gd_report_run *longest = group->runs[0];
  for (int r = 1; r < group->n_runs; r++)
    if (group->runs[r]->n_steps > longest->n_steps) longest = group->runs[r];
  return longest;
}

// Mean loss of the runs that have come to step s (from 0).
static double mean_loss(const gd_report_group *group, int64_t s) {
  double sum = 0;
  int n = 0;
  for (int r = 0; r < group->n_runs; r++) {
    if (group->runs[r]->n_steps <= s) continue;
    sum += group->runs[r]->loss[s];
    n++;
  }
  return sum / n;
}

// A running mean, which begins again with each task.
static void write_loss_data(const gd_report_group *group, FILE *data) {
  const gd_report_run *run = longest_run(group);
  int64_t first = 0;
  double sum = 0;
  for (int64_t s = 0; s < run->n_steps; s++) {
    if (s > 0 && run->task[s] != run->task[s - 1]) {
      fprintf(data, "\n");  // a gap in the line
      first = s;
      sum = 0;
    }
    int64_t window = s - first + 1;
    sum += mean_loss(group, s);
    if (window > SMOOTHED_STEPS) sum -= mean_loss(group, s - SMOOTHED_STEPS);
    if (window > SMOOTHED_STEPS) window = SMOOTHED_STEPS;
    fprintf(data, "%lld %.6g\n", (long long)s + 1, sum / (double)window);
  }
  fprintf(data, run->n_steps > 0 ? "\n\n" : "? ?\n\n\n");
}

static void write_task_lines(const gd_report *report, FILE *gp) {
  const gd_report_run *run = longest_run(&report->groups[0]);
  for (int g = 1; g < report->n_groups; g++) {  // one that goes task by task
    const gd_report_run *other = longest_run(&report->groups[g]);
    if (gd_report_is_joint(run) || run->n_steps == 0) run = other;
  }
  for (int64_t s = 1; s < run->n_steps; s++)
    if (run->task[s] != run->task[s - 1])
      fprintf(gp,
              "set arrow from %lld, graph 0 to %lld, graph 1 nohead dt 3 lc rgb '#999999'\n"
              "set label 'task %d' at %lld, graph 1 offset 0.5,-0.6 tc rgb '#777777' font 'Sans,12'\n",
              (long long)s, (long long)s, run->task[s], (long long)s);
}

static gd_err write_loss(const gd_report *report) {
  gd_err err;
  FILE *data = gd_report_open(report, "loss.dat", &err);
  if (!data) return err;
  fprintf(data, "# step, loss (running mean of %d steps, mean of the runs); one block per group\n", SMOOTHED_STEPS);
  for (int g = 0; g < report->n_groups; g++) write_loss_data(&report->groups[g], data);
  err = gd_report_close(report, "loss.dat", data);
  FILE *gp = err == GD_OK ? gd_report_open(report, "loss.gp", &err) : NULL;
  if (!gp) return err;
  gd_report_begin_plot(gp, "loss.png", 1100, 650);
  fprintf(gp,
          "set datafile missing '?'\nset logscale y\nset xlabel 'training step'\nset autoscale xfix\nset autoscale "
          "yfixmax\n"
          "set ylabel 'training loss, mean of %d steps'\n"
          "set key outside below maxrows 3\nset format y '%%g'\nset mytics 10\n",
          SMOOTHED_STEPS);
  write_task_lines(report, gp);
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

enum { N_PANELS = 4 };  // the first numbers that are drawn

// Returns how many rows the group has.
static int write_course_data(const gd_report *report, const gd_report_group *group, FILE *data) {
  int n_rows = 0;
  for (int t = 1; t <= report->n_tasks; t++) {
    if (gd_report_group_mean(group, t, "tasks_seen").n == 0) continue;
    fprintf(data, "%d", t);
    for (int k = 0; k < N_PANELS; k++) {
      gd_report_mean m = gd_report_group_mean(group, t, gd_reported_drawn(k)->key);
      double factor = gd_reported_drawn(k)->factor;
      fprintf(data, m.n > 0 ? " %.10g" : " ?", factor * m.mean);
      fprintf(data, m.n > 1 ? " %.10g" : " ?", factor * m.error);
    }
    fprintf(data, "\n");
    n_rows++;
  }
  fprintf(data, n_rows ? "\n\n" : "? ? ? ? ? ? ? ? ?\n\n\n");
  return n_rows;
}

// Whether after some task at least this number of runs have the metric.
static bool has(const gd_report *report, const gd_report_group *group, const char *key, int n_runs) {
  for (int t = 1; t <= report->n_tasks; t++)
    if (gd_report_group_mean(group, t, key).n >= n_runs) return true;
  return false;
}

static void write_panel(const gd_report *report, FILE *gp, int k, const int *n_rows) {
  const gd_reported *metric = gd_reported_drawn(k);
  int g_with = 0;
  while (g_with < report->n_groups && !has(report, &report->groups[g_with], metric->key, 1)) g_with++;
  if (g_with == report->n_groups) {  // gnuplot refuses to plot nothing
    fprintf(gp, "set multiplot next\n");
    return;
  }
  fprintf(gp, "set ylabel \"%s\"\nplot NaN notitle", metric->title);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    gd_report_mean last = gd_report_group_mean(group, 0, metric->key);
    const char *colour = gd_report_colour(group);
    if (last.n > 0 && n_rows[g] == 1 && report->n_tasks > 1)  // a single point: a level to compare with
      fprintf(gp, ", \\\n  %.10g with lines dt 2 lw 2 lc rgb '%s' notitle", metric->factor * last.mean, colour);
    if (has(report, group, metric->key, 1))
      fprintf(gp, ", \\\n  'metrics.dat' index %d using 1:%d with linespoints lw 2 pt 7 ps 1 lc rgb '%s' notitle", g,
              2 * k + 2, colour);
    if (has(report, group, metric->key, 2))
      fprintf(gp, ", \\\n  'metrics.dat' index %d using 1:%d:%d with yerrorbars lw 2 pt 7 ps 1 lc rgb '%s' notitle", g,
              2 * k + 2, 2 * k + 3, colour);
  }
  fprintf(gp, "\n");
}

enum { KEY_ROW_PIXELS = 28, KEY_LETTER_PIXELS = 9, KEY_LINE_PIXELS = 80 };

// As many columns as the longest label leaves room for, at most three.
static int key_columns(const gd_report *report) {
  int longest = 1;
  for (int g = 0; g < report->n_groups; g++) {
    int length = (int)strlen(report->groups[g].label);
    if (length > longest) longest = length;
  }
  int columns = GD_PANELS_WIDTH / (KEY_LINE_PIXELS + KEY_LETTER_PIXELS * longest);
  return columns < 1 ? 1 : columns > 3 ? 3 : columns;
}

int gd_report_key_height(const gd_report *report, int n) {
  int columns = key_columns(report);
  return 20 + KEY_ROW_PIXELS * ((n + columns - 1) / columns);
}

void gd_report_write_key(const gd_report *report, FILE *gp, const int *n_rows, int height) {
  int n = 0, columns = key_columns(report);
  for (int g = 0; g < report->n_groups; g++) {
    if (n_rows[g] == 0) continue;
    double x = 0.05 + 0.95 / columns * (n % columns);
    int row = n / columns;
    double y = 1 - (double)(KEY_ROW_PIXELS * row + 24) / height;
    fprintf(gp, "set arrow from screen %.4f,%.4f to screen %.4f,%.4f nohead lw 4 lc rgb '%s'\nset label ", x, y,
            x + 0.035, y, gd_report_colour(&report->groups[g]));
    gd_report_write_quoted(gp, report->groups[g].label);
    fprintf(gp, " noenhanced at screen %.4f,%.4f\n", x + 0.045, y);
    n++;
  }
}

static gd_err write_measures(const gd_report *report) {
  enum { PANELS_HEIGHT = 940 };
  gd_err err;
  FILE *data = gd_report_open(report, "metrics.dat", &err);
  if (!data) return err;
  int *n_rows = GD_NEW_ARRAY(int, report->n_groups), n_shown = 0;
  fprintf(data, "# tasks seen, then mean and standard error of");
  for (int k = 0; k < N_PANELS; k++) fprintf(data, "%s %s", k ? "," : "", gd_reported_drawn(k)->title);
  fprintf(data, "; one block per group\n");
  for (int g = 0; g < report->n_groups; g++) {
    n_rows[g] = write_course_data(report, &report->groups[g], data);
    n_shown += n_rows[g] > 0;
  }
  err = gd_report_close(report, "metrics.dat", data);
  FILE *gp = err == GD_OK ? gd_report_open(report, "metrics.gp", &err) : NULL;
  if (gp) {
    int key = gd_report_key_height(report, n_shown), height = PANELS_HEIGHT + key;
    gd_report_begin_plot(gp, "metrics.png", GD_PANELS_WIDTH, height);
    fprintf(gp,
            "set datafile missing '?'\nset xlabel 'tasks learned'\nset xrange [0.7:%g]\nset xtics 1\n"
            "set yrange [0:*]\nset multiplot layout 2,2 margins 0.1,0.98,0.08,%.4f spacing 0.1,0.1\n",
            report->n_tasks + 0.3, 1 - (double)(key + 15) / height);
    gd_report_write_key(report, gp, n_rows, height);
    for (int k = 0; k < N_PANELS; k++) write_panel(report, gp, k, n_rows);
    fprintf(gp, "unset multiplot\n");
    err = gd_report_close(report, "metrics.gp", gp);
  }
  gd_free(n_rows);
  return err;
}

/* ---- Class histogram ---- */

// One row per class: its share of the test images, then of each group's images, "?" where there are none.
static void write_classes_data(const gd_report *report, FILE *data) {
  const gd_report_group *measured = NULL;
  for (int g = 0; g < report->n_groups && !measured; g++)
    if (gd_report_group_mean(&report->groups[g], 0, "n_real").n > 0) measured = &report->groups[g];
  fprintf(data, "# class, share of the test images in %%, then of each group's generated images\n");
  for (int c = 0; c < report->n_classes; c++) {
    fprintf(data, "\"%s\"", gd_report_class_name(report, c));
    char *real = gd_format("true_counts.%d", c), *generated = gd_format("generated_counts.%d", c);
    for (int g = -1; g < report->n_groups; g++) {
      const gd_report_group *group = g < 0 ? measured : &report->groups[g];
      gd_report_mean count = gd_report_group_mean(group, 0, g < 0 ? real : generated);
      double all = gd_report_group_mean(group, 0, g < 0 ? "n_real" : "n_generated").mean;
      fprintf(data, count.n > 0 && all > 0 ? " %.6g" : " ?", 100 * count.mean / all);
    }
    fprintf(data, "\n");
    gd_free(real);
    gd_free(generated);
  }
}

static gd_err write_classes(const gd_report *report) {
  gd_err err;
  FILE *data = gd_report_open(report, "classes.dat", &err);
  if (!data) return err;
  write_classes_data(report, data);
  err = gd_report_close(report, "classes.dat", data);
  FILE *gp = err == GD_OK ? gd_report_open(report, "classes.gp", &err) : NULL;
  if (!gp) return err;
  gd_report_begin_plot(gp, "classes.png", 1200, 620);
  fprintf(gp,
          "set datafile missing '?'\nset style data histograms\nset style histogram clustered gap 1\n"
          "set style fill solid 0.9 noborder\n"
          "set ylabel 'share of the images after the last task, %%'\nset yrange [0:*]\n"
          "set xtics scale 0 font 'Sans,13'\nset key outside above horizontal width 1\n"
          "plot 'classes.dat' using 2:xtic(1) lc rgb '#bbbbbb' title 'test images'");
  for (int g = 0; g < report->n_groups; g++) {
    if (gd_report_group_mean(&report->groups[g], 0, "n_generated").n == 0) continue;
    fprintf(gp, ", \\\n  '' using %d lc rgb '%s' ", g + 3, gd_report_colour(&report->groups[g]));
    write_title(gp, &report->groups[g]);
  }
  fprintf(gp, "\n");
  return gd_report_close(report, "classes.gp", gp);
}

/* ---- Quality against cost ---- */

// One row per group: its label, teacher evaluations, then mean and standard error of the first two metrics.
static void write_cost_data(const gd_report *report, FILE *data) {
  fprintf(data, "# label, teacher evaluations, then mean and standard error of %s, %s after the last task\n",
          gd_reported_drawn(0)->title, gd_reported_drawn(1)->title);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    fputc('"', data);
    for (const char *at = group->label; *at; at++) fputc(*at == '"' ? '\'' : *at, data);  // it has no way to write a "
    fprintf(data, "\" %.10g", gd_report_group_cost(group).teacher_evaluations);
    for (int k = 0; k < 2; k++) {
      gd_report_mean m = gd_report_group_mean(group, 0, gd_reported_drawn(k)->key);
      fprintf(data, m.n > 0 ? " %.10g" : " ?", m.mean);
      fprintf(data, m.n > 0 ? " %.10g" : " ?", m.error);
    }
    fprintf(data, "\n");
  }
}

// Groups with replay as points, those without as levels to compare with.
static void write_cost_panel(const gd_report *report, FILE *gp, int k) {
  fprintf(gp, "set ylabel \"%s\"\nplot NaN notitle", gd_reported_drawn(k)->title);
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    gd_report_mean m = gd_report_group_mean(group, 0, gd_reported_drawn(k)->key);
    const char *colour = gd_report_colour(group);
    if (m.n == 0) continue;
    if (gd_report_group_cost(group).teacher_evaluations == 0)
      fprintf(gp, ", \\\n  %.10g with lines dt 2 lw 2 lc rgb '%s' notitle", m.mean, colour);
    else
      fprintf(gp,
              ", \\\n  'cost.dat' every ::%d::%d using 2:%d:%d with yerrorbars lw 2 pt 7 ps 1.5 lc rgb '%s' notitle", g,
              g, 2 * k + 3, 2 * k + 4, colour);
  }
  fprintf(gp, "\n");
}

static gd_err plot_cost(const gd_report *report) {
  enum { PANELS_HEIGHT = 520 };
  gd_err err;
  FILE *data = gd_report_open(report, "cost.dat", &err);
  if (!data) return err;
  write_cost_data(report, data);
  err = gd_report_close(report, "cost.dat", data);
  FILE *gp = err == GD_OK ? gd_report_open(report, "cost.gp", &err) : NULL;
  if (!gp) return err;
  int *shown = GD_NEW_ARRAY(int, report->n_groups), n = 0;
  for (int g = 0; g < report->n_groups; g++) n += shown[g] = gd_report_last(report->groups[g].runs[0]) != NULL;
  int key = gd_report_key_height(report, n), height = PANELS_HEIGHT + key;
  gd_report_begin_plot(gp, "cost.png", GD_PANELS_WIDTH, height);
  fprintf(gp,
          "set datafile missing '?'\nset logscale x\nset format x '10^{%%T}'\nset xlabel 'teacher evaluations'\n"
          "set yrange [0:*]\nset offsets graph 0.05, graph 0.05, graph 0.05, 0\n"
          "set multiplot layout 1,2 margins 0.1,0.98,0.14,%.4f spacing 0.1,0.1\n",
          1 - (double)(key + 15) / height);
  gd_report_write_key(report, gp, shown, height);
  for (int k = 0; k < 2; k++) write_cost_panel(report, gp, k);
  fprintf(gp, "unset multiplot\n");
  gd_free(shown);
  return gd_report_close(report, "cost.gp", gp);
}

// Whether there is something to compare: two groups with measures and different costs.
static bool has_costs(const gd_report *report) {
  double first = -1;
  for (int g = 0; g < report->n_groups; g++) {
    double cost = gd_report_group_cost(&report->groups[g]).teacher_evaluations;
    if (cost == 0 || gd_report_group_mean(&report->groups[g], 0, gd_reported_drawn(0)->key).n == 0) continue;
    if (first >= 0 && cost != first) return true;
    first = cost;
  }
  return false;
}

/* ---- gnuplot ---- */

// Runs a script in the report's folder; `*gnuplot` becomes false where there is no gnuplot. Whether it went well.
static bool run_gnuplot(const gd_report *report, const char *script, bool *gnuplot) {
  char *quoted = NULL;
  pid_t process;
  int status = 0;
  FILE *folder = gd_text_begin(&quoted);
  fprintf(folder, "cd ");
  gd_report_write_quoted(folder, report->directory);
  gd_text_end(folder);
  setenv("LC_ALL", "C.UTF-8", 1);  // or it warns of signs that it cannot convert
  char *const arguments[] = {"gnuplot", "-e", quoted, (char *)script, NULL};
  int failed = posix_spawnp(&process, "gnuplot", NULL, NULL, arguments, environ);
  gd_free(quoted);
  if (failed) {
    gd_log(GD_LOG_WARN, "gnuplot cannot be run (%s): tables only, no pictures", strerror(failed));
    *gnuplot = false;
    return false;
  }
  if (waitpid(process, &status, 0) == process && WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  gd_log(GD_LOG_WARN, "gnuplot failed on %s/%s: no such picture in the report", report->directory, script);
  return false;
}

// gnuplot says nothing where the disk is full.
static bool is_whole_png(const char *path) {
  static const char last_chunk[] = "\0\0\0\0IEND\xae\x42\x60\x82";
  char end[sizeof last_chunk - 1] = "";
  FILE *file = fopen(path, "rb");
  bool whole = file && fseek(file, -(long)sizeof end, SEEK_END) == 0 && fread(end, sizeof end, 1, file) == 1 &&
               memcmp(end, last_chunk, sizeof end) == 0;
  if (file) fclose(file);
  return whole;
}

// Draws a picture by its script, where there is gnuplot.
static gd_err draw_picture(const gd_report *report, const char *name, bool *gnuplot, bool *drawn) {
  gd_err err = GD_OK;
  char *script = gd_format("%s.gp", name), *png = gd_format("%s/%s.png", report->directory, name);
  *drawn = *gnuplot && run_gnuplot(report, script, gnuplot);
  if (*drawn && !is_whole_png(png)) {
    *drawn = false;
    err = gd_error(GD_ERR_FAILED, "%s: gnuplot has not written the whole picture: is the disk full?", png);
  }
  if (*drawn)
    printf("%s\n", png);
  else
    unlink(png);  // an older one, or the beginning of one
  gd_free(script);
  gd_free(png);
  return err;
}

static bool has_steps(const gd_report *report) {
  for (int i = 0; i < report->n_runs; i++)
    if (report->runs[i].n_steps > 0) return true;
  return false;
}

static bool has_last(const gd_report *report) {
  for (int i = 0; i < report->n_runs; i++)
    if (gd_report_last(&report->runs[i])) return true;
  return false;
}

gd_err gd_report_draw(gd_report *report) {
  gd_err err;
  const bool wanted[GD_N_PICTURES] = {true,
                                      has_steps(report),
                                      report->n_classes > 0,
                                      has_last(report),
                                      gd_report_has_timesteps(report),
                                      has_costs(report)};
  gd_err (*const write_scripts[GD_N_PICTURES])(const gd_report *) = {
      gd_report_write_grid, write_loss, write_measures, write_classes, gd_report_write_timesteps, plot_cost};
  bool gnuplot = true;
  for (int i = 0; i < GD_N_PICTURES; i++) {
    if (!wanted[i]) continue;
    GD_TRY(write_scripts[i](report));
    GD_TRY(draw_picture(report, gd_report_pictures[i].name, &gnuplot, &report->drawn[i]));
  }
  err = GD_OK;
done:
  return err;
}
