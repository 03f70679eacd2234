/* The Fréchet distance of all generated images from the test images of the tasks so far. */
#include "eval/metric.h"

static gd_err measure_frechet(gd_measurement *m, json_t *out) {
  gd_frechet frechet = {.distance = NAN, .clipped = NAN};
  gd_err err = m->n_real < 2 ? GD_OK : gd_measurement_frechet(m, m->wanted, true, &frechet);
  if (err != GD_OK) return err;
  char *name = gd_frechet_name(m->config->evaluation.features);
  json_object_set_new(out, name, gd_real_or_null(frechet.distance));
  gd_free(name);
  json_object_set_new(out, "frechet_clipped", gd_real_or_null(frechet.clipped));
  return GD_OK;
}

const gd_metric gd_metric_frechet = {.measure = measure_frechet,
                                     .reported = {{"frechet", "Fréchet distance", 1, -1, false}}};
