/* `info`: verifies and prints any HDF5 file. */
#include <stdio.h>

#include "fuzz_hdf5.h"
#include "gendistill/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static FILE *printed = NULL;
  if (!printed && !(printed = freopen("/dev/null", "w", stdout))) gd_abort("cannot open /dev/null");
  const char *path = fuzz_hdf5_make(data, nbytes);
  if (!path) return 0;
  fuzz_check(gd_store_info(fuzz_comm, path), path);
  return 0;
}

void fuzz_make_seeds(void) {
  fuzz_hdf5_seeds();
}
