/* Row sums are kept apart and added up in the order of the rows, so that the bits do not depend on the ranks. */
#include "eval/kid.h"

#include <math.h>

#include "gendistill/data.h"

/* ---- Sums over pairs ---- */

// A random choice, always the same, of GD_KID_SUBSETS disjoint subsets of 0 .. n-1; new array.
static int *choose_subsets(int64_t n, int64_t subset_size) {
  int *subset = GD_NEW_ARRAY(int, n + 1);
  uint32_t *order = GD_NEW_ARRAY(uint32_t, n + 1);
  gd_epoch_order(0, 0, 0, n, order);
  for (int64_t k = 0; k < n; k++) subset[order[k]] = k < GD_KID_SUBSETS * subset_size ? (int)(k / subset_size) : -1;
  gd_free(order);
  return subset;
}

gd_kernel_sums gd_kernel_sums_create(const gd_points *a, const gd_points *b, int64_t subset_size) {
  return (gd_kernel_sums){.a = a,
                          .b = b,
                          .subset_a = choose_subsets(a->n, subset_size),
                          .subset_b = choose_subsets(b->n, subset_size),
                          .whole = GD_NEW_ARRAY(double, a->n + 1),
                          .within = GD_NEW_ARRAY(double, a->n + 1)};
}

void gd_kernel_sums_clear(gd_kernel_sums *sums) {
  gd_free(sums->subset_a);
  gd_free(sums->subset_b);
  gd_free(sums->whole);
  gd_free(sums->within);
  *sums = (gd_kernel_sums){0};
}

static void add_row(const gd_kernel_sums *sums, const gd_pair_tile *tile, int i) {
  const double *products = tile->products + (int64_t)i * tile->n_columns;
  int64_t row = tile->row + i;
  double whole = 0, within = 0;
  for (int j = 0; j < tile->n_columns; j++) {
    double base = products[j] / tile->a->width + 1, value = base * base * base;
    if (sums->a == sums->b && row == tile->column + j) value = 0;
    whole += value;
    if (sums->subset_a[row] == sums->subset_b[tile->column + j]) within += value;
  }
  sums->whole[row] += whole;
  sums->within[row] += within;
}

static void add_tile(void *context, const gd_pair_tile *tile) {
#pragma omp parallel for
  for (int i = 0; i < tile->n_rows; i++) add_row(context, tile, i);
}

gd_pair_visitor gd_kernel_sums_visitor(gd_kernel_sums *sums) {
  return (gd_pair_visitor){add_tile, sums};
}

/* ---- The distance ---- */

int64_t gd_kid_subset_size(int64_t n_1, int64_t n_2) {
  int64_t size = (n_1 < n_2 ? n_1 : n_2) / GD_KID_SUBSETS;
  return size < 2 ? 0 : size < GD_KID_SUBSET_MAXIMUM ? size : GD_KID_SUBSET_MAXIMUM;
}

// Sums over all rows, and over those of each subset.
typedef struct kernel_totals {
  double whole, subsets[GD_KID_SUBSETS];
} kernel_totals;

static kernel_totals total_sums(gd_kernel_sums *sums) {
  kernel_totals out = {0};
  gd_points_share(sums->a, sums->whole);
  gd_points_share(sums->a, sums->within);
  for (int64_t i = 0; i < sums->a->n; i++) {
    out.whole += sums->whole[i];
    if (sums->subset_a[i] >= 0) out.subsets[sums->subset_a[i]] += sums->within[i];
  }
  return out;
}

static double unbiased_distance(double first, double second, double between, double n_1, double n_2) {
  return first / (n_1 * (n_1 - 1)) + second / (n_2 * (n_2 - 1)) - 2 * between / (n_1 * n_2);
}

gd_kid gd_kid_finish(gd_kernel_sums *first, gd_kernel_sums *second, gd_kernel_sums *between) {
  kernel_totals t_1 = total_sums(first), t_2 = total_sums(second), t_12 = total_sums(between);
  double n_1 = (double)first->a->n, n_2 = (double)second->a->n, squares = 0, values[GD_KID_SUBSETS];
  gd_kid out = {.mean = NAN, .deviation = NAN, .subset_size = gd_kid_subset_size(first->a->n, second->a->n)};
  double n = (double)out.subset_size;
  out.value = unbiased_distance(t_1.whole, t_2.whole, t_12.whole, n_1, n_2);
  if (out.subset_size == 0) return out;
  out.mean = 0;
  for (int s = 0; s < GD_KID_SUBSETS; s++) {
    values[s] = unbiased_distance(t_1.subsets[s], t_2.subsets[s], t_12.subsets[s], n, n);
    out.mean += values[s] / GD_KID_SUBSETS;
  }
  for (int s = 0; s < GD_KID_SUBSETS; s++) squares += (values[s] - out.mean) * (values[s] - out.mean);
  out.deviation = sqrt(squares / (GD_KID_SUBSETS - 1));
  return out;
}

gd_kid gd_kid_measure(const gd_points *a, const gd_points *b) {
  int64_t size = gd_kid_subset_size(a->n, b->n);
  gd_kernel_sums first = gd_kernel_sums_create(a, a, size), second = gd_kernel_sums_create(b, b, size);
  gd_kernel_sums between = gd_kernel_sums_create(a, b, size);
  gd_kernel_sums *all[] = {&first, &second, &between};
  for (int i = 0; i < 3; i++) {
    gd_pair_visitor visitor = gd_kernel_sums_visitor(all[i]);
    gd_pairs_visit(all[i]->a, all[i]->b, 1, &visitor);
  }
  gd_kid out = gd_kid_finish(&first, &second, &between);
  for (int i = 0; i < 3; i++) gd_kernel_sums_clear(all[i]);
  return out;
}
