/* The error message of this rank, and the abort that ends all ranks. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

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
  memcpy(old, message, sizeof old - 1);  // cut where prefix and message are too long together
  old[sizeof old - 1] = 0;
  snprintf(message, sizeof message, "%s: %s", prefix, old);
  return err;
}

const char *gd_error_message(void) {
  return message;
}

static _Noreturn void end_all_ranks(void) {
  fflush(NULL);
  int initialised = 0, finalised = 0;
  MPI_Initialized(&initialised);
  MPI_Finalized(&finalised);
  if (initialised && !finalised) MPI_Abort(MPI_COMM_WORLD, GD_ERR_FAILED);
  abort();
}

void gd_abort_at(const char *file, int line, const char *format, ...) {
  char text[sizeof message];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  gd_print_line("gendistill: rank %d: %s:%d: %s", gd_rank_for_messages, file, line, text);
  end_all_ranks();
}

// Ranks often run out of memory at the same time: only the lowest of them should print a message and end the others.
static void wait_for_lower_ranks(void) {
  bool was_asked = gd_stop_check() != GD_OK;
  for (int i = 0; i < gd_rank_for_messages && i < 10; i++) usleep(300000);
  if (!was_asked && gd_stop_check() != GD_OK) end_all_ranks();  // mpirun sends SIGTERM first
}

void gd_out_of_memory(const char *format, ...) {
  char text[sizeof message];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  wait_for_lower_ranks();
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  gd_print_line(
      "gendistill: rank %d: out of memory: %s; peak memory of this rank: %ld MiB. What helps: a smaller "
      "dataset.image_size or network, more training.slots (fewer images at a time), fewer ranks per node, a higher "
      "limit (sbatch --mem, ulimit -v)",
      gd_rank_for_messages, text, usage.ru_maxrss / 1024);
  end_all_ranks();
}
