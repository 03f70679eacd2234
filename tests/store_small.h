/* A parameter table of a few parameters and values for it, for the tests of the store. */
#ifndef GENDISTILL_TESTS_STORE_SMALL_H
#define GENDISTILL_TESTS_STORE_SMALL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gendistill/store.h"
#include "support.h"

enum { SMALL_PARAMS = 12 };

// First dimensions of 1, 2, 3 and more: with four ranks some have no rows.
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

// Position and model; the other arrays where asked for.
static inline gd_checkpoint small_checkpoint(const gd_param_table *table, bool everything) {
  gd_checkpoint c = {.task = 1, .epoch = 3, .step = 1234, .global_step = 5678, .seed = UINT64_MAX - 3};
  c.config_text = gd_strdup("seed: 42\nstrategy: {name: generative_distillation}\n");
  c.code_version = gd_strdup("0.1.0-test");
  c.model = small_values(table, 1);
  if (!everything) return c;
  c.task_done = true;
  c.teacher = small_values(table, 2);
  c.m = small_values(table, 3);
  c.v = small_values(table, 4);
  c.ema = small_values(table, 5);
  return c;
}

static inline void assert_message(const char *part) {
  if (!strstr(gd_error_message(), part)) fail_msg("'%s' is not in the message: %s", part, gd_error_message());
}

// The bytes of a file; read by each rank for itself. gd_free.
static inline uint8_t *file_bytes(const char *path, size_t *nbytes) {
  FILE *file = fopen(path, "rb");
  if (!file) fail_msg("%s: cannot open", path);
  fseek(file, 0, SEEK_END);
  *nbytes = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = gd_alloc(*nbytes);
  if (fread(bytes, 1, *nbytes, file) != *nbytes) fail_msg("%s: cannot read", path);
  fclose(file);
  return bytes;
}

// Rank 0 writes; nobody goes on before. Collective.
static inline void file_write(const char *path, const void *bytes, size_t nbytes) {
  MPI_Barrier(test_comm->mpi);
  if (test_comm->rank == 0) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, nbytes, file) != nbytes || fclose(file) != 0) gd_abort("%s: cannot write", path);
  }
  MPI_Barrier(test_comm->mpi);
}

// Flips a bit of the dataset /model/conv_in.bias, whose 5 values stand behind the 90 of conv_in.weight. Collective.
static inline void small_damage_bias(const char *path, const gd_checkpoint *checkpoint) {
  size_t nbytes;
  uint8_t *bytes = file_bytes(path, &nbytes);
  for (size_t i = 0; i + 20 <= nbytes; i++)
    if (memcmp(bytes + i, checkpoint->model + 90, 20) == 0) bytes[i] ^= 1;
  file_write(path, bytes, nbytes);
  gd_free(bytes);
}

static inline bool file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

#endif
