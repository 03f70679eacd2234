/* Block ranges: contiguous, complete, sizes differing by at most one, the longer ones first. */
#include "support.h"

static void blocks_cover_the_range(void **state) {
  (void)state;
  for (int64_t n = 0; n <= 40; n++) {
    for (int64_t parts = 1; parts <= 17; parts++) {
      int64_t at = 0, last_length = n + 1;
      for (int64_t part = 0; part < parts; part++) {
        gd_range block = gd_range_block(n, parts, part);
        int64_t length = block.end - block.begin;
        assert_int_equal(block.begin, at);
        assert_true(length == n / parts || length == n / parts + 1);
        assert_true(length <= last_length);
        at = block.end;
        last_length = length;
      }
      assert_int_equal(at, n);
    }
  }
}

static void large_ranges_do_not_overflow(void **state) {
  (void)state;
  int64_t n = INT64_C(6000000000001);
  gd_range last = gd_range_block(n, 100000, 99999), first = gd_range_block(n, 100000, 0);
  assert_true(last.end == n && last.end - last.begin == 60000000);
  assert_true(first.begin == 0 && first.end == 60000001);
}

static void chunks_are_whole_and_cover_the_range(void **state) {
  (void)state;
  for (int64_t n = 0; n < 300; n += 7)
    for (int parts = 1; parts <= 9; parts++) {
      int64_t next = 0, longest = gd_range_chunks(n, 32, parts, 0).end;
      for (int part = 0; part < parts; part++) {
        gd_range range = gd_range_chunks(n, 32, parts, part);
        assert_true(range.begin == next && range.end >= range.begin);
        assert_true(range.begin % 32 == 0 || range.begin == n);
        assert_true(range.end == n || range.end - range.begin == longest);
        next = range.end;
      }
      assert_true(next == n);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_cover_the_range),
      cmocka_unit_test(chunks_are_whole_and_cover_the_range),
      cmocka_unit_test(large_ranges_do_not_overflow),
  };
  return GD_TEST_MAIN(tests);
}
