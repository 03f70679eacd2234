/* XXH3 digests, for checksums in files and for comparing parameters. */
#include <xxhash.h>

#include "gendistill/base.h"

uint64_t gd_digest(const void *data, size_t nbytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, nbytes, seed);
}
