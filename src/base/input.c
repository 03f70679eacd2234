/* Input that the readers of several formats refuse: non-finite numbers and Git LFS pointers. */
#include <math.h>
#include <string.h>

#include "gendistill/base.h"

int64_t gd_first_nonfinite(const float *values, int64_t n) {
  float product = 0;  // stays zero while all values are finite; the loop vectorises
#pragma omp simd reduction(+ : product)
  for (int64_t i = 0; i < n; i++) product += values[i] * 0.0f;
  if (product == 0) return -1;
  int64_t first = 0;
  while (isfinite(values[first])) first++;
  return first;
}

int64_t gd_first_nonfinite_double(const double *values, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(values[i])) return i;
  return -1;
}

gd_err gd_refuse_lfs_pointer(const char *path, const void *bytes, size_t nbytes) {
  static const char start[] = "version https://git-lfs.github.com/spec/v1";
  if (nbytes < sizeof start - 1 || memcmp(bytes, start, sizeof start - 1) != 0) return GD_OK;
  return gd_error(GD_ERR_INPUT, "%s: a Git LFS pointer, not the file itself: fetch the file with 'git lfs pull'", path);
}
