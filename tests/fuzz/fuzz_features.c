/* The readers of files that other programs may have written - feature sets, arrays (starting noise, weights) - and of
 * cached statistics. */
#include <math.h>

#include "fuzz_hdf5.h"
#include "gendistill/store.h"

static void read_features(const char *path, const char *dataset) {
  gd_features features;
  char *name = gd_format("%s%s", path, dataset);
  gd_err err = gd_features_read(fuzz_comm, name, &features);
  fuzz_check(err, path);
  for (int64_t i = 0; err == GD_OK && i < features.n_global * features.width; i++)
    if (!isfinite(features.values[i])) gd_abort("%s: a feature that is not finite", path);
  gd_features_clear(&features);
  gd_free(name);
}

static void read_array(const char *path, const char *dataset) {
  float *values;
  int n_dims;
  int64_t dims[4], count = 1;
  gd_err err = gd_array_read(fuzz_comm, path, dataset, &values, &n_dims, dims);
  fuzz_check(err, path);
  for (int i = 0; err == GD_OK && i < n_dims; i++) count *= dims[i];
  if (err == GD_OK) gd_digest(values, (size_t)count * sizeof *values, 0);
  gd_free(values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  gd_statistics statistics;
  const char *path = fuzz_hdf5_make(data, nbytes);
  if (!path) return 0;
  read_features(path, "");
  read_features(path, ":/x_T");
  read_array(path, "/x_T");
  read_array(path, "/features");
  fuzz_check(gd_statistics_read(fuzz_comm, path, 3, &statistics), path);
  gd_statistics_clear(&statistics);
  return 0;
}

void fuzz_make_seeds(void) {
  fuzz_hdf5_seeds();
}
