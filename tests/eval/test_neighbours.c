/* Precision, recall, density, coverage and KID: the golden file, plain loops over sets of several blocks, the same bits
 * on any number of ranks, selected rows, sets that are too small, and a set with itself. */
#include <hdf5.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/kid.h"
#include "eval/neighbours.h"
#include "support.h"

/* ---- Golden file ---- */

static void read_golden(const char *group, const char *name, hid_t type, void *out) {
  char *path = gd_format("%s/golden/metrics2.h5", GD_TEST_DATA), *object = gd_format("/%s/%s", group, name);
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), dataset = H5Dopen2(file, object, H5P_DEFAULT);
  assert_true(dataset >= 0 && H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0);
  H5Dclose(dataset);
  H5Fclose(file);
  gd_free(path);
  gd_free(object);
}

static void assert_golden(const char *group, const char *name, double value) {
  double expected = NAN;
  read_golden(group, name, H5T_NATIVE_DOUBLE, &expected);
  if (!(fabs(value - expected) <= 1e-9 * fmax(1, fabs(expected))))
    fail_msg("%s/%s: %.12g instead of %.12g", group, name, value, expected);
}

static gd_features golden_rows(const char *group, const char *name) {
  gd_features f;
  char *path = gd_format("%s/golden/metrics2.h5:/%s/%s", GD_TEST_DATA, group, name);
  assert_ok(gd_features_read(test_comm, path, &f));
  gd_free(path);
  return f;
}

static void check_golden(const char *group, int n_classes) {
  gd_features a = golden_rows(group, "a"), b = golden_rows(group, "b");
  gd_points real = gd_points_create(test_comm, &a, NULL), generated = gd_points_create(test_comm, &b, NULL);
  uint8_t labels[1000];
  double by_class[GD_MAX_CLASSES];
  read_golden(group, "labels", H5T_NATIVE_UINT8, labels);
  read_golden(group, "coverage_by_class", H5T_NATIVE_DOUBLE, by_class);
  gd_neighbours n = gd_neighbours_measure(&real, &generated, labels);
  for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++) {
    const struct {
      const char *name;
      double value;
    } numbers[] = {{"precision", n.prdc[k].precision},
                   {"recall", n.prdc[k].recall},
                   {"density", n.prdc[k].density},
                   {"coverage", n.prdc[k].coverage}};
    for (int i = 0; i < 4; i++) {
      char *name = gd_format("%s_%d", numbers[i].name, gd_neighbourhoods[k]);
      assert_golden(group, name, numbers[i].value);
      gd_free(name);
    }
  }
  assert_golden(group, "kid", n.kid.value);
  for (int c = 0; c < n_classes; c++) assert_true(fabs(n.coverage_by_class[c] - by_class[c]) <= 1e-9);
  for (int c = n_classes; c < GD_MAX_CLASSES; c++) assert_true(isnan(n.coverage_by_class[c]));
  gd_points_clear(&real);
  gd_points_clear(&generated);
  gd_features_clear(&a);
  gd_features_clear(&b);
}

static void golden_values_hold(void **state) {
  (void)state;
  check_golden("near", 5);
  check_golden("far", 5);
  check_golden("same", 5);
}

/* ---- Several blocks and panels, against plain loops ---- */

enum { WIDTH = 12, N_REAL = 1300, N_GENERATED = 1111 };

static double element(int set, int64_t i, int k) {
  float draw;
  gd_random key = {.seed = (uint64_t)set + 1, .purpose = GD_RANDOM_NOISE, .task = (uint32_t)k};
  gd_random_normal(key, (uint64_t)i, 1, &draw);
  return (double)draw * (set ? 1.1 : 1) + (set ? 0.1 : 0);
}

static gd_features make_rows(const gd_comm *comm, int set, int64_t n) {
  gd_features f = {.n_global = n, .width = WIDTH, .local = gd_range_images(comm, n)};
  f.values = GD_NEW_ARRAY(double, (f.local.end - f.local.begin) * WIDTH + 1);
  for (int64_t i = f.local.begin; i < f.local.end; i++)
    for (int k = 0; k < WIDTH; k++) f.values[(i - f.local.begin) * WIDTH + k] = element(set, i, k);
  return f;
}

static uint8_t label_of(int64_t i) {
  return (uint8_t)(i % 3 * 2);
}

