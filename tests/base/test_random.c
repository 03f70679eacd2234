/* Random numbers: known answers, distribution, and that a number depends on its key, sample and element only. */
#include <math.h>
#include <string.h>

#include "support.h"

// philox4x32-10 with counter and key zero, from Random123's known-answer file.
static const uint32_t zero_answer[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};

// The words of elements 0..7 for this key and index, from an independent implementation of the paper's Philox. They fix
// the layout of the key: with another layout, stored runs could not be reproduced.
static const gd_random fixed_key = {
    .seed = 0x0123456789abcdef, .purpose = GD_RANDOM_NOISE, .task = 0x1234, .step = 0xdeadbeef};
static const uint64_t fixed_index = 0xab00c0ffee;
static const uint32_t fixed_answer[8] = {0xfcb96c23, 0x5e579a7d, 0x8a506f06, 0x769edad3,
                                         0xfce750a6, 0x9c564cce, 0x4a200e9b, 0x876897b2};

static void assert_uniform_words(gd_random key, uint64_t index, int n, const uint32_t *words) {
  float values[8];
  gd_random_uniform(key, index, (size_t)n, values);
  for (int i = 0; i < n; i++) assert_int_equal(values[i] * 0x1p24f, words[i] >> 8);
}

static void known_answers_match(void **state) {
  (void)state;
  gd_random zero = {0};
  assert_uniform_words(zero, 0, 4, zero_answer);
  assert_int_equal(gd_random_below(zero, 0, 0xffffffff), zero_answer[0]);
  assert_uniform_words(fixed_key, fixed_index, 8, fixed_answer);
}

// Box-Muller on pairs of the same words; 1 - u keeps the logarithm finite.
static void normals_come_from_the_known_words(void **state) {
  (void)state;
  float values[8];
  gd_random_normal(fixed_key, fixed_index, 8, values);
  for (int i = 0; i < 8; i += 2) {
    double u = (fixed_answer[i] >> 8) * 0x1p-24, v = (fixed_answer[i + 1] >> 8) * 0x1p-24;
    double radius = sqrt(-2.0 * log(1.0 - u)), angle = 2.0 * acos(-1.0) * v;
    assert_true(fabs(values[i] - radius * cos(angle)) < 1e-5);
    assert_true(fabs(values[i + 1] - radius * sin(angle)) < 1e-5);
  }
}

static void every_part_of_the_key_counts(void **state) {
  (void)state;
  gd_random keys[6] = {fixed_key, fixed_key, fixed_key, fixed_key, fixed_key, fixed_key};
  keys[1].seed ^= 1;
  keys[2].seed ^= UINT64_C(1) << 63;
  keys[3].purpose = GD_RANDOM_TIMESTEP;
  keys[4].task += 1;
  keys[5].step += 1;
  float values[8][4];
  for (int i = 0; i < 6; i++) gd_random_normal(keys[i], fixed_index, 4, values[i]);
  gd_random_normal(fixed_key, fixed_index + 1, 4, values[6]);
  gd_random_normal(fixed_key, fixed_index ^ UINT64_C(1) << 39, 4, values[7]);
  for (int i = 0; i < 8; i++)
    for (int j = 0; j < i; j++)
      for (int e = 0; e < 4; e++) assert_true(values[i][e] != values[j][e]);
}

static void shorter_draws_are_prefixes(void **state) {
  (void)state;
  float all[64], some[64];
  for (int uniform = 0; uniform < 2; uniform++) {
    void (*draw)(gd_random, uint64_t, size_t, float *) = uniform ? gd_random_uniform : gd_random_normal;
    draw(fixed_key, 5, 64, all);
    for (size_t n = 0; n <= 64; n++) {
      for (int i = 0; i < 64; i++) some[i] = -77.0f;
      draw(fixed_key, 5, n, some);
      assert_memory_equal(some, all, n * sizeof *all);
      for (size_t i = n; i < 64; i++) assert_true(some[i] == -77.0f);
    }
  }
}

