/* The checkpoint reader, header and arrays, for a small table of parameters. */
#include "fuzz_hdf5.h"
#include "small_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  gd_param_table table = small_table();
  gd_checkpoint header, all;
  const char *path = fuzz_hdf5_make(data, nbytes);
  if (!path) return 0;
  gd_err err = gd_checkpoint_read_header(fuzz_comm, path, &header), err_all;
  fuzz_check(err, path);
  err_all = gd_checkpoint_read(fuzz_comm, path, &table, &all);
  fuzz_check(err_all, path);
  if (err != GD_OK && err_all == GD_OK) gd_abort("%s: read without its header", path);
  if (err_all == GD_OK && gd_param_table_digest(&table, gd_checkpoint_array(&all, "model")) != all.digest)
    gd_abort("%s: wrong weights", path);
  gd_checkpoint_clear(&header);
  gd_checkpoint_clear(&all);
  return 0;
}

void fuzz_make_seeds(void) {
  fuzz_hdf5_seeds();
}
