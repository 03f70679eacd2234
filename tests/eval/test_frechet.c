/* Fréchet distance: the golden file, a case with a closed form, grids of every shape, the same bits for any number of
 * ranks on a grid of one rank, selected rows, and statistics written to files and read back. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/moments.h"
#include "gendistill/eval.h"
#include "support.h"

static char *golden_rows(const char *group, const char *name) {
  return gd_format("%s/golden/metrics.h5:/%s/%s", GD_TEST_DATA, group, name);
}

static gd_frechet distance(const gd_grid *grid, const gd_features *a, const gd_features *b) {
  gd_moments *m_a, *m_b;
  gd_frechet out;
  gd_moments_create(&m_a, grid, a, NULL);
  gd_moments_create(&m_b, grid, b, NULL);
  assert_ok(gd_frechet_distance(&out, m_a, m_b));
  assert_true(out.n_1 == a->n_global && out.n_2 == b->n_global);
  gd_moments_destroy(&m_a);
  gd_moments_destroy(&m_b);
  return out;
}

static void check_golden(const char *group, double expected, double tolerance) {
  gd_features a, b;
  char *path_a = golden_rows(group, "a"), *path_b = golden_rows(group, "b");
  assert_ok(gd_features_read(test_comm, path_a, &a));
  assert_ok(gd_features_read(test_comm, path_b, &b));
  for (int n_ranks = 0; n_ranks <= test_comm->size; n_ranks++) {
    gd_grid *grid;
    gd_grid_create(&grid, test_comm, n_ranks);
    double there = distance(grid, &a, &b).distance, back = distance(grid, &b, &a).distance;
    if (!(fabs(there - expected) <= tolerance && fabs(back - expected) <= tolerance))
      fail_msg("%s, grid of %d ranks: %.12g and %.12g instead of %.12g", group, n_ranks, there, back, expected);
    gd_grid_destroy(&grid);
  }
  gd_features_clear(&a);
  gd_features_clear(&b);
  gd_free(path_a);
  gd_free(path_b);
}

// The expected values in double precision: golden() reads floats.
static void golden_distances_hold(void **state) {
  (void)state;
  const double full = 32.25676511942649, deficient = 53.711211955365336;
  check_golden("full_rank", full, 1e-8 * full);
  check_golden("rank_deficient", deficient, 1e-8 * deficient);
  check_golden("identical", 6.785683126508957e-13, 1e-8);
}

/* ---- Generated rows: `width` columns, each a mixture of a few normal numbers ---- */

static gd_features make_rows(const gd_comm *comm, int64_t n, int width, double factor, double shift) {
  gd_features f = {.n_global = n, .width = width, .local = gd_range_images(comm, n)};
  int64_t n_local = f.local.end - f.local.begin;
  f.values = GD_NEW_ARRAY(double, n_local *width);
  float *draws = GD_NEW_ARRAY(float, width + 3);
  gd_random key = {.seed = 11, .purpose = GD_RANDOM_NOISE};
  for (int64_t i = 0; i < n_local; i++) {
    gd_random_normal(key, (uint64_t)(f.local.begin + i), (size_t)width + 3, draws);
    for (int k = 0; k < width; k++)
      f.values[i * width + k] =
          shift * k + factor * ((double)draws[k] + 2 * (double)draws[k + 3] + (double)draws[width + k % 3]);
  }
  gd_free(draws);
  return f;
}

// S_b = c^2 S_a and m_b = m_a + s: the distance is |m_a - m_b|^2 + (1 - c)^2 tr S_a.
static void scaled_rows_match_the_closed_form(void **state) {
  (void)state;
  enum { N = 700, WIDTH = 200 };
  gd_features a = make_rows(test_comm, N, WIDTH, 1, 0), b = make_rows(test_comm, N, WIDTH, 3, 0.5);
  gd_features zero = make_rows(test_comm, N, WIDTH, 0, 0);
  gd_grid *one, *all;
  gd_grid_create(&one, test_comm, 1);
  gd_grid_create(&all, test_comm, 0);
  // the distance from a point at the origin is |m|^2 + tr S
  gd_frechet from_origin = distance(one, &a, &zero);
  double trace = from_origin.distance - from_origin.mean_term;
  gd_frechet on_one = distance(one, &a, &b), on_all = distance(all, &a, &b);
  double expected = on_one.mean_term + 4 * trace;
  assert_true(trace > 100 && on_one.mean_term > 100);
  assert_true(fabs(on_one.distance - expected) <= 1e-10 * expected);
  assert_true(fabs(on_all.distance - expected) <= 1e-10 * expected);
  assert_true(on_one.clipped >= 0 && on_one.clipped < 1e-8 * trace);
  gd_grid_destroy(&one);
  gd_grid_destroy(&all);
  gd_features_clear(&a);
  gd_features_clear(&b);
  gd_features_clear(&zero);
}

// Rows on 1, 2, ... ranks, the grid always of one rank: the same bits.
static void bits_do_not_depend_on_the_rank_count(void **state) {
  (void)state;
  double reference = 0;
  for (int n_ranks = 1; n_ranks <= test_comm->size; n_ranks++) {
    gd_comm *part = gd_comm_part(test_comm, test_comm->rank < n_ranks);
    double result = 0;
    if (part) {
      gd_features a = make_rows(part, 5000, 70, 1, 0), b = make_rows(part, 333, 70, 1.1, 0.01);
      gd_grid *grid;
      gd_grid_create(&grid, part, gd_grid_ranks_for(70));
      result = distance(grid, &a, &b).distance;
      gd_grid_destroy(&grid);
      gd_features_clear(&a);
      gd_features_clear(&b);
    }
    gd_comm_destroy(&part);
    MPI_Bcast(&result, 1, MPI_DOUBLE, 0, test_comm->mpi);
    if (n_ranks == 1) reference = result;
    assert_true(result > 0 && result == reference);
  }
}

