/* The error message of this rank, and the abort that ends all ranks. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rank.h"
#include "gendistill/base.h"

static char message[4096];

void gd_error_record(const char *format, ...) {
  va_list args;
  va_start(args, format);
  char text[sizeof message];  // the arguments may point into the old message
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  memcpy(message, text, sizeof message);
}

gd_err gd_error_context(gd_err err, const char *format, ...) {
  if (err == GD_OK) return err;
  char prefix[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(prefix, sizeof prefix, format, args);
  va_end(args);
  char old[sizeof message - sizeof prefix - 2];
  memcpy(old, message, sizeof old - 1);  // a message too long for its prefix loses its end
  old[sizeof old - 1] = 0;
  snprintf(message, sizeof message, "%s: %s", prefix, old);
  return err;
}

const char *gd_error_message(void) {
  return message;
}

void gd_abort_at(const char *file, int line, const char *format, ...) {
  fprintf(stderr, "gendistill: rank %d: %s:%d: ", gd_rank_for_messages, file, line);
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  fflush(NULL);
  int initialised = 0, finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (initialised && !finalised) MPI_Abort(MPI_COMM_WORLD, GD_ERR_FAILED);
  abort();
}
