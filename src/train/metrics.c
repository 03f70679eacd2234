/* One JSON object per step in metrics.jsonl; on a terminal a progress line, in a batch log a line now and then. */
#include "train/metrics.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct gd_metrics {
  const gd_comm *comm;
  char *path;
  FILE *file;  // rank 0 only
  int64_t total_steps, first_step;
  double start, last_shown, last_step;
  bool terminal;
  int write_failed;  // errno of the first line that could not be written, or 0
};

static gd_err metrics_error(const char *path, const char *what, int reason) {
  return gd_error(GD_ERR_FAILED, "%s: cannot %s: %s", path, what, strerror(reason));
}

// What a line is kept by.
typedef struct line_filter {
  bool (*keep)(const struct line_filter *filter, const json_t *line);
  const gd_position *position;
  const bool *is_outdated;
} line_filter;

static int64_t integer_of(const json_t *line, const char *key) {
  json_t *value = json_object_get(line, key);
  return json_is_integer(value) ? json_integer_value(value) : INT64_MAX;
}

static bool is_evaluation(const json_t *line) {
  const char *event = json_string_value(json_object_get(line, "event"));
  return event && strcmp(event, "evaluation") == 0;
}

// A resumed run does the later steps again.
static bool is_past(const line_filter *filter, const json_t *line) {
  if (!is_evaluation(line)) return integer_of(line, "global_step") <= filter->position->global_step;
  int64_t task = integer_of(line, "task");  // from 1
  return task >= 1 && task <= gd_position_finished(filter->position) && !filter->is_outdated[task - 1];
}

static bool is_no_evaluation(const line_filter *filter, const json_t *line) {
  (void)filter;
  return !is_evaluation(line);
}

// Rewrites the file with the lines to keep, then `n` new ones.
static gd_err rewrite_lines(const char *path, line_filter filter, int n, char *const *lines) {
  FILE *in = fopen(path, "r");
  if (!in && (errno != ENOENT || n == 0)) return errno == ENOENT ? GD_OK : metrics_error(path, "read", errno);
  gd_err err;
  char *text = NULL;
  size_t capacity = 0;
  FILE *out = gd_file_begin(path, &err);
  while (in && out && !ferror(out) && getline(&text, &capacity, in) > 0) {
    json_t *line = json_loads(text, 0, NULL);  // NULL for what a killed run left of its last line
    if (line && filter.keep(&filter, line)) fputs(text, out);
    json_decref(line);
  }
  int reason = errno;  // of the last write, if it failed
  if (in && out && !ferror(out) && !feof(in)) err = metrics_error(path, "read", errno);
  if (in) fclose(in);
  errno = reason;
  for (int i = 0; i < n && out && !ferror(out); i++) fprintf(out, "%s\n", lines[i]);
  if (out) err = gd_file_end(out, path, err);
  free(text);
  return err;
}

gd_err gd_metrics_replace_evaluations(const char *run, int n, char *const *lines) {
  char *path = gd_format("%s/metrics.jsonl", run);
  gd_err err = rewrite_lines(path, (line_filter){.keep = is_no_evaluation}, n, lines);
  gd_free(path);
  return err;
}

char *gd_metrics_find_evaluation(const char *run, int task) {
  char *path = gd_format("%s/metrics.jsonl", run), *text = NULL, *found = NULL;
  size_t capacity = 0;
  FILE *file = fopen(path, "r");
  while (file && getline(&text, &capacity, file) > 0) {
    json_t *line = json_loads(text, 0, NULL);
    if (line && is_evaluation(line) && integer_of(line, "task") == task + 1) {
      gd_free(found);
      found = gd_strdup(text);
    }
    json_decref(line);
  }
  if (file) fclose(file);
  free(text);
  gd_free(path);
  return found;
}

