/* Outputs are checked before the work, replace no input, and have one writer. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gendistill/store.h"
#include "store_small.h"

static char *at(const char *name) {
  return gd_format("%s/%s", test_folder, name);
}

static void make_file(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT, 0666);
  assert_true(fd >= 0);
  close(fd);
}

static void refused(const char *name, const char *text) {
  char *path = at(name);
  assert_int_equal(gd_output_check("output", path), GD_ERR_INPUT);
  assert_message(text);
  gd_free(path);
}

static void test_places(void **state) {
  (void)state;
  char *file = at("file"), *inner = at("inner"), *fifo = at("fifo");
  make_file(file);
  assert_int_equal(mkdir(inner, 0777), 0);
  assert_int_equal(mkfifo(fifo, 0666), 0);
  assert_ok(gd_output_check("output", file));
  assert_ok(gd_output_check("output", "a_name_alone"));
  refused("none/a.h5", "none: No such file or directory");
  refused("file/a.h5", "cannot write there");
  refused("inner", "inner: is a folder, must be a file");
  refused("inner/", "names a folder, must be a file");
  refused("fifo", "must be a file");
  assert_int_equal(gd_output_check("output", "/dev/null"), GD_ERR_INPUT);
  gd_free(file);
  gd_free(inner);
  gd_free(fifo);
}

static void check_same(const char *a, const char *b, gd_err expected) {
  char *path_a = at(a), *path_b = at(b);
  assert_int_equal(gd_output_check_other("output", path_a, "checkpoint", path_b), expected);
  gd_free(path_a);
  gd_free(path_b);
}

static void test_inputs(void **state) {
  (void)state;
  char *file = at("file"), *other = at("other"), *link_path = at("link"), *hard = at("hard"), *there = at("there");
  make_file(file);
  make_file(other);
  assert_int_equal(symlink("file", link_path), 0);
  assert_int_equal(link(file, hard), 0);
  assert_int_equal(symlink(".", there), 0);
  check_same("file", "file", GD_ERR_INPUT);
  assert_message("is the file that --checkpoint names");
  check_same("link", "file", GD_ERR_INPUT);
  check_same("hard", "file", GD_ERR_INPUT);
  check_same("there/file", "file", GD_ERR_INPUT);
  check_same("there/new", "new", GD_ERR_INPUT);  // neither exists yet
  check_same("other", "file", GD_OK);
  check_same("new", "file", GD_OK);
  assert_ok(gd_output_check_other("output", file, "checkpoint", NULL));
  gd_free(file);
  gd_free(other);
  gd_free(link_path);
  gd_free(hard);
  gd_free(there);
}

static void assert_content(const char *path, const char *expected) {
  char text[16] = "";
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_non_null(fgets(text, sizeof text, file));
  assert_string_equal(text, expected);
  fclose(file);
}

// The draft of the second writer replaces that of the first: the file is complete, and the first writer gets an error.
static void test_two_writers(void **state) {
  (void)state;
  char *path = at("a");
  gd_err err;
  FILE *first = gd_file_begin(path, &err);
  fputs("first", first);
  FILE *second = gd_file_begin(path, &err);
  fputs("second", second);
  assert_int_equal(gd_file_end(first, path, GD_OK), GD_ERR_FAILED);
  assert_message("another process writes to the same name");
  assert_ok(gd_file_end(second, path, GD_OK));
  assert_content(path, "second");

  first = gd_file_begin(path, &err);
  second = gd_file_begin(path, &err);
  fputs("third", second);
  assert_int_equal(gd_file_end(first, path, GD_ERR_FAILED), GD_ERR_FAILED);  // discards its own draft, not the other's
  assert_ok(gd_file_end(second, path, GD_OK));
  assert_content(path, "third");
  gd_free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_places, test_folder_setup, test_folder_teardown),
      cmocka_unit_test_setup_teardown(test_inputs, test_folder_setup, test_folder_teardown),
      cmocka_unit_test_setup_teardown(test_two_writers, test_folder_setup, test_folder_teardown),
  };
  return GD_TEST_MAIN(tests);
}