// The bounds are five standard errors. The numbers are always the same, so the test is not flaky.
static void normals_have_the_right_moments(void **state) {
  (void)state;
  enum { SAMPLES = 1000, ELEMENTS = 1001 };
  const double n = (double)SAMPLES * ELEMENTS;
  gd_random key = {.seed = 42, .purpose = GD_RANDOM_NOISE};
  float values[ELEMENTS];
  double sums[4] = {0}, neighbours = 0.0;
  for (uint64_t index = 0; index < SAMPLES; index++) {
    gd_random_normal(key, index, ELEMENTS, values);
    for (int i = 0; i < ELEMENTS; i++) {
      double z = values[i], power = 1.0;
      assert_true(isfinite(z));
      for (int m = 0; m < 4; m++) sums[m] += power *= z;
      if (i > 0) neighbours += z * values[i - 1];
    }
  }
  assert_true(fabs(sums[0] / n) < 5.0 * sqrt(1.0 / n));
  assert_true(fabs(sums[1] / n - 1.0) < 5.0 * sqrt(2.0 / n));
  assert_true(fabs(sums[2] / n) < 5.0 * sqrt(15.0 / n));
  assert_true(fabs(sums[3] / n - 3.0) < 5.0 * sqrt(96.0 / n));
  assert_true(fabs(neighbours / n) < 5.0 * sqrt(1.0 / n));
}

// Chi-square with 9 degrees of freedom exceeds 27.9 with probability 0.001.
static void numbers_below_a_bound_are_uniform(void **state) {
  (void)state;
  enum { N = 100000, BOUND = 10 };
  gd_random key = {.seed = 42, .purpose = GD_RANDOM_TIMESTEP};
  int counts[BOUND] = {0};
  for (uint64_t index = 0; index < N; index++) {
    uint32_t value = gd_random_below(key, index, BOUND);
    assert_in_range(value, 0, BOUND - 1);
    counts[value]++;
    assert_int_equal(gd_random_below(key, index, 1), 0);
  }
  double chi_square = 0.0, expected = (double)N / BOUND;
  for (int i = 0; i < BOUND; i++) chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  assert_true(chi_square < 27.9);
}

static void permutations_hold_each_number_once(void **state) {
  (void)state;
  static const uint32_t sizes[] = {0, 1, 2, 3, 1000, 60000};
  for (int s = 0; s < 6; s++) {
    uint32_t n = sizes[s];
    uint32_t *order = GD_NEW_ARRAY(uint32_t, n + 1);
    bool *seen = GD_NEW_ARRAY(bool, n + 1);
    order[n] = 77;
    gd_random_permutation((gd_random){.seed = 1, .purpose = GD_RANDOM_EPOCH_ORDER}, n, order);
    for (uint32_t i = 0; i < n; i++) {
      assert_true(order[i] < n);
      assert_false(seen[order[i]]);
      seen[order[i]] = true;
    }
    assert_int_equal(order[n], 77);
    gd_free(seen);
    gd_free(order);
  }
}

// All six permutations of three are about equally frequent: with 5 degrees of freedom chi-square exceeds 20.5 with
// probability 0.001.
static void permutations_are_uniform(void **state) {
  (void)state;
  enum { N = 60000 };
  int counts[27] = {0};
  for (uint32_t step = 0; step < N; step++) {
    uint32_t order[3];
    gd_random_permutation((gd_random){.seed = 1, .purpose = GD_RANDOM_EPOCH_ORDER, .step = step}, 3, order);
    counts[order[0] * 9 + order[1] * 3 + order[2]]++;
  }
  double chi_square = 0.0;
  for (int i = 0; i < 27; i++)
    if (counts[i]) chi_square += (counts[i] - N / 6.0) * (counts[i] - N / 6.0) / (N / 6.0);
  assert_true(chi_square < 20.5);
  assert_true(counts[0 * 9 + 1 * 3 + 2] > 0 && counts[2 * 9 + 1 * 3 + 0] > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_answers_match),
      cmocka_unit_test(normals_come_from_the_known_words),
      cmocka_unit_test(every_part_of_the_key_counts),
      cmocka_unit_test(shorter_draws_are_prefixes),
      cmocka_unit_test(normals_have_the_right_moments),
      cmocka_unit_test(numbers_below_a_bound_are_uniform),
      cmocka_unit_test(permutations_hold_each_number_once),
      cmocka_unit_test(permutations_are_uniform),
  };
  return GD_TEST_MAIN(tests);
}
