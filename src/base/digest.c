/* XXH3 digests, for checksums in files and for comparing parameters. */
#include <xxhash.h>

#include "gendistill/base.h"

uint64_t gd_digest(const void *data, size_t nbytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, nbytes, seed);
}

struct gd_digest_stream {
  XXH3_state_t *state;
};

gd_digest_stream *gd_digest_begin(uint64_t seed) {
  gd_digest_stream *stream = GD_NEW(gd_digest_stream);
  stream->state = XXH3_createState();
  if (!stream->state) gd_out_of_memory("for a digest");
  XXH3_64bits_reset_withSeed(stream->state, seed);
  return stream;
}

void gd_digest_add(gd_digest_stream *stream, const void *data, size_t nbytes) {
  XXH3_64bits_update(stream->state, data, nbytes);
}

uint64_t gd_digest_end(gd_digest_stream *stream) {
  uint64_t digest = XXH3_64bits_digest(stream->state);
  XXH3_freeState(stream->state);
  gd_free(stream);
  return digest;
}
