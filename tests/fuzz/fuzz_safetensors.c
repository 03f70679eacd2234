/* The safetensors reader, for a small table of parameters. */
#include "fuzz_support.h"
#include "gendistill/store.h"
#include "small_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  gd_param_table table = small_table();
  float *values = GD_NEW_ARRAY(float, table.total);
  fuzz_write("a.safetensors", data, nbytes);
  fuzz_check(gd_safetensors_read(fuzz_path("a.safetensors"), &table, values), "a.safetensors");
  gd_free(values);
  return 0;
}

static void seed_header(const char *name, const char *header, size_t n_data) {
  size_t length = strlen(header);
  uint8_t *bytes = gd_alloc_zero(8 + length + n_data);
  bytes[0] = (uint8_t)length, bytes[1] = (uint8_t)(length >> 8);
  memcpy(bytes + 8, header, length);
  fuzz_seed(name, bytes, 8 + length + n_data);
  gd_free(bytes);
}

void fuzz_make_seeds(void) {
  gd_param_table table = small_table();
  float *values = small_values(&table, 1);
  size_t nbytes;
  if (gd_safetensors_write(fuzz_path("a.safetensors"), &table, values) != GD_OK) gd_abort("%s", gd_error_message());
  uint8_t *bytes = fuzz_read(fuzz_path("a.safetensors"), &nbytes);
  fuzz_seed("written", bytes, nbytes);
  seed_header("half", "{\"scale\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2);
  seed_header("bfloat", "{\"scale\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2);
  seed_header("old-names",
              "{\"__metadata__\":{\"format\":\"pt\"},\"down_blocks.0.attentions.0.query.weight\":"
              "{\"dtype\":\"F64\",\"shape\":[3,3],\"data_offsets\":[0,72]}}",
              72);
  gd_free(bytes);
  gd_free(values);
}
