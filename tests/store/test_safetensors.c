/* safetensors: files are read back as written, other number formats and old names are read, and each kind of wrong file
 * is refused by name. */
#include <math.h>

#include "store_small.h"

static char *folder, *path;

static int set_up(void **state) {
  (void)state;
  folder = test_folder_create();
  path = gd_format("%s/model.safetensors", folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  gd_free(path);
  test_folder_remove(folder);
  return 0;
}

// A table of two parameters: "a" (2, 2) and "attentions.0.to_q.weight" (1).
static gd_param_table tiny_table(void) {
  static gd_param params[2] = {{.name = "a", .n_dims = 2, .dims = {2, 2}, .count = 4},
                               {.name = "attentions.0.to_q.weight", .n_dims = 1, .dims = {1}, .offset = 4, .count = 1}};
  return (gd_param_table){.params = params, .n = 2, .total = 5};
}

// A file with this header and data.
static void write_raw(const char *header, const void *data, size_t nbytes) {
  size_t length = strlen(header);
  uint8_t *bytes = gd_alloc_zero(8 + length + nbytes);
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)length >> 8 * i);
  memcpy(bytes + 8, header, length);
  if (nbytes) memcpy(bytes + 8 + length, data, nbytes);
  file_write(path, bytes, 8 + length + nbytes);
  gd_free(bytes);
}

static const float tiny_values[5] = {1.5f, -2.0f, 3.25f, 4.0f, 5.0f};

static gd_err read_tiny(float values[5]) {
  gd_param_table table = tiny_table();
  return gd_safetensors_read(path, &table, values);
}

static void assert_refused(const char *header, const char *message) {
  float values[5];
  write_raw(header, tiny_values, sizeof tiny_values);
  assert_int_equal(read_tiny(values), GD_ERR_INPUT);
  assert_message(path);
  assert_message(message);
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}"
#define Q "\"attentions.0.to_q.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[16,20]}"

#define OF_TYPE(type, a, q)                                            \
  "{\"a\":{\"dtype\":\"" type "\",\"shape\":[2,2],\"data_offsets\":" a \
  "},"                                                                 \
  "\"attentions.0.to_q.weight\":{\"dtype\":\"" type "\",\"shape\":[1],\"data_offsets\":" q "}}"
#define F64_HEADER  OF_TYPE("F64", "[8,40]", "[0,8]")
#define F16_HEADER  OF_TYPE("F16", "[0,8]", "[8,10]")
#define BF16_HEADER OF_TYPE("BF16", "[0,8]", "[8,10]")

static void test_round_trip(void **state) {
  (void)state;
  gd_param_table table = small_table();
  float *values = small_values(&table, 1), *read = GD_NEW_ARRAY(float, table.total);
  assert_ok(gd_safetensors_write(path, &table, values));
  assert_ok(gd_safetensors_read(path, &table, read));
  assert_memory_equal(values, read, (size_t)table.total * sizeof *values);
  gd_free(read);
  gd_free(values);
}

static void test_written_header_is_padded(void **state) {
  (void)state;
  gd_param_table table = small_table();
  float *values = small_values(&table, 1);
  assert_ok(gd_safetensors_write(path, &table, values));
  size_t nbytes;
  uint8_t *bytes = file_bytes(path, &nbytes);
  size_t length = bytes[0] + 256u * bytes[1];
  assert_int_equal(length % 8, 0);
  assert_int_equal(nbytes, 8 + length + (size_t)table.total * 4);
  assert_memory_equal(bytes + 8, "{\"__metadata__\":{\"format\":\"pt\"},\"conv_in.weight\":{\"dtype\":\"F32\"", 62);
  gd_free(bytes);
  gd_free(values);
}

static void test_plain_file_is_read(void **state) {
  (void)state;
  float values[5];
  write_raw("{\"__metadata__\":{\"x\":\"y\"}," Q "," A "}   ", tiny_values, sizeof tiny_values);
  assert_ok(read_tiny(values));
  assert_memory_equal(values, tiny_values, sizeof values);
}

static void test_old_attention_names_are_read(void **state) {
  (void)state;
  gd_param params[] = {{.name = "mid.attentions.12.to_q.weight", .n_dims = 1, .dims = {1}, .count = 1},
                       {.name = "mid.attentions.12.to_k.weight", .n_dims = 1, .dims = {1}, .offset = 1, .count = 1},
                       {.name = "attentions.0.to_v.bias", .n_dims = 1, .dims = {1}, .offset = 2, .count = 1},
                       {.name = "attentions.0.to_out.0.bias", .n_dims = 1, .dims = {1}, .offset = 3, .count = 1},
                       {.name = "attentions.0.group_norm.bias", .n_dims = 1, .dims = {1}, .offset = 4, .count = 1}};
  gd_param_table table = {.params = params, .n = 5, .total = 5};
  float values[5];
  write_raw(
      "{\"mid.attentions.12.query.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
      "\"mid.attentions.12.key.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
      "\"attentions.0.value.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},"
      "\"attentions.0.proj_attn.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]},"
      "\"attentions.0.group_norm.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[16,20]}}",
      tiny_values, sizeof tiny_values);
  assert_ok(gd_safetensors_read(path, &table, values));
  assert_memory_equal(values, tiny_values, sizeof values);
}

