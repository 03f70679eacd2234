/* The small parameter table with what the tests of the store do to its files. */
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
