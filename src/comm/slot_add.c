/* The addition of the gradient reduction: see slot_sum.h. */
#include "comm/slot_sum.h"

void gd_slot_add(float *into, const float *values, int64_t n) {
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < n; i++) into[i] += values[i];
}