static void test_other_number_formats_are_converted(void **state) {
  (void)state;
  // 1, -2, the largest and the smallest half
  const uint8_t half[8] = {0x00, 0x3c, 0x00, 0xc0, 0xff, 0x7b, 0x01, 0x00}, bfloat[2] = {0x80, 0x3f};
  float values[5];
  uint8_t data[10];
  memcpy(data, half, 8);
  memcpy(data + 8, bfloat, 2);
  write_raw(
      "{\"a\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[0,8]},"
      "\"attentions.0.to_q.weight\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[8,10]}}",
      data, sizeof data);
  assert_ok(read_tiny(values));
  const float expected[5] = {1.0f, -2.0f, 65504.0f, 0x1p-24f, 1.0f};
  assert_memory_equal(values, expected, sizeof expected);

  const double doubles[5] = {0.1, -1e30, 3.0, 4.0, 5.0};
  write_raw(F64_HEADER, doubles, sizeof doubles);
  assert_ok(read_tiny(values));
  assert_true(values[0] == -1e30f && values[1] == 3.0f && values[4] == 0.1f);
}

static void test_special_halves(void **state) {
  (void)state;
  // the negated maximum, zero, minus zero, a negative subnormal
  const uint8_t half[10] = {0xff, 0xfb, 0x00, 0x00, 0x00, 0x80, 0x00, 0x82, 0x00, 0x38};
  float v[5];
  write_raw(F16_HEADER, half, sizeof half);
  assert_ok(read_tiny(v));
  assert_true(v[0] == -65504.0f && v[1] == 0.0f && !signbit(v[1]) && v[2] == 0.0f && signbit(v[2]));
  assert_true(v[3] == -0x1p-15f && v[4] == 0.5f);
}

static void assert_values_refused(const char *header, const void *data, size_t nbytes, const char *message) {
  float values[5];
  write_raw(header, data, nbytes);
  assert_int_equal(read_tiny(values), GD_ERR_INPUT);
  assert_message(path);
  assert_message(message);
}

static void test_non_finite_values_are_named(void **state) {
  (void)state;
  const float singles[5] = {1, 2, 3, NAN, 5};
  const double doubles[5] = {0.1, 2, -1e300, 4, 5};
  const uint8_t half[10] = {0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x7c}, bfloat[10] = {0, 0, 0xc0, 0xff};
  assert_values_refused("{" A "," Q "}", singles, sizeof singles, "tensor 'a': element 3 (from 0) is nan");
  assert_values_refused(F64_HEADER, doubles, sizeof doubles, "tensor 'a': element 1 (from 0) is -inf as float32");
  assert_values_refused(F16_HEADER, half, sizeof half, "tensor 'attentions.0.to_q.weight': element 0 (from 0) is inf");
  assert_values_refused(BF16_HEADER, bfloat, sizeof bfloat, "tensor 'a': element 1 (from 0) is -nan");
}

static void test_data_is_covered_once(void **state) {
  (void)state;
  uint8_t data[28] = {0};
  const char *gap = "{" A ",\"attentions.0.to_q.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}}";
  const char *overlap =
      "{" A ",\"attentions.0.to_q.weight\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}";
  assert_values_refused("{" A "," Q "}", data, 28,
                        "must cover the 28 bytes of data without gap or overlap, but do not from byte 20");
  assert_values_refused(gap, data, 24,
                        "must cover the 24 bytes of data without gap or overlap, but do not from byte 16");
  assert_values_refused(overlap, data, 20,
                        "must cover the 20 bytes of data without gap or overlap, but do not from byte 16");
  assert_values_refused(overlap, data, 16, "must cover the 16 bytes of data without gap or overlap");
}

static void test_a_git_lfs_pointer_is_named(void **state) {
  (void)state;
  static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
  float values[5];
  file_write(path, pointer, sizeof pointer - 1);
  assert_int_equal(read_tiny(values), GD_ERR_INPUT);
  assert_message(path);
  assert_message("a Git LFS pointer, not the file itself");
}

