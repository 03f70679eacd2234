/* The small parameter table and helpers that compare, read, write and damage its files. */
#ifndef GENDISTILL_TESTS_STORE_SMALL_H
#define GENDISTILL_TESTS_STORE_SMALL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "small_table.h"
#include "support.h"

static inline void assert_message(const char *part) {
  if (!strstr(gd_error_message(), part)) fail_msg("'%s' is not in the message: %s", part, gd_error_message());
}

static inline void small_assert_same_header(const gd_checkpoint *a, const gd_checkpoint *b) {
  assert_int_equal(a->task, b->task);
  assert_int_equal(a->epoch, b->epoch);
  assert_int_equal(a->step, b->step);
  assert_int_equal(a->global_step, b->global_step);
  assert_int_equal(a->task_done, b->task_done);
  assert_true(a->seed == b->seed && a->digest == b->digest);
  assert_true(a->accuracy == b->accuracy && a->replay_seconds == b->replay_seconds);
  assert_string_equal(a->config_text, b->config_text);
  assert_string_equal(a->code_version, b->code_version);
}

static inline void small_assert_same_array(const float *a, const float *b, int64_t n) {
  assert_int_equal(!a, !b);
  if (a) assert_memory_equal(a, b, (size_t)n * sizeof *a);
}

static inline void small_assert_same(const gd_param_table *table, const gd_checkpoint *a, const gd_checkpoint *b) {
  small_assert_same_header(a, b);
  assert_int_equal(a->n_arrays, b->n_arrays);
  for (int i = 0; i < a->n_arrays; i++)
    small_assert_same_array(a->arrays[i].values, gd_checkpoint_array(b, a->arrays[i].name), table->total);
}

// The bytes of a file, read by each rank. gd_free.
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

// Rank 0 writes while the others wait. Collective.
static inline void file_write(const char *path, const void *bytes, size_t nbytes) {
  MPI_Barrier(test_comm->mpi);
  if (test_comm->rank == 0) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, nbytes, file) != nbytes || fclose(file) != 0) gd_abort("%s: cannot write", path);
  }
  MPI_Barrier(test_comm->mpi);
}

// Flips a bit of the dataset /model/conv_in.bias, whose 5 values follow the 90 of conv_in.weight. Collective.
static inline void small_damage_bias(const char *path, const gd_checkpoint *checkpoint) {
  size_t nbytes;
  uint8_t *bytes = file_bytes(path, &nbytes);
  for (size_t i = 0; i + 20 <= nbytes; i++)
    if (memcmp(bytes + i, gd_checkpoint_array(checkpoint, "model") + 90, 20) == 0) bytes[i] ^= 1;
  file_write(path, bytes, nbytes);
  gd_free(bytes);
}

static inline bool file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

#endif
