/* The CIFAR-10 reader: the first byte chooses the split; the training split has five files. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "data/read.h"
#include "fuzz_support.h"

enum { RECORD = 1 + 3 * 32 * 32 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  if (nbytes < 1) return 0;
  bool test = data[0] & 1;
  if (test) {
    fuzz_write("test_batch.bin", data + 1, nbytes - 1);
  } else {
    size_t each = (nbytes - 1) / 5;  // the files differ, and one may be wrong
    for (size_t i = 0; i < 5; i++) {
      char name[32];
      snprintf(name, sizeof name, "data_batch_%zu.bin", i + 1);
      fuzz_write(name, data + 1 + i * each, each);
    }
  }
  gd_raw_images raw;
  const gd_dataset_kind *kind = gd_dataset_kind_get(GD_DATASET_cifar10);
  fuzz_check(kind->read(&raw, fuzz_folder(), test ? GD_TEST : GD_TRAIN, 10), "_batch");
  gd_raw_images_clear(&raw);
  return 0;
}

void fuzz_make_seeds(void) {
  static uint8_t bytes[1 + 5 * RECORD];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i % 7);
  for (size_t i = 0; i < 5; i++) bytes[1 + i * RECORD] = (uint8_t)(2 * i);
  bytes[0] = 0;
  fuzz_seed("train", bytes, sizeof bytes);
  bytes[0] = 1;
  fuzz_seed("test", bytes, 1 + 2 * RECORD);
  fuzz_seed("short", bytes, RECORD);
  gzFile file = gzopen(fuzz_path("a.gz"), "wb");
  if (!file || gzwrite(file, bytes + 1, RECORD) != RECORD || gzclose(file) != Z_OK) gd_abort("cannot write a.gz");
  size_t nbytes;
  uint8_t *packed = fuzz_read(fuzz_path("a.gz"), &nbytes), *seed = gd_alloc(1 + nbytes);
  seed[0] = 1;
  memcpy(seed + 1, packed, nbytes);
  fuzz_seed("packed", seed, 1 + nbytes);
  gd_free(packed);
  gd_free(seed);
}
