/* The Fréchet distance of all generated images from the test images of the tasks so far; from disjoint subsets of them
 * its value for infinitely many generated images, and an interval. */
#include "eval/metric.h"

enum { N_QUARTERS = 4, N_SIZES = 3 };

static const double student_t = 3.182446;  // 97.5 % of Student's t distribution for N_QUARTERS - 1 degrees of freedom

/* ---- Subsets ---- */

// The local rows of part `part` of `parts` of a random order of the generated images that is always the same; new
// array.
static bool *select_part(const gd_features *f, int parts, int part) {
  bool *selected = GD_NEW_ARRAY(bool, f->local.end - f->local.begin + 1);
  uint32_t *order = GD_NEW_ARRAY(uint32_t, f->n_global);
  gd_epoch_order(0, 0, 0, f->n_global, order);
  for (int64_t k = f->n_global / parts * part; k < f->n_global / parts * (part + 1); k++)
    if (order[k] >= f->local.begin && order[k] < f->local.end) selected[order[k] - f->local.begin] = true;
  gd_free(order);
  return selected;
}

static gd_err measure_parts(gd_measurement *m, int parts, double *distances) {
  gd_err err = GD_OK;
  for (int part = 0; part < parts && err == GD_OK; part++) {
    gd_frechet frechet;
    bool *selected = select_part(&m->features, parts, part);
    err = gd_measurement_frechet(m, m->wanted, selected, &frechet);
    distances[part] = frechet.distance;
    gd_free(selected);
  }
  return err;
}

static double mean_of(const double *values, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++) sum += values[i];
  return sum / n;
}

// Where the straight line through the distances as a function of 1/size, by least squares, is for 1/size = 0.
static double extrapolate(const double *sizes, const double *distances) {
  double x[N_SIZES], xx = 0, xy = 0;
  for (int i = 0; i < N_SIZES; i++) x[i] = 1 / sizes[i];
  double mean_x = mean_of(x, N_SIZES), mean_y = mean_of(distances, N_SIZES);
  for (int i = 0; i < N_SIZES; i++) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    xy += (x[i] - mean_x) * (distances[i] - mean_y);
  }
  return mean_y - xy / xx * mean_x;
}

// Half the width of the 95 % interval of the mean of the quarters: that of the distance of all images.
static double half_interval(const double *quarters) {
  double mean = mean_of(quarters, N_QUARTERS), squares = 0;
  for (int i = 0; i < N_QUARTERS; i++) squares += (quarters[i] - mean) * (quarters[i] - mean);
  return student_t * sqrt(squares / (N_QUARTERS - 1) / N_QUARTERS);
}

static gd_err measure_subsets(gd_measurement *m, double whole, json_t *out) {
  double n = (double)m->features.n_global, quarters[N_QUARTERS], halves[2];
  gd_err err;
  GD_TRY(measure_parts(m, N_QUARTERS, quarters));
  GD_TRY(measure_parts(m, 2, halves));
  const double sizes[N_SIZES] = {floor(n / N_QUARTERS), floor(n / 2), n};
  const double distances[N_SIZES] = {mean_of(quarters, N_QUARTERS), mean_of(halves, 2), whole};
  double half = half_interval(quarters);
  json_object_set_new(
      out, "subsets",
      json_pack("{s:[III], s:[fff], s:f, s:[ff]}", "sizes", (json_int_t)sizes[0], (json_int_t)sizes[1],
                (json_int_t)sizes[2], "frechet", distances[0], distances[1], distances[2], "frechet_infinity",
                extrapolate(sizes, distances), "frechet_interval", whole - half, whole + half));
done:
  return err;
}

/* ---- The metric ---- */

static gd_err measure_frechet(gd_measurement *m, json_t *out) {
  gd_frechet frechet = {.distance = NAN, .clipped = NAN};
  gd_err err = m->n_real < 2 ? GD_OK : gd_measurement_frechet(m, m->wanted, NULL, &frechet);
  if (err != GD_OK) return err;
  char *name = gd_frechet_name(m->config->evaluation.features);
  json_object_set_new(out, name, gd_real_or_null(frechet.distance));
  gd_free(name);
  json_object_set_new(out, "frechet_clipped", gd_real_or_null(frechet.clipped));
  bool enough = m->n_real >= 2 && m->features.n_global >= 2 * N_QUARTERS;
  return enough ? measure_subsets(m, frechet.distance, out) : GD_OK;
}

const gd_metric gd_metric_frechet = {
    .measure = measure_frechet,
    .of_features = true,
    .reported = {{"frechet", "Fréchet distance", 1, -1, false, true},
                 {"subsets.frechet_infinity", "Fréchet distance, infinitely many images", 1, -1, false, false}}};