int gd_metrics_reach(const char *path) {
  int reach = 0;
  char *text = NULL;
  size_t capacity = 0;
  FILE *file = fopen(path, "r");
  while (file && getline(&text, &capacity, file) > 0) {
    json_t *line = json_loads(text, 0, NULL);
    int64_t task = line ? integer_of(line, "task") : 0;
    if (task > reach && task <= GD_MAX_CLASSES) reach = (int)task;
    json_decref(line);
  }
  if (file) fclose(file);
  free(text);
  return reach;
}

gd_err gd_metrics_create(gd_metrics **out, const gd_comm *comm, const char *directory, const gd_position *position,
                         const bool *is_outdated, int64_t total_steps) {
  gd_err err = GD_OK;
  gd_metrics *m = GD_NEW(gd_metrics);
  *m = (gd_metrics){
      .comm = comm, .total_steps = total_steps, .first_step = position->global_step, .start = gd_seconds()};
  m->path = gd_format("%s/metrics.jsonl", directory);
  m->terminal = isatty(STDERR_FILENO);
  m->last_shown = m->last_step = m->start;
  if (comm->rank == 0) {
    err = rewrite_lines(m->path, (line_filter){is_past, position, is_outdated}, 0, NULL);
    if (err == GD_OK && !(m->file = fopen(m->path, "a"))) err = metrics_error(m->path, "write", errno);
  }
  err = gd_comm_agree(comm, err);
  if (err != GD_OK) gd_metrics_destroy(&m);
  *out = m;
  return err;
}

void gd_metrics_destroy(gd_metrics **metrics) {
  if (!*metrics) return;
  if ((*metrics)->file) fclose((*metrics)->file);
  gd_free((*metrics)->path);
  gd_free(*metrics);
  *metrics = NULL;
}

static void show_progress(gd_metrics *m, const gd_position *p, double rate, const gd_step_metrics *s) {
  double now = gd_seconds(), interval = m->terminal ? 0.2 : 30;
  bool last = p->global_step == m->total_steps;
  if (now - m->last_shown < interval && !last) return;
  m->last_shown = now;
  double done = (double)(p->global_step - m->first_step), left = (double)(m->total_steps - p->global_step);
  double seconds_left = (now - m->start) / done * left;
  if (m->terminal)
    fprintf(stderr, "\rtask %d epoch %d step %lld/%lld  loss %.4f  %.1f images/s  %.0f s left \033[K%s", p->task + 1,
            p->epoch + 1, (long long)p->global_step, (long long)m->total_steps, s->loss, rate, seconds_left,
            last ? "\n" : "");
  else
    gd_log(GD_LOG_INFO, "task %d epoch %d step %lld/%lld: loss %.4f, %.1f images/s, %.0f s left", p->task + 1,
           p->epoch + 1, (long long)p->global_step, (long long)m->total_steps, s->loss, rate, seconds_left);
}

typedef struct json_number {
  char of[32];
} json_number;

// JSON has no number for what is not finite.
static json_number number_text(double value) {
  json_number text = {"null"};
  if (isfinite(value)) snprintf(text.of, sizeof text.of, "%.9g", value);
  return text;
}

__attribute__((format(printf, 2, 3))) static void put_line(gd_metrics *m, const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (vfprintf(m->file, format, args) < 0 && !m->write_failed) m->write_failed = errno ? errno : EIO;
  va_end(args);
}

