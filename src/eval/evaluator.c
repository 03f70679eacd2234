/* Evaluates one sample set after another: features and labels are made here, the numbers in the metrics' own files. */
#include "eval/evaluator.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/floor.h"
#include "eval/json.h"
#include "eval/metric.h"
#include "eval/moments.h"
#include "gendistill/eval.h"
#include "gendistill/strategy.h"
#include "gendistill/train.h"

enum { EVALUATION_FORMAT = 2 };  // 1, which was not written: absolute_ratio_difference without the factor 1/2

char *gd_frechet_name(gd_extractor extractor) {
  return extractor == GD_INCEPTION_V3 ? gd_strdup("fid") : gd_format("frechet_%s", gd_extractor_name(extractor));
}

/* ---- Features ---- */

int gd_evaluator_width(const gd_evaluator *e) {
  return e->inception ? gd_inception_width(e->inception) : gd_classifier_width(e->classifier);
}

uint64_t gd_evaluator_digest(const gd_evaluator *e) {
  return e->inception ? gd_inception_digest(e->inception) : gd_classifier_digest(e->classifier);
}

void gd_evaluator_extract(gd_evaluator *e, int64_t n_global, const gd_images *images, uint8_t *labels,
                          gd_features *features) {
  if (labels || !e->inception)
    gd_classifier_extract(e->classifier, n_global, images, labels, e->inception ? NULL : features);
  if (e->inception) gd_inception_extract(e->inception, n_global, images, features);
}

// Tasks that cannot be measured, or not wholly, are to be known before the work.
static gd_err check_test_images(const gd_evaluator *e) {
  int64_t n_all = 0;
  for (int t = 0; t < e->split.n_tasks; t++) n_all += gd_task_split_warn(&e->split, e->test, t, "test");
  if (n_all > 0) return GD_OK;
  return gd_error(GD_ERR_INPUT, "%s: no test images of any task: nothing can be measured", e->config->dataset.path);
}

gd_err gd_evaluator_create(gd_evaluator **out, const gd_comm *comm, const gd_config *config) {
  gd_err err;
  gd_evaluator *e = GD_NEW(gd_evaluator);
  *out = NULL;
  e->comm = comm;
  e->config = config;
  GD_TRY(gd_dataset_read(&e->train, comm, &config->dataset, GD_TRAIN));
  GD_TRY(gd_dataset_read(&e->test, comm, &config->dataset, GD_TEST));
  GD_TRY(gd_comm_agree(comm, gd_task_split_make(&e->split, &config->tasks, config->seed, e->test->n_classes)));
  GD_TRY(gd_comm_agree(comm, check_test_images(e)));
  if (config->solver.epochs > 0)
    GD_TRY(gd_solver_training_create(&e->solver, comm, config, e->train, e->test, &e->split));
  GD_TRY(gd_classifier_obtain(&e->classifier, comm, config, e->train, e->test));
  if (config->evaluation.features == GD_INCEPTION_V3)
    GD_TRY(gd_inception_create(&e->inception, comm, config->evaluation.inception_weights));
  gd_grid_create(&e->grid, comm, gd_grid_ranks_for(gd_evaluator_width(e)));
  *out = e;
  e = NULL;
done:
  gd_evaluator_destroy(&e);
  return err;
}

void gd_evaluator_destroy(gd_evaluator **evaluator) {
  gd_evaluator *e = *evaluator;
  if (!e) return;
  gd_solver_training_destroy(&e->solver);
  gd_moments_destroy(&e->moments);
  gd_grid_destroy(&e->grid);
  gd_inception_destroy(&e->inception);
  gd_classifier_destroy(&e->classifier);
  gd_features_clear(&e->real);
  for (int t = 0; t < GD_MAX_CLASSES; t++) json_decref(e->evaluations[t]);
  gd_dataset_destroy(&e->train);
  gd_dataset_destroy(&e->test);
  gd_free(e);
  *evaluator = NULL;
}

/* ---- Generated images ---- */

