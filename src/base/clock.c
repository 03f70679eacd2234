/* Monotonic time. */
#include <time.h>

#include "gendistill/base.h"

double gd_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
