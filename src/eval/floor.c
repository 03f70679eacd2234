/* The floor depends on data, features, classes and number of images, not on the run: all runs share it. */
#include "eval/floor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/cache.h"
#include "eval/evaluator.h"

enum { FLOOR_FORMAT = 1 };

/* ---- Training images in place of generated ones ---- */

// n random training images of wanted classes, always the same; fewer where there are fewer. New array.
static uint32_t *choose_images(const gd_dataset *train, const bool *wanted, int64_t *n) {
  uint32_t *of_classes = GD_NEW_ARRAY(uint32_t, train->n + 1), *order = GD_NEW_ARRAY(uint32_t, train->n + 1);
  int64_t n_there = 0;
  for (int64_t i = 0; i < train->n; i++)
    if (wanted[train->labels[i]]) of_classes[n_there++] = (uint32_t)i;
  gd_epoch_order(0, 0, 0, n_there, order);
  if (n_there < *n) *n = n_there;
  for (int64_t i = 0; i < *n; i++) order[i] = of_classes[order[i]];
  gd_free(of_classes);
  return order;
}

// Features of the chosen images. Collective.
static void extract_chosen(gd_evaluator *e, const uint32_t *chosen, int64_t n, gd_features *features) {
  gd_range local = gd_range_images(e->comm, n);
  gd_images one = gd_dataset_images(e->train, 0), images = one;
  size_t nbytes = (size_t)one.held_size * (size_t)one.held_size * (size_t)one.channels;
  uint8_t *held = gd_alloc((size_t)(local.end - local.begin + 1) * nbytes);
  for (int64_t i = local.begin; i < local.end; i++)
    memcpy(held + (size_t)(i - local.begin) * nbytes, gd_dataset_images(e->train, chosen[i]).held, nbytes);
  images.held = held;
  gd_evaluator_extract(e, n, &images, NULL, features);
  gd_free(held);
}

static gd_err measure_floor(const gd_measurement *generated, json_t *out) {
  gd_err err = GD_OK;
  gd_measurement m = *generated;
  gd_evaluator *e = m.evaluator;
  int64_t n = generated->features.n_global;
  uint32_t *chosen = choose_images(e->train, m.wanted, &n);
  m.labels = NULL;
  m.features = (gd_features){0};
  json_object_set_new(out, "n", json_integer(n));
  if (n >= 2 && m.n_real >= 2) {
    extract_chosen(e, chosen, n, &m.features);
    for (int id = 0; id < GD_N_METRICS && err == GD_OK; id++)
      if (gd_metric_get((gd_metric_id)id)->of_features) err = gd_metric_get((gd_metric_id)id)->measure(&m, out);
  }
  gd_features_clear(&m.features);
  gd_free(chosen);
  return err;
}

/* ---- In the cache ---- */

static char *floor_path(const gd_measurement *m) {
  gd_evaluator *e = m->evaluator;
  struct {
    uint64_t format, n, test, train, features;
  } key = {FLOOR_FORMAT, (uint64_t)m->features.n_global, gd_dataset_digest(e->test), gd_dataset_digest(e->train),
           gd_evaluator_digest(e)};
  uint64_t classes = gd_digest(m->wanted, sizeof(bool) * (size_t)m->n_classes, 0);
  return gd_cache_path(e->config->evaluation.cache, "floor", gd_digest(&key, sizeof key, classes), "json");
}

// The file's object on all ranks; NULL: it is not there, or cannot be read. Collective.
static json_t *read_floor(const gd_comm *comm, const char *path) {
  json_error_t why;
  json_t *object = comm->rank == 0 ? json_load_file(path, 0, &why) : NULL;
  char *text = json_dumps(object, JSON_REAL_PRECISION(GD_JSON_DIGITS));
  int length = text ? (int)strlen(text) + 1 : 0;
  MPI_Bcast(&length, 1, MPI_INT, 0, comm->mpi);
  char *copy = gd_alloc_zero((size_t)length + 1);
  if (text) memcpy(copy, text, (size_t)length);
  MPI_Bcast(copy, length, MPI_CHAR, 0, comm->mpi);
  json_decref(object);
  object = json_loads(copy, 0, NULL);
  gd_free(copy);
  free(text);
  return object;
}

static gd_err write_floor(const gd_comm *comm, const char *path, const json_t *object) {
  gd_err err;
  char *draft = NULL;
  GD_TRY(gd_cache_begin(comm, path, &draft));
  if (comm->rank == 0) {
    FILE *file = gd_file_begin(draft, &err);
    if (file) {
      json_dumpf(object, file, JSON_REAL_PRECISION(GD_JSON_DIGITS));
      err = gd_file_end(file, draft, err);
    }
  }
  GD_TRY(gd_comm_agree(comm, err));
  err = gd_cache_publish(comm, draft, path);
done:
  gd_free(draft);
  return err;
}

gd_err gd_floor_measure(gd_measurement *m, json_t **out) {
  gd_err err = GD_OK;
  char *path = floor_path(m);
  *out = read_floor(m->comm, path);
  if (*out) goto done;
  json_t *object = json_object();
  err = measure_floor(m, object);
  if (err == GD_OK) err = write_floor(m->comm, path, object);
  if (err == GD_OK) *out = read_floor(m->comm, path);
  json_decref(object);
done:
  gd_free(path);
  return err;
}