static gd_neighbours measure(const gd_comm *comm, int64_t n_real, int64_t n_generated, int set) {
  gd_features a = make_rows(comm, 0, n_real), b = make_rows(comm, set, n_generated);
  gd_points real = gd_points_create(comm, &a, NULL), generated = gd_points_create(comm, &b, NULL);
  uint8_t labels[N_REAL];
  for (int64_t i = 0; i < n_real; i++) labels[i] = label_of(i);
  gd_neighbours out = gd_neighbours_measure(&real, &generated, labels);
  gd_points_clear(&real);
  gd_points_clear(&generated);
  gd_features_clear(&a);
  gd_features_clear(&b);
  return out;
}

static double *plain_distances(const gd_features *a, const gd_features *b) {
  double *out = GD_NEW_ARRAY(double, a->n_global * b->n_global);
  for (int64_t i = 0; i < a->n_global; i++)
    for (int64_t j = 0; j < b->n_global; j++)
      for (int k = 0; k < WIDTH; k++) {
        double difference = a->values[i * WIDTH + k] - b->values[j * WIDTH + k];
        out[i * b->n_global + j] += difference * difference;
      }
  return out;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// The distance to the k-th nearest other row: a row's own is the smallest.
static double *plain_radii(const gd_features *a, int k) {
  double *distances = plain_distances(a, a), *out = GD_NEW_ARRAY(double, a->n_global);
  for (int64_t i = 0; i < a->n_global; i++) {
    double *row = distances + i * a->n_global;
    qsort(row, (size_t)a->n_global, sizeof *row, compare_doubles);
    out[i] = row[k];
  }
  gd_free(distances);
  return out;
}

static double plain_kernel_sum(const gd_features *a, const gd_features *b) {
  double sum = 0;
  for (int64_t i = 0; i < a->n_global; i++)
    for (int64_t j = 0; j < b->n_global; j++) {
      double product = 0;
      for (int k = 0; k < WIDTH; k++) product += a->values[i * WIDTH + k] * b->values[j * WIDTH + k];
      if (a != b || i != j) sum += pow(product / WIDTH + 1, 3);
    }
  return sum;
}

static void plain_loops_agree(void **state) {
  (void)state;
  gd_comm *alone = gd_comm_part(test_comm, test_comm->rank < 1);
  gd_neighbours n = measure(test_comm, N_REAL, N_GENERATED, 1);
  if (alone) {
    gd_features a = make_rows(alone, 0, N_REAL), b = make_rows(alone, 1, N_GENERATED);
    double *between = plain_distances(&a, &b), *r_a = plain_radii(&a, 5), *r_b = plain_radii(&b, 5);
    double precise = 0, recalled = 0, around = 0, covered = 0, covered_2 = 0, all_2 = 0;
    for (int64_t j = 0; j < N_GENERATED; j++) {
      int inside = 0;
      for (int64_t i = 0; i < N_REAL; i++) inside += between[i * N_GENERATED + j] < r_a[i];
      precise += inside > 0;
      around += inside;
    }
    for (int64_t i = 0; i < N_REAL; i++) {
      bool recall = false, cover = false;
      for (int64_t j = 0; j < N_GENERATED; j++) {
        recall = recall || between[i * N_GENERATED + j] < r_b[j];
        cover = cover || between[i * N_GENERATED + j] < r_a[i];
      }
      recalled += recall;
      covered += cover;
      covered_2 += cover && label_of(i) == 2;
      all_2 += label_of(i) == 2;
    }
    const gd_prdc *k5 = &n.prdc[1];
    assert_true(precise > 0 && precise < N_GENERATED && covered > 0 && covered < N_REAL && recalled < N_REAL);
    assert_true(fabs(k5->precision - precise / N_GENERATED) < 1e-12);
    assert_true(fabs(k5->recall - recalled / N_REAL) < 1e-12);
    assert_true(fabs(k5->density - around / 5 / N_GENERATED) < 1e-12);
    assert_true(fabs(k5->coverage - covered / N_REAL) < 1e-12);
    assert_true(fabs(n.coverage_by_class[2] - covered_2 / all_2) < 1e-12);
    double kid = plain_kernel_sum(&a, &a) / ((double)N_REAL * (N_REAL - 1)) +
                 plain_kernel_sum(&b, &b) / ((double)N_GENERATED * (N_GENERATED - 1)) -
                 2 * plain_kernel_sum(&a, &b) / ((double)N_REAL * N_GENERATED);
    assert_true(fabs(n.kid.value - kid) < 1e-9 * fmax(1, fabs(kid)));
    // subsets of 111 rows: their mean is another estimate of the same number
    assert_int_equal(n.kid.subset_size, 111);
    assert_true(n.kid.deviation > 0 && fabs(n.kid.mean - kid) < 3 * n.kid.deviation && n.kid.mean != n.kid.value);
    gd_free(between);
    gd_free(r_a);
    gd_free(r_b);
    gd_features_clear(&a);
    gd_features_clear(&b);
  }
  gd_comm_destroy(&alone);
}

static void bits_do_not_depend_on_the_rank_count(void **state) {
  (void)state;
  gd_neighbours reference;
  memset(&reference, 0, sizeof reference);
  for (int n_ranks = 1; n_ranks <= test_comm->size; n_ranks++) {
    gd_comm *part = gd_comm_part(test_comm, test_comm->rank < n_ranks);
    gd_neighbours result;
    memset(&result, 0, sizeof result);
    if (part) result = measure(part, N_REAL, N_GENERATED, 1);
    gd_comm_destroy(&part);
    MPI_Bcast(&result, sizeof result, MPI_BYTE, 0, test_comm->mpi);
    if (n_ranks == 1) reference = result;
    assert_memory_equal(&result.prdc, &reference.prdc, sizeof result.prdc);
    assert_memory_equal(&result.kid, &reference.kid, sizeof result.kid);
  }
}

/* ---- Corner cases ---- */

static void selected_rows_are_as_if_alone(void **state) {
  (void)state;
  enum { KEPT = 300 };
  gd_features all = make_rows(test_comm, 0, N_REAL), other = make_rows(test_comm, 1, 400);
  bool *selected = GD_NEW_ARRAY(bool, all.local.end - all.local.begin + 1);
  for (int64_t i = all.local.begin; i < all.local.end; i++) selected[i - all.local.begin] = i < KEPT;
  gd_points real = gd_points_create(test_comm, &all, selected), generated = gd_points_create(test_comm, &other, NULL);
  uint8_t labels[KEPT];
  for (int64_t i = 0; i < KEPT; i++) labels[i] = label_of(i);
  assert_int_equal(real.n, KEPT);
  gd_neighbours there = gd_neighbours_measure(&real, &generated, labels), here = measure(test_comm, KEPT, 400, 1);
  assert_memory_equal(&there.prdc, &here.prdc, sizeof here.prdc);
  assert_true(there.kid.value == here.kid.value);
  gd_kid alone = gd_kid_measure(&real, &generated);
  assert_true(alone.value == here.kid.value && alone.mean == here.kid.mean && alone.deviation == here.kid.deviation);
  gd_points_clear(&real);
  gd_points_clear(&generated);
  gd_features_clear(&all);
  gd_features_clear(&other);
  gd_free(selected);
}

// k = 3 needs four rows on either side, k = 5 six, and the KID's subsets twenty.
static void sets_that_are_too_small_give_no_number(void **state) {
  (void)state;
  gd_neighbours n = measure(test_comm, 5, 4, 1);
  assert_true(isfinite(n.prdc[0].coverage) && isnan(n.prdc[1].coverage) && isnan(n.coverage_by_class[0]));
  assert_true(isfinite(n.kid.value) && isnan(n.kid.mean) && isnan(n.kid.deviation) && n.kid.subset_size == 0);
  n = measure(test_comm, 20, 20, 1);
  assert_true(isfinite(n.prdc[1].density) && isfinite(n.kid.deviation) && n.kid.subset_size == 2);
}

static void a_set_covers_itself(void **state) {
  (void)state;
  gd_neighbours n = measure(test_comm, 500, 500, 0);
  for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++)
    assert_true(n.prdc[k].precision == 1 && n.prdc[k].recall == 1 && n.prdc[k].density == 1 && n.prdc[k].coverage == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_values_hold),
      cmocka_unit_test(plain_loops_agree),
      cmocka_unit_test(bits_do_not_depend_on_the_rank_count),
      cmocka_unit_test(selected_rows_are_as_if_alone),
      cmocka_unit_test(sets_that_are_too_small_give_no_number),
      cmocka_unit_test(a_set_covers_itself),
  };
  return GD_TEST_MAIN(tests);
}