void gd_metrics_step(gd_metrics *m, const gd_position *p, int n_images, const gd_step_metrics *s, double seconds_io) {
  if (!m->file) return;
  double now = gd_seconds(), rate = n_images / (now - m->last_step);
  m->last_step = now;
  json_number text[] = {number_text(s->loss), number_text(s->loss_data), number_text(s->loss_replay),
                        number_text(s->gradient_norm), number_text(s->loss_penalty)};
  char penalty[64] = "";
  if (s->loss_penalty != 0) snprintf(penalty, sizeof penalty, "\"loss_penalty\": %s, ", text[4].of);
  put_line(m,
           "{\"event\": \"step\", \"task\": %d, \"epoch\": %d, \"step\": %lld, \"global_step\": %lld, "
           "\"loss\": %s, \"loss_data\": %s, \"loss_replay\": %s, %s\"gradient_norm\": %s, "
           "\"replay_images\": %lld, \"teacher_evaluations\": %lld, "
           "\"images_per_second\": %.4g, \"seconds_compute\": %.6f, \"seconds_replay\": %.6f, "
           "\"seconds_reduction\": %.6f, \"seconds_io\": %.6f%s}\n",
           p->task + 1, p->epoch + 1, (long long)p->step, (long long)p->global_step, text[0].of, text[1].of, text[2].of,
           penalty, text[3].of, (long long)s->replay.images, (long long)s->replay.evaluations, rate, s->seconds_compute,
           s->replay.seconds, s->seconds_reduction, seconds_io, s->skipped ? ", \"skipped\": true" : "");
  show_progress(m, p, rate, s);
}

void gd_metrics_pool(gd_metrics *m, const gd_position *p, const gd_replay_cost *pool) {
  if (!m->file) return;
  put_line(m,
           "{\"event\": \"pool\", \"task\": %d, \"global_step\": %lld, \"images\": %lld, "
           "\"teacher_evaluations\": %lld, \"seconds_replay\": %.6f}\n",
           p->task + 1, (long long)p->global_step, (long long)pool->images, (long long)pool->evaluations,
           pool->seconds);
}

void gd_metrics_gradients(gd_metrics *m, const gd_position *p, int64_t n, double seconds) {
  if (!m->file) return;
  put_line(m,
           "{\"event\": \"gradients\", \"task\": %d, \"global_step\": %lld, \"gradients\": %lld, "
           "\"seconds_gradients\": %.6f}\n",
           p->task + 1, (long long)p->global_step, (long long)n, seconds);
}

// "NAME": [mean of each bin, null where there are no images], "NAME_images": [their numbers]
static void put_half(gd_metrics *m, const char *name, const gd_loss_bins *bins, int64_t n_elements) {
  put_line(m, ", \"%s\": [", name);
  for (int i = 0; i < GD_LOSS_BINS; i++)  // 0 / 0 is null
    put_line(m, "%s%s", i ? ", " : "", number_text(bins->squares[i] / (bins->images[i] * (double)n_elements)).of);
  put_line(m, "], \"%s_images\": [", name);
  for (int i = 0; i < GD_LOSS_BINS; i++) put_line(m, "%s%.0f", i ? ", " : "", bins->images[i]);
  put_line(m, "]");
}

void gd_metrics_bins(gd_metrics *m, const gd_position *p, const gd_trainer *t) {
  if (!m->file || t->bins_steps == 0) return;
  put_line(m, "{\"event\": \"loss_by_timestep\", \"task\": %d, \"epoch\": %d, \"global_step\": %lld, \"steps\": %lld",
           p->task + 1, p->epoch + 1, (long long)p->global_step, (long long)t->bins_steps);
  put_half(m, "data", &t->bins[0], t->n_elements);
  if (t->replay) put_half(m, "replay", &t->bins[1], t->n_elements);
  put_line(m, "}\n");
}

void gd_metrics_line(gd_metrics *m, const char *line) {
  if (m->file) put_line(m, "%s\n", line);
}

// Network file systems may say only now that there is no room.
static int flush_lines(gd_metrics *m) {
  if (m->write_failed) return m->write_failed;
  if (fflush(m->file) != 0) return errno;
  return fsync(fileno(m->file)) == 0 || errno == EINVAL ? 0 : errno;  // EINVAL: a pipe or the like
}

gd_err gd_metrics_flush(gd_metrics *m) {
  int reason = m->file ? flush_lines(m) : 0;
  return gd_comm_agree(m->comm, reason ? metrics_error(m->path, "write", reason) : GD_OK);
}
