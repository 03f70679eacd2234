/* The table of regularisers, and the state of one in a run. */
#include "strategy/regulariser.h"

#include <stdio.h>
#include <string.h>

#define REGULARISER_DECLARATION(name) extern const gd_regulariser gd_regulariser_##name;
#define REGULARISER_ROW(name)         &gd_regulariser_##name,
GD_REGULARISERS(REGULARISER_DECLARATION)
static const gd_regulariser *const regularisers[] = {NULL, GD_REGULARISERS(REGULARISER_ROW)};

gd_regulariser_settings gd_regulariser_settings_of(const gd_config *config) {
  gd_regulariser_id of_strategy = gd_strategy_get(config->strategy.name)->regulariser;
  return (gd_regulariser_settings){.id = of_strategy ? of_strategy : config->strategy.regulariser,
                                   .lambda = config->strategy.regulariser_lambda,
                                   .fisher_images = config->strategy.fisher_images,
                                   .fisher_terms = config->strategy.fisher_terms,
                                   .fisher_gamma = config->strategy.fisher_gamma,
                                   .si_xi = config->strategy.si_xi,
                                   .n_tasks = gd_strategy_n_tasks(config)};
}

/* ---- State ---- */

static void add_array(gd_regularisation *r, const char *name) {
  r->n_arrays = gd_named_array_add(r->arrays, r->n_arrays, name, GD_NEW_ARRAY(float, r->total));
}

static int n_own_arrays(const gd_regulariser *kind) {
  int n = 0;
  while (n < GD_MAX_REGULARISER_ARRAYS && kind->arrays[n]) n++;
  return n;
}

void gd_regularisation_create(gd_regularisation **out, const gd_regulariser_settings *settings,
                              const gd_param_table *table) {
  const gd_regulariser *kind = regularisers[settings->id];
  *out = NULL;
  if (!kind) return;
  gd_regularisation *r = GD_NEW(gd_regularisation);
  r->kind = kind;
  r->settings = *settings;
  r->total = table->total;
  for (int i = 0; i < n_own_arrays(kind); i++) add_array(r, kind->arrays[i]);
  if (kind->after_step) {
    r->before = GD_NEW_ARRAY(float, r->total);
    r->gradient = GD_NEW_ARRAY(float, r->total);
  }
  *out = r;
}

void gd_regularisation_destroy(gd_regularisation **regularisation) {
  gd_regularisation *r = *regularisation;
  if (!r) return;
  for (int i = 0; i < r->n_arrays; i++) gd_free(r->arrays[i].values);
  gd_free(r->before);
  gd_free(r->gradient);
  gd_free(r);
  *regularisation = NULL;
}

// Arrays for so many finished tasks.
static void reserve_tasks(gd_regularisation *r, int n_tasks) {
  if (!r->kind->of_task) return;
  for (int task = r->n_arrays - n_own_arrays(r->kind); task < n_tasks; task++) {
    char *name = gd_format("%s_%d", r->kind->of_task, task + 1);
    add_array(r, name);
    gd_free(name);
  }
}

float *gd_regularisation_of_task(gd_regularisation *r, int task) {
  reserve_tasks(r, task + 1);
  return r->arrays[n_own_arrays(r->kind) + task].values;
}

int gd_regularisation_list(const gd_regularisation *r, gd_named_array *arrays, int n) {
  for (int i = 0; i < r->n_arrays; i++) n = gd_named_array_add(arrays, n, r->arrays[i].name, r->arrays[i].values);
  return n;
}

void gd_regularisation_save(const gd_regularisation *r, gd_checkpoint *checkpoint) {
  checkpoint->n_numbers = r->n_numbers;
  memcpy(checkpoint->numbers, r->numbers, sizeof r->numbers);
}

gd_err gd_regularisation_restore(gd_regularisation *r, const char *path, const gd_checkpoint *checkpoint) {
  r->n_numbers = checkpoint->n_numbers;
  memcpy(r->numbers, checkpoint->numbers, sizeof r->numbers);
  reserve_tasks(r, checkpoint->task + (checkpoint->task_done ? 1 : 0));
  for (int i = 0; i < r->n_arrays; i++) {
    const float *stored = gd_checkpoint_array(checkpoint, r->arrays[i].name);
    if (!stored)
      return gd_error(GD_ERR_INPUT, "%s: holds no array '%s'; it cannot be resumed from", path, r->arrays[i].name);
    memcpy(r->arrays[i].values, stored, (size_t)r->total * sizeof *stored);
  }
  return GD_OK;
}

size_t gd_regularisation_nbytes(const gd_regularisation *r) {
  return r->before ? 2 * (size_t)r->total * sizeof(float) : 0;
}

/* ---- Its course ---- */

void gd_regularisation_begin_task(gd_regularisation *r, int task, const float *params) {
  r->task = task;
  reserve_tasks(r, task);
  if (r->kind->begin_task) r->kind->begin_task(r, params);
}

double gd_regularisation_penalty(gd_regularisation *r, const float *params, float *gradient) {
  if (r->before) {
    memcpy(r->before, params, (size_t)r->total * sizeof *params);
    memcpy(r->gradient, gradient, (size_t)r->total * sizeof *gradient);
  }
  return r->task > 0 ? r->kind->penalty(r, params, gradient) : 0;
}

void gd_regularisation_after_step(gd_regularisation *r, const float *params) {
  if (r->kind->after_step) r->kind->after_step(r, params);
}

gd_err gd_regularisation_end_task(gd_regularisation *r, const gd_image_gradients *gradients, int64_t *n) {
  *n = 0;
  if (r->task + 1 == r->settings.n_tasks) return GD_OK;
  return r->kind->end_task(r, gradients, n);
}

/* ---- Sums over the parameters, in blocks that do not depend on the number of threads ---- */

enum { BLOCK = 8192 };

static double add_blocks(const double *sums, int64_t n_blocks) {
  double total = 0;
  for (int64_t b = 0; b < n_blocks; b++) total += sums[b];
  return total;
}

double gd_regulariser_spring(int64_t n, double factor, const float *strength, const float *anchor, const float *params,
                             float *gradient) {
  int64_t n_blocks = (n + BLOCK - 1) / BLOCK;
  double *sums = GD_NEW_ARRAY(double, n_blocks + 1);
  float slope = (float)(2 * factor);
#pragma omp parallel for
  for (int64_t b = 0; b < n_blocks; b++)
    for (int64_t i = b * BLOCK; i < n && i < (b + 1) * BLOCK; i++) {
      float change = params[i] - anchor[i], pull = strength[i] * change;
      sums[b] += (double)pull * change;
      gradient[i] += slope * pull;
    }
  double total = factor * add_blocks(sums, n_blocks);
  gd_free(sums);
  return total;
}

double gd_regulariser_product(int64_t n, const float *a, const float *b) {
  int64_t n_blocks = (n + BLOCK - 1) / BLOCK;
  double *sums = GD_NEW_ARRAY(double, n_blocks + 1);
#pragma omp parallel for
  for (int64_t block = 0; block < n_blocks; block++)
    for (int64_t i = block * BLOCK; i < n && i < (block + 1) * BLOCK; i++) sums[block] += (double)a[i] * b[i];
  double total = add_blocks(sums, n_blocks);
  gd_free(sums);
  return total;
}