static gd_err check_set(const gd_evaluator *e, const gd_sample_set *set, const char *path) {
  if (set->h != e->test->size || set->w != e->test->size || set->c != e->test->channels)
    return gd_error(GD_ERR_INPUT, "%s: its images are %d x %d x %d, those of the configuration %d x %d x %d", path,
                    set->h, set->w, set->c, e->test->size, e->test->size, e->test->channels);
  if (set->n_global < 2)
    return gd_error(GD_ERR_INPUT, "%s: a Fréchet distance needs at least 2 images, it holds %lld", path,
                    (long long)set->n_global);
  return GD_OK;
}

static gd_err read_samples(gd_measurement *m, const char *path, uint8_t **images) {
  gd_evaluator *e = m->evaluator;
  gd_err err = gd_sample_set_read(e->comm, path, &m->set, images);
  return err == GD_OK ? check_set(e, &m->set, path) : err;
}

// What the metrics see of the sample set and of the test images of the tasks so far.
static void prepare_measurement(gd_measurement *m, const uint8_t *bytes) {
  gd_evaluator *e = m->evaluator;
  int64_t n = m->set.local.end - m->set.local.begin;
  m->labels = gd_alloc_zero((size_t)n + 1);
  gd_images images = {.held = bytes, .held_size = m->set.h, .size = m->set.h, .channels = m->set.c};
  gd_evaluator_extract(e, m->set.n_global, &images, m->labels, &m->features);
  for (int64_t i = 0; i < n; i++) m->counts[m->labels[i]]++;
  MPI_Allreduce(MPI_IN_PLACE, m->counts, GD_MAX_CLASSES, MPI_INT64_T, MPI_SUM, e->comm->mpi);
  m->n_tasks = gd_strategy_tasks_seen(e->config, m->task);
  for (int t = 0; t < m->n_tasks; t++) gd_measurement_mark(m, t, m->wanted);
  m->n_real = gd_measurement_count_real(m, m->wanted, m->real_counts);
}

static void clear_measurement(gd_measurement *m) {
  gd_free(m->labels);
  gd_features_clear(&m->features);
}

/* ---- Protocol ---- */

static void put_digest(json_t *object, const char *key, uint64_t digest) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, digest);
  json_object_set_new(object, key, json_string(text));
}

// As a text where JSON readers that know signed integers only, as ours, would refuse the number or round it.
static json_t *seed_json(uint64_t seed) {
  if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
  char text[21];
  snprintf(text, sizeof text, "%" PRIu64, seed);
  return json_string(text);
}

// How the numbers were got.
static void put_protocol(const gd_measurement *m, json_t *out) {
  const gd_evaluator *e = m->evaluator;
  const gd_sample_set *set = &m->set;
  json_object_set_new(out, "event", json_string("evaluation"));
  json_object_set_new(out, "format", json_integer(EVALUATION_FORMAT));
  json_object_set_new(out, "task", json_integer(m->task + 1));
  json_object_set_new(out, "n_tasks", json_integer(gd_strategy_n_tasks(e->config)));
  json_object_set_new(out, "tasks_seen", json_integer(m->n_tasks));
  json_object_set_new(out, "features", json_string(gd_extractor_name(e->config->evaluation.features)));
  put_digest(out, "classifier_digest", gd_classifier_digest(e->classifier));
  json_object_set_new(out, "classifier_accuracy", json_real(gd_classifier_accuracy(e->classifier)));
  json_object_set_new(out, "split", json_string("test"));
  json_object_set_new(out, "n_generated", json_integer(set->n_global));
  json_object_set_new(out, "sampler", json_string(set->sampler));
  json_object_set_new(out, "steps", json_integer(set->steps));
  json_object_set_new(out, "eta", json_real(set->eta));
  if (set->guidance > 0) json_object_set_new(out, "guidance", json_real(set->guidance));
  if (set->evaluations) json_object_set_new(out, "evaluations", json_integer(set->evaluations));
  if (*set->timesteps) json_object_set_new(out, "timesteps", json_string(set->timesteps));
  json_object_set_new(out, "seed", seed_json(set->seed));
  json_object_set_new(out, "ema", json_boolean(e->config->training.ema_decay > 0));
  put_digest(out, "checkpoint_digest", set->checkpoint_digest);
  json_object_set_new(out, "n_real", json_integer(m->n_real));
}

/* ---- All together ---- */

// The number times `factor` with its unit; "none" for null. New string.
static char *shown_number(const json_t *object, const char *key, double factor, int digits, const char *unit) {
  const json_t *value = json_object_get(object, key);
  return json_is_real(value) ? gd_format("%.*g%s", digits, factor * json_real_value(value), unit) : gd_strdup("none");
}

