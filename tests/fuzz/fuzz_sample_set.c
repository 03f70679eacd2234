/* The reader of sample sets. */
#include <string.h>

#include "fuzz_hdf5.h"
#include "gendistill/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  gd_sample_set set;
  uint8_t *images;
  const char *path = fuzz_hdf5_make(data, nbytes);
  if (!path) return 0;
  gd_err err = gd_sample_set_read(fuzz_comm, path, &set, &images);
  fuzz_check(err, path);
  if (err == GD_OK && (set.images != images || set.local.end != set.n_global || !memchr(set.sampler, 0, 8)))
    gd_abort("%s: an inconsistent sample set", path);
  uint64_t digest = 0;
  if (err == GD_OK) digest = gd_digest(images, (size_t)set.n_global * (size_t)(set.h * set.w * set.c), digest);
  gd_free(images);
  uint8_t *labels;
  err = gd_sample_set_read_labels(fuzz_comm, path, &labels);
  fuzz_check(err, path);
  for (int64_t i = 0; err == GD_OK && labels && i < set.n_global; i++) digest += labels[i];
  gd_free(labels);
  (void)digest;  // every image and label was read
  return 0;
}

void fuzz_make_seeds(void) {
  fuzz_hdf5_seeds();
}
