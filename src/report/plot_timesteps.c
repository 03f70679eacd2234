/* The picture of the squared errors by timestep: data and script for gnuplot. */
#include <math.h>

#include "report/report.h"

// Mean over the runs of a group that have a number there; NAN: none has.
static double mean_in_bin(const gd_report_group *group, const char *half, int bin) {
  double sum = 0;
  int n = 0;
  char *key = gd_format("%s.%d", half, bin);
  for (int r = 0; r < group->n_runs; r++) {
    double number = gd_report_number(group->runs[r]->timesteps, key);
    if (isnan(number)) continue;
    sum += number;
    n++;
  }
  gd_free(key);
  return n > 0 ? sum / n : NAN;
}

static int count_bins(const gd_report_group *group) {
  int n = 0;
  for (int r = 0; r < group->n_runs; r++) {
    int mine = (int)json_array_size(json_object_get(group->runs[r]->timesteps, "data"));
    if (mine > n) n = mine;
  }
  return n;
}

static const char *const halves[] = {"data", "replay"};

// A block per group: the middle of a bin as a share of the timesteps, error of the data, error of the replay images.
static void write_timesteps_data(const gd_report *report, FILE *data) {
  fprintf(data, "# timestep as a share of all, mean squared error of the data, of the replay; one block per group\n");
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_group *group = &report->groups[g];
    int n = count_bins(group);
    for (int bin = 0; bin < n; bin++) {
      fprintf(data, "%.6g", (bin + 0.5) / n);
      for (int half = 0; half < 2; half++) {
        double mean = mean_in_bin(group, halves[half], bin);
        fprintf(data, mean > 0 ? " %.6g" : " ?", mean);
      }
      fprintf(data, "\n");
    }
    fprintf(data, n > 0 ? "\n\n" : "? ? ?\n\n\n");
  }
}

static bool has_half(const gd_report_group *group, int half) {
  for (int bin = 0; bin < count_bins(group); bin++)
    if (mean_in_bin(group, halves[half], bin) > 0) return true;
  return false;
}

bool gd_report_has_timesteps(const gd_report *report) {
  for (int g = 0; g < report->n_groups; g++)
    if (has_half(&report->groups[g], 0)) return true;
  return false;
}

gd_err gd_report_write_timesteps(const gd_report *report) {
  enum { PANELS_HEIGHT = 520 };
  static const char *const titles[] = {"error of the current images", "error of the replay images"};
  gd_err err;
  FILE *data = gd_report_open(report, "timesteps.dat", &err);
  if (!data) return err;
  write_timesteps_data(report, data);
  err = gd_report_close(report, "timesteps.dat", data);
  FILE *gp = err == GD_OK ? gd_report_open(report, "timesteps.gp", &err) : NULL;
  if (!gp) return err;
  int *shown = GD_NEW_ARRAY(int, report->n_groups), n = 0;
  for (int g = 0; g < report->n_groups; g++) n += shown[g] = has_half(&report->groups[g], 0);
  int key = gd_report_key_height(report, n), height = PANELS_HEIGHT + key;
  gd_report_begin_plot(gp, "timesteps.png", GD_PANELS_WIDTH, height);
  fprintf(
      gp,
      "set datafile missing '?'\nset logscale y\nset format y '%%g'\nset xlabel 'timestep t / T'\nset xrange [0:1]\n"
      "set multiplot layout 1,2 margins 0.1,0.98,0.14,%.4f spacing 0.1,0.1\n",
      1 - (double)(key + 15) / height);
  gd_report_write_key(report, gp, shown, height);
  for (int half = 0; half < 2; half++) {
    bool any = false;
    for (int g = 0; g < report->n_groups; g++) {
      if (!has_half(&report->groups[g], half)) continue;
      if (!any) fprintf(gp, "set ylabel \"%s\"\nplot ", titles[half]);
      fprintf(gp, "%s'timesteps.dat' index %d using 1:%d with linespoints lw 2 pt 7 ps 0.7 lc rgb '%s' notitle",
              any ? ", \\\n  " : "", g, half + 2, gd_report_colour(&report->groups[g]));
      any = true;
    }
    fprintf(gp, any ? "\n" : "set multiplot next\n");
  }
  fprintf(gp, "unset multiplot\n");
  gd_free(shown);
  return gd_report_close(report, "timesteps.gp", gp);
}
