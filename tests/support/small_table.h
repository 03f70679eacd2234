/* A small parameter table, values for it and a checkpoint of them; for tests and fuzz targets. */
#ifndef GENDISTILL_TESTS_SMALL_TABLE_H
#define GENDISTILL_TESTS_SMALL_TABLE_H

#include <string.h>

#include "gendistill/store.h"

enum { SMALL_PARAMS = 12 };

// First dimensions of 1, 2, 3 and more: with four ranks some ranks have no rows of an array.
static inline gd_param_table small_table(void) {
  static gd_param params[SMALL_PARAMS] = {
      {.name = "conv_in.weight", .n_dims = 4, .dims = {5, 2, 3, 3}},
      {.name = "conv_in.bias", .n_dims = 1, .dims = {5}},
      {.name = "time_embedding.linear_1.weight", .n_dims = 2, .dims = {7, 4}},
      {.name = "down_blocks.0.attentions.0.to_q.weight", .n_dims = 2, .dims = {3, 3}},
      {.name = "down_blocks.0.attentions.0.to_q.bias", .n_dims = 1, .dims = {3}},
      {.name = "down_blocks.0.attentions.0.to_k.weight", .n_dims = 2, .dims = {3, 3}},
      {.name = "down_blocks.0.attentions.0.to_v.weight", .n_dims = 2, .dims = {3, 3}},
      {.name = "down_blocks.0.attentions.0.to_out.0.weight", .n_dims = 2, .dims = {3, 3}},
      {.name = "norm.weight", .n_dims = 1, .dims = {2}},
      {.name = "scale", .n_dims = 1, .dims = {1}},
      {.name = "cube", .n_dims = 3, .dims = {2, 3, 4}},
      {.name = "conv_out.weight", .n_dims = 4, .dims = {1, 5, 3, 3}},
  };
  gd_param_table table = {.params = params, .n = SMALL_PARAMS};
  for (int i = 0; i < table.n; i++) {
    params[i].count = 1;
    for (int k = 0; k < params[i].n_dims; k++) params[i].count *= params[i].dims[k];
    params[i].offset = table.total;
    table.total += params[i].count;
  }
  return table;
}

static inline float *small_values(const gd_param_table *table, int seed) {
  float *values = GD_NEW_ARRAY(float, table->total);
  for (int64_t i = 0; i < table->total; i++) values[i] = (float)seed * 100.25f + (float)i / 7.0f;
  return values;
}

// Position and model; if `everything`, the other arrays too.
static inline gd_checkpoint small_checkpoint(const gd_param_table *table, bool everything) {
  gd_checkpoint c = {.task = 1, .epoch = 3, .step = 1234, .global_step = 5678, .seed = UINT64_MAX - 3};
  c.config_text = gd_strdup("seed: 42\nstrategy: {name: generative_distillation}\n");
  c.code_version = gd_strdup("0.1.0-test");
  gd_checkpoint_add(&c, "model", small_values(table, 1));
  if (!everything) return c;
  c.task_done = true;
  gd_checkpoint_add(&c, "teacher", small_values(table, 2));
  gd_checkpoint_add(&c, "optimizer/m", small_values(table, 3));
  gd_checkpoint_add(&c, "optimizer/v", small_values(table, 4));
  gd_checkpoint_add(&c, "ema", small_values(table, 5));
  return c;
}

#endif
