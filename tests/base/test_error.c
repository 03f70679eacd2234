/* Error messages, log levels, small allocations and digests. The abort is not tested: it ends all ranks. */
#include <string.h>

#include "support.h"

static void error_records_its_message(void **state) {
  (void)state;
  assert_int_equal(gd_error(GD_ERR_INPUT, "%s: line %d: no", "a.yaml", 3), GD_ERR_INPUT);
  assert_string_equal(gd_error_message(), "a.yaml: line 3: no");
  assert_int_equal(gd_error(GD_ERR_FAILED, "again: %s", gd_error_message()), GD_ERR_FAILED);
  assert_string_equal(gd_error_message(), "again: a.yaml: line 3: no");
}

static void context_precedes_the_message(void **state) {
  (void)state;
  gd_err err = gd_error(GD_ERR_FAILED, "disk full");
  assert_int_equal(gd_error_context(err, "task %d", 2), GD_ERR_FAILED);
  assert_int_equal(gd_error_context(err, "%s", "run"), GD_ERR_FAILED);
  assert_string_equal(gd_error_message(), "run: task 2: disk full");
  assert_int_equal(gd_error_context(GD_OK, "unseen"), GD_OK);
  assert_string_equal(gd_error_message(), "run: task 2: disk full");
}

static void long_messages_are_truncated(void **state) {
  (void)state;
  char text[6000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  gd_error(GD_ERR_INPUT, "%s", text);
  size_t length = strlen(gd_error_message());
  assert_in_range(length, 1000, sizeof text - 2);
  assert_memory_equal(gd_error_message(), text, length);
  gd_error_context(GD_ERR_INPUT, "prefix");
  assert_memory_equal(gd_error_message(), "prefix: xxx", 11);
  for (int i = 0; i < 5; i++) gd_error_context(GD_ERR_INPUT, "%s", text);
  assert_in_range(strlen(gd_error_message()), 1000, sizeof text - 2);
}

static gd_err try_twice(gd_err first, bool *reached_end) {
  gd_err err = GD_OK;
  GD_TRY(first);
  *reached_end = true;
done:
  return err;
}

static void try_leaves_through_done(void **state) {
  (void)state;
  bool reached_end = false;
  assert_int_equal(try_twice(GD_ERR_INPUT, &reached_end), GD_ERR_INPUT);
  assert_false(reached_end);
  assert_int_equal(try_twice(GD_OK, &reached_end), GD_OK);
  assert_true(reached_end);
}

static void log_levels_are_parsed(void **state) {
  (void)state;
  static const char *const names[] = {"error", "warn", "info", "debug"};
  for (int i = 0; i < 4; i++) {
    gd_log_level level;
    assert_ok(gd_log_level_parse(names[i], &level));
    assert_int_equal(level, i);
  }
  gd_log_level level = GD_LOG_WARN;
  assert_int_equal(gd_log_level_parse("loud", &level), GD_ERR_INPUT);
  assert_string_equal(gd_error_message(), "log level 'loud': must be error, warn, info or debug");
  assert_int_equal(level, GD_LOG_WARN);
}

static void memory_is_aligned_and_zeroed(void **state) {
  (void)state;
  for (size_t nbytes = 0; nbytes < 300; nbytes += 13) {
    unsigned char *block = gd_alloc_zero(nbytes);
    assert_int_equal((uintptr_t)block % 64, 0);
    for (size_t i = 0; i < nbytes; i++) assert_int_equal(block[i], 0);
    gd_free(block);
  }
  gd_free(NULL);
  char *copy = gd_strdup("copy"), *text = gd_format("%s-%03d", copy, 7);
  assert_string_equal(text, "copy-007");
  gd_free(copy);
  gd_free(text);
}

// The value for no bytes is the one published with XXH3.
static void digest_is_xxh3(void **state) {
  (void)state;
  assert_true(gd_digest("", 0, 0) == 0x2d06800538d394c2u);
  assert_true(gd_digest("abc", 3, 0) == gd_digest("abc", 3, 0));
  assert_true(gd_digest("abc", 3, 0) != gd_digest("abd", 3, 0));
  assert_true(gd_digest("abc", 3, 0) != gd_digest("abc", 3, 1));
}

static void seconds_do_not_go_back(void **state) {
  (void)state;
  double before = gd_seconds();
  for (int i = 0; i < 1000; i++) {
    double now = gd_seconds();
    assert_true(now >= before);
    before = now;
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(error_records_its_message),
      cmocka_unit_test(context_precedes_the_message),
      cmocka_unit_test(long_messages_are_truncated),
      cmocka_unit_test(try_leaves_through_done),
      cmocka_unit_test(log_levels_are_parsed),
      cmocka_unit_test(memory_is_aligned_and_zeroed),
      cmocka_unit_test(digest_is_xxh3),
      cmocka_unit_test(seconds_do_not_go_back),
  };
  return GD_TEST_MAIN(tests);
}