static void selected_rows_are_as_if_alone(void **state) {
  (void)state;
  enum { N = 300, KEPT = 100, WIDTH = 30 };
  gd_features all = make_rows(test_comm, N, WIDTH, 1, 0), kept = make_rows(test_comm, KEPT, WIDTH, 1, 0);
  gd_features other = make_rows(test_comm, 200, WIDTH, 2, 0.1);
  bool *selected = GD_NEW_ARRAY(bool, all.local.end - all.local.begin + 1);
  for (int64_t i = all.local.begin; i < all.local.end; i++) selected[i - all.local.begin] = i < KEPT;
  gd_grid *grid;
  gd_moments *m, *m_other;
  gd_frechet frechet;
  gd_grid_create(&grid, test_comm, 0);
  gd_moments_create(&m, grid, &all, selected);
  gd_moments_create(&m_other, grid, &other, NULL);
  assert_int_equal(gd_moments_n(m), KEPT);
  assert_int_equal(gd_moments_width(m), WIDTH);
  assert_ok(gd_frechet_distance(&frechet, m, m_other));
  double expected = distance(grid, &kept, &other).distance;
  assert_true(fabs(frechet.distance - expected) <= 1e-12 * expected);
  gd_moments_destroy(&m);
  gd_moments_destroy(&m_other);
  gd_grid_destroy(&grid);
  gd_features_clear(&all);
  gd_features_clear(&kept);
  gd_features_clear(&other);
  gd_free(selected);
}

// A feature that is not finite, on one rank, is an error, and so is a finite one whose square overflows.
static void non_finite_features_are_an_error(void **state) {
  (void)state;
  enum { N = 100, WIDTH = 20 };
  static const double bad[] = {NAN, INFINITY, 1e200};
  for (int i = 0; i < 3; i++) {
    gd_features a = make_rows(test_comm, N, WIDTH, 1, 0), b = make_rows(test_comm, N, WIDTH, 2, 0);
    if (test_comm->rank == 0) a.values[WIDTH + 3] = bad[i];
    gd_grid *grid;
    gd_moments *m_a, *m_b;
    gd_frechet out;
    gd_grid_create(&grid, test_comm, 0);
    gd_moments_create(&m_a, grid, &a, NULL);
    gd_moments_create(&m_b, grid, &b, NULL);
    assert_int_equal(gd_frechet_distance(&out, m_a, m_b), GD_ERR_FAILED);
    assert_non_null(strstr(gd_error_message(), "Fréchet distance: not finite"));
    assert_int_equal(gd_frechet_distance(&out, m_b, m_a), GD_ERR_FAILED);
    gd_moments_destroy(&m_a);
    gd_moments_destroy(&m_b);
    gd_grid_destroy(&grid);
    gd_features_clear(&a);
    gd_features_clear(&b);
  }
}

static void non_finite_cached_moments_are_refused(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/moments.h5", folder);
  double mean[2] = {1, NAN}, covariance[4] = {1, 0, 0, 1};
  gd_statistics s = {.n = 5, .width = 2, .mean = mean, .covariance = covariance}, read;
  assert_ok(gd_statistics_write(test_comm, path, &s));
  assert_int_equal(gd_statistics_read(test_comm, path, 2, &read), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "/moments.h5: dataset '/mean' holds a value that is not finite"));
  gd_free(path);
  test_folder_remove(folder);
}

static void statistics_come_back_from_files(void **state) {
  (void)state;
  enum { WIDTH = 130 };
  char *folder = test_folder_create(), *path = gd_format("%s/moments.h5", folder);
  gd_features a = make_rows(test_comm, 500, WIDTH, 1, 0), b = make_rows(test_comm, 400, WIDTH, 2, 0.1);
  gd_grid *grid;
  gd_moments *m_a, *m_b, *read;
  gd_frechet before, after;
  gd_grid_create(&grid, test_comm, 0);
  gd_moments_create(&m_a, grid, &a, NULL);
  gd_moments_create(&m_b, grid, &b, NULL);
  assert_ok(gd_frechet_distance(&before, m_a, m_b));
  assert_ok(gd_moments_write(m_a, path));
  assert_ok(gd_moments_read(&read, grid, path, WIDTH));
  assert_ok(gd_frechet_distance(&after, read, m_b));
  assert_true(after.distance == before.distance && after.n_1 == 500);
  gd_moments *none;
  assert_int_equal(gd_moments_read(&none, grid, path, WIDTH + 1), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "moments.h5"));
  assert_non_null(strstr(gd_error_message(), "'/mean' has another shape or type than float64 (131)"));

  if (test_comm->rank == 0) {  // flip a bit of the covariance, which is most of the file
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, WIDTH * WIDTH * 4, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, WIDTH * WIDTH * 4, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
  }
  MPI_Barrier(test_comm->mpi);
  assert_int_equal(gd_moments_read(&none, grid, path, WIDTH), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "'/covariance' is damaged"));
  gd_moments_destroy(&m_a);
  gd_moments_destroy(&m_b);
  gd_moments_destroy(&read);
  gd_grid_destroy(&grid);
  gd_features_clear(&a);
  gd_features_clear(&b);
  gd_free(path);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_distances_hold),
      cmocka_unit_test(scaled_rows_match_the_closed_form),
      cmocka_unit_test(bits_do_not_depend_on_the_rank_count),
      cmocka_unit_test(selected_rows_are_as_if_alone),
      cmocka_unit_test(non_finite_features_are_an_error),
      cmocka_unit_test(non_finite_cached_moments_are_refused),
      cmocka_unit_test(statistics_come_back_from_files),
  };
  return GD_TEST_MAIN(tests);
}
