/* Class balance against the golden file and by hand, forgetting by hand. */
#include <math.h>

#include "eval/balance.h"
#include "support.h"

static void take_counts(const char *dataset, int64_t *out) {
  float *values = golden("metrics.h5", dataset, 10);
  for (int c = 0; c < 10; c++) out[c] = (int64_t)values[c];
  gd_free(values);
}

static void divergence_is_the_golden_one(void **state) {
  (void)state;
  int64_t true_counts[10], generated_counts[10];
  take_counts("kld/true_counts", true_counts);
  take_counts("kld/generated_counts", generated_counts);
  double kld = gd_class_balance(10, true_counts, generated_counts).kld;
  const double expected = 1.8930390096321175;  // /kld/kld, in double precision
  assert_true(fabs(kld - expected) <= 1e-12 * expected);
}

static void balance_by_hand(void **state) {
  (void)state;
  const int64_t same[3] = {5, 10, 5}, twice[3] = {10, 20, 10}, one[3] = {0, 7, 0}, other[3] = {3, 0, 3};
  gd_balance none = gd_class_balance(3, same, twice);
  assert_true(none.kld == 0 && none.absolute_ratio_difference == 0);
  gd_balance half = gd_class_balance(3, same, one);  // p = 1/4 1/2 1/4, q = 0 1 0
  double outer = 0.25 + 1e-8, inner = 0.5 + 1e-8;
  double expected = 2 * outer * (log(outer) - log(1e-8)) + inner * (log(inner) - log(1 + 1e-8));
  assert_true(fabs(half.kld - expected) < 1e-12 && half.absolute_ratio_difference == 0.5);
  assert_true(gd_class_balance(3, one, other).absolute_ratio_difference == 1);
}

static void forgetting_by_hand(void **state) {
  (void)state;
  const double best[3] = {0.9, 0.8, 0.5}, last[3] = {0.5, 0.9, 0.4};
  assert_true(fabs(gd_forgetting(3, best, last) - 0.4 / 3) < 1e-15);  // a task that improved counts too
  assert_true(gd_forgetting(0, best, last) == 0);
  const double unknown[3] = {NAN, 0.9, 0.4};  // a task without test images
  assert_true(fabs(gd_forgetting(3, best, unknown) - 0.0) < 1e-15);
  assert_true(isnan(gd_forgetting(1, best, unknown)));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(divergence_is_the_golden_one),
      cmocka_unit_test(balance_by_hand),
      cmocka_unit_test(forgetting_by_hand),
  };
  return GD_TEST_MAIN(tests);
}