static void test_wrong_tensors_are_named(void **state) {
  (void)state;
  assert_refused("{" A "}", "tensor 'attentions.0.to_q.weight' is missing");
  assert_refused("{" A "," Q ",\"b\":{}}", "tensor 'b' is no parameter of this network");
  assert_refused("{" A "," Q ",\"attentions.0.query.weight\":{}}",
                 "tensor 'attentions.0.query.weight' appears twice, also as 'attentions.0.to_q.weight'");
  assert_refused("{" A "," A "," Q "}", "the header is not JSON: duplicate object key");
  assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}," Q "}",
                 "tensor 'a' has shape [4], must be [2,2]");
  assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2.0],\"data_offsets\":[0,16]}," Q "}",
                 "tensor 'a' has shape [2,2.0], must be [2,2]");
  assert_refused("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,16]}," Q "}",
                 "tensor 'a' has shape missing, must be [2,2]");
  assert_refused("{\"a\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}," Q "}",
                 "tensor 'a' has dtype I32, must be F32, F64, F16 or BF16");
  assert_refused("{\"a\":7," Q "}", "tensor 'a' has shape missing");
}

static void assert_offsets_refused(const char *offsets, const char *message) {
  char *header = gd_format("{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":%s}," Q "}", offsets);
  assert_refused(header, message);
  gd_free(header);
}

static void test_wrong_offsets_are_refused(void **state) {
  (void)state;
  assert_offsets_refused("[8,24]", "tensor 'a': data_offsets 8 to 24 lie outside the 20 bytes of data");
  assert_offsets_refused("[16,0]", "tensor 'a': data_offsets 16 to 0 lie outside");
  assert_offsets_refused("[-4,12]", "tensor 'a': data_offsets -4 to 12 lie outside");
  assert_offsets_refused("[9223372036854775800,9223372036854775807]", "lie outside the 20 bytes of data");
  assert_offsets_refused("[0,12]", "tensor 'a': data_offsets span 12 bytes, its shape and dtype need 16");
  assert_offsets_refused("[0]", "tensor 'a': data_offsets must be two integers");
  assert_offsets_refused("[0,16.0]", "tensor 'a': data_offsets must be two integers");
  assert_offsets_refused("[0,99999999999999999999]", "the header is not JSON: too big integer");
}

static void test_wrong_headers_are_refused(void **state) {
  (void)state;
  float values[5];
  assert_refused("{" A, "the header is not JSON");
  assert_refused("[1]", "the header is not a JSON object");
  assert_refused("", "the header is not JSON");
  file_write(path, "1234567", 7);
  assert_int_equal(read_tiny(values), GD_ERR_INPUT);
  assert_message("not safetensors: shorter than 8 bytes");
  file_write(path, "\x09\0\0\0\0\0\0\0{}", 10);
  assert_int_equal(read_tiny(values), GD_ERR_INPUT);
  assert_message("not safetensors: header of 9 bytes, but the file has 2");
  file_write(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
  assert_int_equal(read_tiny(values), GD_ERR_INPUT);
  assert_message("not safetensors: header of 18446744073709551615 bytes");
}

static void test_files_that_cannot_be_opened(void **state) {
  (void)state;
  gd_param_table table = small_table();
  float *values = small_values(&table, 1);
  char *missing = gd_format("%s/none/a.safetensors", folder);
  assert_int_equal(gd_safetensors_read(missing, &table, values), GD_ERR_INPUT);
  assert_message("/none/a.safetensors: cannot open the file: No such file or directory");
  assert_int_equal(gd_safetensors_write(missing, &table, values), GD_ERR_FAILED);
  assert_message("/none/a.safetensors: cannot create the file: No such file or directory");
  assert_int_equal(gd_safetensors_read(folder, &table, values), GD_ERR_INPUT);
  assert_message("not a regular file");
  assert_int_equal(gd_safetensors_write(folder, &table, values), GD_ERR_FAILED);
  assert_message("cannot give the file its final name");
  char *tmp = gd_format("%s.tmp", folder);
  assert_false(file_exists(tmp));
  gd_free(tmp);
  gd_free(missing);
  gd_free(values);
}

#define safetensors_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      safetensors_test(test_round_trip),
      safetensors_test(test_written_header_is_padded),
      safetensors_test(test_plain_file_is_read),
      safetensors_test(test_old_attention_names_are_read),
      safetensors_test(test_other_number_formats_are_converted),
      safetensors_test(test_special_halves),
      safetensors_test(test_non_finite_values_are_named),
      safetensors_test(test_data_is_covered_once),
      safetensors_test(test_a_git_lfs_pointer_is_named),
      safetensors_test(test_wrong_tensors_are_named),
      safetensors_test(test_wrong_offsets_are_refused),
      safetensors_test(test_wrong_headers_are_refused),
      safetensors_test(test_files_that_cannot_be_opened),
  };
  return GD_TEST_MAIN(tests);
}