// The numbers for a person, and what they rest on.
static void log_summary(const gd_evaluator *e, int task, const json_t *numbers, double seconds) {
  const json_t *solver = json_object_get(numbers, "solver");
  char *name = gd_frechet_name(e->config->evaluation.features);
  char *texts[] = {shown_number(numbers, name, 1, 5, ""), shown_number(numbers, "kld", 1, 4, ""),
                   shown_number(numbers, "absolute_ratio_difference", 1, 4, ""),
                   shown_number(solver, "average_accuracy", 100, 4, " %"),
                   shown_number(solver, "forgetting", 100, 4, " %")};
  gd_log(GD_LOG_INFO, "task %d: %s %s, KLD %s, ratio difference %s (classifier right on %.2f %%), %.1f s", task + 1,
         name, texts[0], texts[1], texts[2], 100 * gd_classifier_accuracy(e->classifier), seconds);
  if (solver) gd_log(GD_LOG_INFO, "task %d: solver's average accuracy %s, forgetting %s", task + 1, texts[3], texts[4]);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) gd_free(texts[i]);
  gd_free(name);
}

static char *one_line(const json_t *object) {
  char *text = json_dumps(object, JSON_REAL_PRECISION(GD_JSON_DIGITS)), *copy = gd_strdup(text);
  free(text);
  return copy;
}

// Makes the evaluations of the run's earlier tasks known, as far as they are in metrics.jsonl. Collective.
static void recall_evaluations(gd_evaluator *e, int n_tasks) {
  for (int task = 0; task < n_tasks; task++) {
    if (e->evaluations[task]) continue;
    char *line = e->comm->rank == 0 ? gd_metrics_find_evaluation(e->config->output.directory, task) : NULL;
    int length = line ? (int)strlen(line) + 1 : 0;
    MPI_Bcast(&length, 1, MPI_INT, 0, e->comm->mpi);
    if (!line) line = gd_alloc_zero((size_t)length + 1);
    MPI_Bcast(line, length, MPI_CHAR, 0, e->comm->mpi);
    e->evaluations[task] = json_loads(line, 0, NULL);
    gd_free(line);
  }
}

static gd_err measure_all(gd_measurement *m, json_t *out) {
  gd_err err = GD_OK;
  json_t *real;
  for (int id = 0; id < GD_N_METRICS && err == GD_OK; id++) err = gd_metric_get((gd_metric_id)id)->measure(m, out);
  if (err == GD_OK) err = gd_floor_measure(m, &real);
  if (err == GD_OK) json_object_set_new(out, "real", real);
  return err;
}

static gd_err evaluate_set(gd_evaluator *e, int task, const char *path, bool is_of_run, char **json) {
  gd_err err;
  double start = gd_seconds();
  gd_measurement m = {.evaluator = e,
                      .comm = e->comm,
                      .config = e->config,
                      .split = &e->split,
                      .solver = is_of_run ? e->solver : NULL,
                      .earlier = is_of_run ? e->evaluations : NULL,
                      .n_classes = e->test->n_classes,
                      .task = task};
  uint8_t *images = NULL;
  json_t *out = json_object();
  *json = NULL;
  GD_TRY(read_samples(&m, path, &images));
  prepare_measurement(&m, images);
  if (is_of_run) recall_evaluations(e, task);
  put_protocol(&m, out);
  GD_TRY(measure_all(&m, out));
  log_summary(e, task, out, gd_seconds() - start);
  *json = one_line(out);
  if (is_of_run) {
    json_decref(e->evaluations[task]);
    e->evaluations[task] = json_loads(*json, 0, NULL);  // with the digits of the file, as a resumed run reads it
  }
done:
  json_decref(out);
  gd_free(images);
  clear_measurement(&m);
  return err;
}

gd_err gd_evaluator_samples(gd_evaluator *e, int task, const char *path, char **json) {
  return evaluate_set(e, task, path, false, json);
}

gd_err gd_evaluator_task(gd_evaluator *e, int task, char **json) {
  char *path = gd_sample_set_path(e->config->output.directory, task);
  gd_err err = evaluate_set(e, task, path, true, json);
  gd_free(path);
  return err;
}
