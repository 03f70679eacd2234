/* A damaged checkpoint gives an error that names the file; it never crashes the program or gives wrong values. */
#define _GNU_SOURCE  // memmem
#include "hdf5_leaks.h"
#include "store_small.h"

typedef struct fixture {
  gd_param_table table;
  char *folder, *path;
  gd_checkpoint written;
  uint8_t *bytes;  // of the undamaged file
  size_t nbytes;
} fixture;

static int set_up(void **state) {
  fixture *f = GD_NEW(fixture);
  f->table = small_table();
  f->folder = test_folder_create();
  f->path = gd_checkpoint_path(f->folder, 1, 1234);
  f->written = small_checkpoint(&f->table, true);
  gd_err err = gd_checkpoint_write(test_comm, f->path, &f->table, &f->written);
  if (err == GD_OK) f->bytes = file_bytes(f->path, &f->nbytes);
  *state = f;
  return err;
}

static int tear_down(void **state) {
  fixture *f = *state;
  gd_checkpoint_clear(&f->written);
  test_folder_remove(f->folder);
  gd_free(f->path);
  gd_free(f->bytes);
  gd_free(f);
  return 0;
}

// Reads the file again: it is refused by name or, where the damaged bytes are unused, reads as it was written.
static bool refused(fixture *f) {
  gd_checkpoint read;
  gd_err err = gd_checkpoint_read(test_comm, f->path, &f->table, &read);
  if (err == GD_OK) {
    small_assert_same(&f->table, &f->written, &read);
    gd_checkpoint_clear(&read);
    return false;
  }
  assert_int_equal(err, GD_ERR_INPUT);
  assert_message(f->path);
  assert_int_equal(read.n_arrays, 0);
  return true;
}

static size_t find_bytes(const fixture *f, const void *pattern, size_t nbytes) {
  const uint8_t *at = memmem(f->bytes, f->nbytes, pattern, nbytes);
  assert_non_null(at);
  return (size_t)(at - f->bytes);
}

static void flip_and_read(fixture *f, size_t position, const char *message) {
  f->bytes[position] ^= 0x10;
  file_write(f->path, f->bytes, f->nbytes);
  f->bytes[position] ^= 0x10;
  assert_true(refused(f));
  assert_message(message);
}

static void test_a_flipped_value_names_its_dataset(void **state) {
  fixture *f = *state;
  const gd_param *cube = gd_param_table_find(&f->table, "cube");
  size_t nbytes = (size_t)cube->count * sizeof(float);
  const float *model = gd_checkpoint_array(&f->written, "model"), *ema = gd_checkpoint_array(&f->written, "ema");
  flip_and_read(f, find_bytes(f, model + cube->offset, nbytes),
                "dataset '/model/cube' is damaged: its checksum does not match");
  flip_and_read(f, find_bytes(f, ema + cube->offset, nbytes) + nbytes - 3, "dataset '/ema/cube' is damaged");
  flip_and_read(f, find_bytes(f, gd_checkpoint_array(&f->written, "optimizer/v"), nbytes),
                "dataset '/optimizer/v' is damaged");
}

static void test_flipped_bytes_anywhere_are_refused(void **state) {
  fixture *f = *state;
  int n_refused = 0, n = 60;
  for (int i = 0; i < n; i++) {
    size_t position = (size_t)i * f->nbytes / (size_t)n + (size_t)i % 7;
    uint8_t good = f->bytes[position];
    f->bytes[position] = (uint8_t)(i % 2 ? good ^ 0xff : good ^ 1 << i % 8);
    file_write(f->path, f->bytes, f->nbytes);
    f->bytes[position] = good;
    n_refused += refused(f);
  }
  assert_true(n_refused > n * 3 / 4);  // most of the file matters
}

static void test_a_short_file_is_refused(void **state) {
  fixture *f = *state;
  for (int i = 0; i < 20; i++) {
    file_write(f->path, f->bytes, f->nbytes * (size_t)i / 20);
    assert_true(refused(f));
  }
  file_write(f->path, f->bytes, f->nbytes - 1);
  assert_true(refused(f));
  assert_message("not an HDF5 file, or damaged: truncated file");
}

static void test_zeroed_pages_are_refused(void **state) {
  fixture *f = *state;
  uint8_t *torn = gd_alloc(f->nbytes);
  for (size_t begin = 0; begin + 4096 <= f->nbytes; begin += 4096) {
    memcpy(torn, f->bytes, f->nbytes);
    memset(torn + begin, 0, 4096);
    file_write(f->path, torn, f->nbytes);
    assert_true(refused(f));
  }
  gd_free(torn);
}

static void test_a_file_of_something_else_is_refused(void **state) {
  fixture *f = *state;
  file_write(f->path, "seed: 42\n", 9);
  assert_true(refused(f));
  assert_message("not an HDF5 file, or damaged");
}

static void test_a_missing_file_is_refused(void **state) {
  fixture *f = *state;
  gd_checkpoint read;
  char *path = gd_format("%s/none.h5", f->folder);
  assert_int_equal(gd_checkpoint_read_header(test_comm, path, &read), GD_ERR_INPUT);
  assert_message("/none.h5: cannot read the file: No such file or directory");
  assert_int_equal(gd_checkpoint_read_header(test_comm, f->folder, &read), GD_ERR_INPUT);
  assert_message("not a regular file");
  gd_free(path);
}

#define damage_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      damage_test(test_a_flipped_value_names_its_dataset),
      damage_test(test_flipped_bytes_anywhere_are_refused),
      damage_test(test_a_short_file_is_refused),
      damage_test(test_zeroed_pages_are_refused),
      damage_test(test_a_file_of_something_else_is_refused),
      damage_test(test_a_missing_file_is_refused),
  };
  return GD_TEST_MAIN(tests);
}
