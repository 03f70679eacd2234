/* `gd_store_info` prints on rank 0 only, and it notices damage. */
#include <fcntl.h>

#include "store_small.h"

// The status of gd_store_info, and what rank 0 printed ("" on the others). gd_free.
static char *capture(const char *folder, const char *path, gd_err *err) {
  char *name = gd_format("%s/printed-%d", folder, test_comm->rank);
  fflush(stdout);
  int before = dup(1), file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  assert_true(before >= 0 && file >= 0);
  dup2(file, 1);
  *err = gd_store_info(test_comm, path);
  fflush(stdout);
  dup2(before, 1);
  close(before);
  close(file);
  size_t nbytes;
  uint8_t *bytes = file_bytes(name, &nbytes);
  char *text = gd_format("%.*s", (int)nbytes, (const char *)bytes);
  gd_free(bytes);
  gd_free(name);
  return text;
}

static void assert_printed(const char *text, const char *part) {
  if (test_comm->rank != 0)
    assert_string_equal(text, "");
  else if (!strstr(text, part))
    fail_msg("'%s' is not in:\n%s", part, text);
}

static void test_checkpoint(void **state) {
  (void)state;
  gd_param_table table = small_table();
  gd_checkpoint checkpoint = small_checkpoint(&table, true);
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder);
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &checkpoint));
  gd_err err;
  char *text = capture(folder, path, &err);
  assert_ok(err);
  assert_printed(text, "kind                 checkpoint\n");
  assert_printed(text, "\ntask                 2\n");
  assert_printed(text, "\nseed                 18446744073709551612\n");
  assert_printed(text, "\nconfig\n  seed: 42\n  strategy: {name: generative_distillation}\n");
  assert_printed(text, "\n/model: 12 datasets, 234 values\n");
  assert_printed(text, "\n/optimizer: 2 datasets, 468 values\n");
  assert_printed(text, "\n  /model/conv_in.weight float32 (5, 2, 3, 3)\n");
  assert_printed(text, "\nchecksums: all 39 match\n");  // 3 * 12 parameters, 2 moments, the header
  gd_free(text);
  gd_checkpoint_clear(&checkpoint);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_damage_is_named(void **state) {
  (void)state;
  gd_param_table table = small_table();
  gd_checkpoint checkpoint = small_checkpoint(&table, false);
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder);
  assert_ok(gd_checkpoint_write(test_comm, path, &table, &checkpoint));
  small_damage_bias(path, &checkpoint);
  gd_err err;
  char *text = capture(folder, path, &err);
  assert_int_equal(err, GD_ERR_INPUT);
  assert_message("/a.h5: damaged: checksums do not match: /model/conv_in.bias");
  assert_printed(text, "\nchecksums: 1 of 13 do NOT match: /model/conv_in.bias\n");
  gd_free(text);
  gd_checkpoint_clear(&checkpoint);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_sample_set(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/a.h5", folder);
  gd_range local = gd_range_block(5, test_comm->size, test_comm->rank);
  uint8_t *images = gd_alloc_zero((size_t)(local.end - local.begin) * 6);
  gd_sample_set set = {.n_global = 5, .h = 2, .w = 3, .c = 1, .sampler = "ddpm", .local = local, .images = images};
  set.x_0 = GD_NEW_ARRAY(float, (local.end - local.begin) * 6);
  assert_ok(gd_sample_set_write(test_comm, path, &set));
  gd_err err;
  char *text = capture(folder, path, &err);
  assert_ok(err);
  assert_printed(text, "kind                 sample_set\n");
  assert_printed(text, "\nsampler              ddpm\n");
  assert_printed(text, "\n  /images uint8 (5, 2, 3, 1)\n");
  assert_printed(text, "\nchecksums: all 4 match\n");  // images, x_0, index, header
  gd_free(text);
  gd_free((float *)set.x_0);
  gd_free(images);
  gd_free(path);
  test_folder_remove(folder);
}

static void test_file_from_elsewhere(void **state) {
  (void)state;
  char *folder = test_folder_create();
  gd_err err;
  char *text = capture(folder, GD_TEST_DATA "/golden/unet.h5", &err);
  assert_ok(err);
  assert_printed(text, "kind                 unknown\n");
  assert_printed(text, "\nchecksums: none in this file\n");
  gd_free(text);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_checkpoint),
      cmocka_unit_test(test_damage_is_named),
      cmocka_unit_test(test_sample_set),
      cmocka_unit_test(test_file_from_elsewhere),
  };
  return GD_TEST_MAIN(tests);
}
