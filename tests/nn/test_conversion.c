/* From float32 to bfloat16 and back, and sums in bfloat16; needs no bfloat16 instructions. */
#include <string.h>

#include "nn/bfloat16.h"
#include "support.h"

static uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

typedef struct gd_rounding {
  uint32_t from;
  gd_bfloat16 to;
} gd_rounding;

static const gd_rounding roundings[] = {
    {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80},                        // tie, down to even
    {0x3f818000, 0x3f82},                                              // tie, up to even
    {0x3f807fff, 0x3f80}, {0x3f808001, 0x3f81},                        // just below and above a tie
    {0x3f817fff, 0x3f81}, {0x3f818001, 0x3f82}, {0x3fffffff, 0x4000},  // carries into the exponent
    {0xbf808000, 0xbf80}, {0xbf818000, 0xbf82},                        // the sign does not matter
    {0x00000000, 0x0000}, {0x80000000, 0x8000},                        // -0 stays
    {0x00000001, 0x0000}, {0x00008000, 0x0000},                        // subnormals round like all others
    {0x00018000, 0x0002}, {0x007fffff, 0x0080},                        // the largest becomes the smallest normal number
    {0x00400000, 0x0040}, {0x80018000, 0x8002}, {0x7f7f7fff, 0x7f7f}, {0x7f7f8000, 0x7f80},  // these round to infinity
    {0x7f7fffff, 0x7f80}, {0xff7fffff, 0xff80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
};
enum { N_ROUNDINGS = sizeof roundings / sizeof roundings[0] };

static void conversion_rounds_to_nearest_even(void **state) {
  (void)state;
  float values[N_ROUNDINGS];
  gd_bfloat16 rounded[N_ROUNDINGS];
  for (int i = 0; i < N_ROUNDINGS; i++) values[i] = from_bits(roundings[i].from);
  gd_tensor_convert(GD_FLOAT32, values, GD_BFLOAT16, rounded, N_ROUNDINGS);
  for (int i = 0; i < N_ROUNDINGS; i++)
    if (rounded[i] != roundings[i].to)
      fail_msg("%08x becomes %04x, expected %04x", roundings[i].from, rounded[i], roundings[i].to);
}

static void not_a_number_stays_so(void **state) {
  (void)state;
  const uint32_t patterns[] = {0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff, 0x7fc00000, 0x7f80ffff, 0x7fff8000};
  enum { N = sizeof patterns / sizeof patterns[0] };
  float values[N], back[N];
  gd_bfloat16 rounded[N];
  memcpy(values, patterns, sizeof patterns);
  gd_tensor_convert(GD_FLOAT32, values, GD_BFLOAT16, rounded, N);
  gd_tensor_convert(GD_BFLOAT16, rounded, GD_FLOAT32, back, N);
  for (int i = 0; i < N; i++)
    if ((float_bits(back[i]) & 0x7fffffff) <= 0x7f800000 || (float_bits(back[i]) ^ patterns[i]) >> 31)
      fail_msg("%08x becomes %08x", patterns[i], float_bits(back[i]));
}

enum { N_PATTERNS = 1 << 16 };

// All 65536 bit patterns; a NaN may become a quiet NaN.
static void round_trip_is_exact(void **state) {
  (void)state;
  gd_bfloat16 *all = gd_alloc(N_PATTERNS * sizeof *all), *back = gd_alloc(N_PATTERNS * sizeof *back);
  float *wide = GD_NEW_ARRAY(float, N_PATTERNS);
  for (int i = 0; i < N_PATTERNS; i++) all[i] = (gd_bfloat16)i;
  gd_tensor_convert(GD_BFLOAT16, all, GD_FLOAT32, wide, N_PATTERNS);
  gd_tensor_convert(GD_FLOAT32, wide, GD_BFLOAT16, back, N_PATTERNS);
  for (int i = 0; i < N_PATTERNS; i++) {
    bool is_number = (i & 0x7fff) <= 0x7f80;
    assert_int_equal(float_bits(wide[i]), (uint32_t)i << 16);
    assert_int_equal(back[i], is_number ? i : i | 0x40);
  }
  gd_free(all);
  gd_free(back);
  gd_free(wide);
}

// Lengths around the size of the blocks of work; elements past the end stay unchanged.
static void addition_rounds_the_sum(void **state) {
  (void)state;
  static const int lengths[] = {1, 15, 4095, 4096, 4097, 9000};
  enum { LONGEST = 9001 };
  gd_bfloat16 *sum = gd_alloc(LONGEST * sizeof *sum), *term = gd_alloc(LONGEST * sizeof *term);
  float *values = GD_NEW_ARRAY(float, 2 * LONGEST), *a = values, *b = values + LONGEST;
  for (int k = 0; k < 6; k++) {
    int n = lengths[k];
    gd_random_normal((gd_random){.seed = 1, .purpose = GD_RANDOM_NOISE}, 0, 2 * LONGEST, values);
    gd_tensor_convert(GD_FLOAT32, a, GD_BFLOAT16, sum, LONGEST);
    gd_tensor_convert(GD_FLOAT32, b, GD_BFLOAT16, term, LONGEST);
    gd_tensor_convert(GD_BFLOAT16, sum, GD_FLOAT32, a, LONGEST);
    gd_tensor_convert(GD_BFLOAT16, term, GD_FLOAT32, b, LONGEST);
    gd_bfloat16 behind = sum[n], expected;
    gd_tensor_add(GD_BFLOAT16, sum, term, n);
    assert_int_equal(sum[n], behind);
    for (int i = 0; i < n; i++) {
      float exact = a[i] + b[i];
      gd_tensor_convert(GD_FLOAT32, &exact, GD_BFLOAT16, &expected, 1);
      assert_int_equal(sum[i], expected);
    }
  }
  gd_free(sum);
  gd_free(term);
  gd_free(values);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(conversion_rounds_to_nearest_even),
                                     cmocka_unit_test(not_a_number_stays_so), cmocka_unit_test(round_trip_is_exact),
                                     cmocka_unit_test(addition_rounds_the_sum)};
  return GD_TEST_MAIN(tests);
}
