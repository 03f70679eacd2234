/* What the metrics share: statistics and rows of the test images, and distances from them. */
#include "eval/cache.h"
#include "eval/evaluator.h"
#include "eval/metric.h"
#include "eval/moments.h"

/* ---- Classes ---- */

void gd_measurement_mark(const gd_measurement *m, int task, bool wanted[GD_MAX_CLASSES]) {
  for (int i = 0; i < m->split->n_classes[task]; i++) wanted[m->split->classes[task][i]] = true;
}

int64_t gd_measurement_count_real(const gd_measurement *m, const bool *wanted, int64_t *counts) {
  const gd_dataset *test = m->evaluator->test;
  int64_t n = 0;
  for (int64_t i = 0; i < test->n; i++) {
    if (!wanted[test->labels[i]]) continue;
    counts[test->labels[i]]++;
    n++;
  }
  return n;
}

// Which labels are of wanted classes; new array.
static bool *select_rows(const uint8_t *labels, int64_t n, const bool *wanted) {
  bool *selected = GD_NEW_ARRAY(bool, n + 1);
  for (int64_t i = 0; i < n; i++) selected[i] = wanted[labels[i]];
  return selected;
}

bool *gd_measurement_select(const gd_measurement *m, const bool *wanted) {
  return select_rows(m->labels, m->features.local.end - m->features.local.begin, wanted);
}

/* ---- Test images ---- */

// Which of this rank's test images are of wanted classes (new array); makes their features where needed.
static bool *select_real(gd_evaluator *e, const bool *wanted) {
  const gd_dataset *test = e->test;
  gd_range local = gd_range_images(e->comm, test->n);
  gd_images images = gd_dataset_images(test, local.begin);
  if (!e->real.values) gd_evaluator_extract(e, test->n, &images, NULL, &e->real);
  return select_rows(test->labels + local.begin, local.end - local.begin, wanted);
}

static gd_moments *measure_real(gd_evaluator *e, const bool *wanted) {
  bool *selected = select_real(e, wanted);
  gd_moments *moments;
  gd_moments_create(&moments, e->grid, &e->real, selected);
  gd_free(selected);
  return moments;
}

// Moments of the test images of the wanted classes, in e->moments; from the cache where they are there.
static gd_err find_moments(gd_evaluator *e, const bool *wanted) {
  gd_err err = GD_OK;
  char *draft = NULL;
  uint64_t key =
      gd_digest(wanted, sizeof(bool) * (size_t)e->test->n_classes, gd_dataset_digest(e->test) ^ gd_evaluator_digest(e));
  if (e->moments && e->moments_key == key) return GD_OK;
  char *path = gd_cache_path(e->config->evaluation.cache, "moments", key, "h5");
  gd_moments_destroy(&e->moments);
  e->moments_key = key;
  if (gd_cache_has(e->comm, path)) {
    if (gd_moments_read(&e->moments, e->grid, path, gd_evaluator_width(e)) == GD_OK) goto done;
    gd_log(GD_LOG_WARN, "%s; measuring the real images again", gd_error_message());
  }
  e->moments = measure_real(e, wanted);
  GD_TRY(gd_cache_begin(e->comm, path, &draft));
  GD_TRY(gd_moments_write(e->moments, draft));
  GD_TRY(gd_cache_publish(e->comm, draft, path));
done:
  gd_free(draft);
  gd_free(path);
  return err;
}

gd_points gd_measurement_real_points(gd_measurement *m, const bool *wanted) {
  bool *selected = select_real(m->evaluator, wanted);
  gd_points points = gd_points_create(m->comm, &m->evaluator->real, selected);
  gd_free(selected);
  return points;
}

uint8_t *gd_measurement_real_labels(const gd_measurement *m, const bool *wanted) {
  const gd_dataset *test = m->evaluator->test;
  uint8_t *labels = gd_alloc_zero((size_t)test->n + 1);
  int64_t n = 0;
  for (int64_t i = 0; i < test->n; i++)
    if (wanted[test->labels[i]]) labels[n++] = test->labels[i];
  return labels;
}

/* ---- Distances ---- */

gd_err gd_measurement_frechet(gd_measurement *m, const bool *wanted, const bool *selected, gd_frechet *out) {
  gd_err err;
  gd_evaluator *e = m->evaluator;
  gd_moments *generated = NULL;
  GD_TRY(find_moments(e, wanted));
  gd_moments_create(&generated, e->grid, &m->features, selected);
  err = gd_frechet_distance(out, e->moments, generated);
done:
  gd_moments_destroy(&generated);
  return err;
}
