/* The picture of generated images: one row per group, one column block per task, the first images of the group's first
 * run; drawn pixel by pixel into grid-images.png, labelled by gnuplot. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gendistill/data.h"
#include "gendistill/store.h"
#include "report/report.h"

enum { BLOCK_ROWS = 2, BLOCK_COLUMNS = 4, GAP = 2, BLOCK_GAP = 10, IMAGE_PIXELS = 44 };

typedef struct canvas {
  int size, zoom;  // of an image, and how often its pixels are repeated
  int block_width, block_height;
  int width, height;
  uint8_t *pixels;  // (height, width, 3)
} canvas;

static void make_canvas(const gd_report *report, canvas *out) {
  out->size = report->runs[0].config->dataset.image_size;
  out->zoom = out->size < IMAGE_PIXELS ? IMAGE_PIXELS / out->size : 1;
  int cell = out->size * out->zoom + GAP;
  out->block_width = BLOCK_COLUMNS * cell + BLOCK_GAP;
  out->block_height = BLOCK_ROWS * cell + BLOCK_GAP;
  out->width = report->n_tasks * out->block_width;
  out->height = report->n_groups * out->block_height;
  size_t nbytes = (size_t)out->width * (size_t)out->height * 3;
  out->pixels = memset(gd_alloc(nbytes), 255, nbytes);
}

// Image (h, w, c), scaled to the canvas's size of an image, with its upper left corner at (y, x).
static void draw_image(canvas *out, const gd_sample_set *set, const uint8_t *image, int y, int x) {
  int n = out->size * out->zoom;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      const uint8_t *from = image + (i * set->h / n * set->w + j * set->w / n) * set->c;
      uint8_t *to = out->pixels + ((int64_t)(y + i) * out->width + x + j) * 3;
      for (int c = 0; c < 3; c++) to[c] = from[set->c == 3 ? c : 0];
    }
}

static gd_err draw_block(canvas *out, const gd_comm *alone, const char *path, int row, int column) {
  gd_sample_set set;
  uint8_t *images = NULL;
  gd_err err = gd_sample_set_read(alone, path, &set, &images);
  int cell = out->size * out->zoom + GAP;
  for (int i = 0; err == GD_OK && i < BLOCK_ROWS * BLOCK_COLUMNS && i < set.n_global; i++)
    draw_image(out, &set, images + (int64_t)i * set.h * set.w * set.c,
               row * out->block_height + i / BLOCK_COLUMNS * cell,
               column * out->block_width + i % BLOCK_COLUMNS * cell);
  gd_free(images);
  return err;
}

// The blocks of a group; a run over all tasks at once has a single one, in the last column.
static gd_err draw_group(const gd_report *report, const gd_comm *alone, canvas *out, int row) {
  gd_err err = GD_OK;
  const gd_report_run *run = report->groups[row].runs[0];
  bool at_once = gd_report_is_joint(run);
  for (int task = 0; task < (at_once ? 1 : run->config->tasks.count) && err == GD_OK; task++) {
    char *path = gd_sample_set_path(run->path, task);
    if (access(path, R_OK) == 0) err = draw_block(out, alone, path, row, at_once ? report->n_tasks - 1 : task);
    gd_free(path);
  }
  return err;
}

// The classes of the tasks; none of a task where the runs in the picture do not have the same.
static gd_task_split *common_split(const gd_report *report) {
  gd_task_split *common = GD_NEW(gd_task_split), *other = GD_NEW(gd_task_split);
  bool first = true;
  for (int g = 0; g < report->n_groups; g++) {
    const gd_report_run *run = report->groups[g].runs[0];
    const gd_config *config = run->config;
    int n_classes = gd_dataset_kind_get(config->dataset.name)->n_classes;
    if (gd_report_is_joint(run)) continue;
    if (gd_task_split_make(first ? common : other, &config->tasks, config->seed, n_classes) != GD_OK) continue;
    for (int t = 0; !first && t < common->n_tasks; t++)
      if (memcmp(common->classes[t], other->classes[t], sizeof common->classes[t]) != 0) common->n_classes[t] = 0;
    first = false;
  }
  gd_free(other);
  return common;
}

// "after task 2:\nPullover, Dress"
static void write_column_labels(const gd_report *report, const canvas *c, FILE *gp) {
  enum { MAX_NAMES = 2 };
  gd_task_split *split = common_split(report);
  for (int t = 0; t < report->n_tasks; t++) {
    int n = split->n_classes[t];
    fprintf(gp, "set label \"after task %d%s", t + 1, n ? ":" : "");
    for (int i = 0; i < n && i < MAX_NAMES; i++)
      fprintf(gp, "%s%s", i ? ", " : "\\n", gd_report_class_name(report, split->classes[t][i]));
    fprintf(gp, "%s\" at %d, %d center offset 0,1.6 font 'Sans,12'\n", n > MAX_NAMES ? ", ..." : "",
            t * c->block_width + (c->block_width - BLOCK_GAP) / 2, c->height);
  }
  gd_free(split);
}

static void write_row_labels(const gd_report *report, const canvas *c, FILE *gp) {
  for (int g = 0; g < report->n_groups; g++) {
    fprintf(gp, "set label ");
    gd_report_write_quoted(gp, report->groups[g].label);
    fprintf(gp, " noenhanced at 0, %d right offset -1,0 font 'Sans,12'\n",
            c->height - g * c->block_height - (c->block_height - BLOCK_GAP) / 2);
  }
}

static gd_err write_script(const gd_report *report, const canvas *c) {
  enum { RIGHT = 15, TOP = 60, BOTTOM = 10, LETTER = 8 };
  gd_err err;
  FILE *gp = gd_report_open(report, "grid.gp", &err);
  if (!gp) return err;
  int longest = 0;
  for (int g = 0; g < report->n_groups; g++) longest = (int)fmax(longest, (double)strlen(report->groups[g].label));
  int left = 30 + LETTER * longest, width = c->width + left + RIGHT, height = c->height + TOP + BOTTOM;
  gd_report_begin_plot(gp, "grid.png", width, height);
  fprintf(gp, "unset grid\nunset border\nunset tics\nunset key\nset xrange [0:%d]\nset yrange [0:%d]\n", c->width,
          c->height);
  fprintf(gp,
          "set lmargin at screen %.6f\nset rmargin at screen %.6f\nset bmargin at screen %.6f\nset tmargin at screen "
          "%.6f\n",
          (double)left / width, 1 - (double)RIGHT / width, (double)BOTTOM / height, 1 - (double)TOP / height);
  write_column_labels(report, c, gp);
  write_row_labels(report, c, gp);
  fprintf(gp, "plot 'grid-images.png' binary filetype=png origin=(0.5,0.5) with rgbimage\n");
  return gd_report_close(report, "grid.gp", gp);
}

gd_err gd_report_write_grid(const gd_report *report) {
  gd_err err = GD_OK;
  canvas c = {0};
  gd_comm *alone;
  gd_comm_create(&alone, MPI_COMM_SELF);
  make_canvas(report, &c);
  char *path = gd_format("%s/grid-images.png", report->directory);
  for (int g = 0; g < report->n_groups; g++) GD_TRY(draw_group(report, alone, &c, g));
  GD_TRY(gd_png_write_grid(path, c.pixels, 1, c.height, c.width, 3, 1, 1));
  printf("%s\n", path);
  err = write_script(report, &c);
done:
  gd_free(path);
  gd_free(c.pixels);
  gd_comm_destroy(&alone);
  return err;
}
