/* The learning rate over the steps of a task. */
#include <math.h>

#include "gendistill/nn.h"

// Of what is left of the learning rate after the share `done` of the steps behind the warm-up.
static double rate_left(gd_rate_schedule schedule, double done) {
  const double pi = 3.14159265358979323846;
  switch (schedule) {
    case GD_RATE_CONSTANT:
      return 1;
    case GD_RATE_COSINE:
      return (1 + cos(pi * done)) / 2;
    case GD_RATE_LINEAR:
      return 1 - done;
  }
  return 1;
}

double gd_rate_factor(gd_rate_schedule schedule, double warmup, int64_t step, int64_t n_steps) {
  int64_t n_warm = (int64_t)(warmup * (double)n_steps), before = step - 1;
  if (before < n_warm) return (double)step / (double)(n_warm + 1);
  return rate_left(schedule, (double)(before - n_warm) / (double)(n_steps - n_warm));
}
