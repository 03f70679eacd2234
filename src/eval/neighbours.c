/* Three passes over pairs: real with real and generated with generated give the radius of each row, the distance to its
 * k-th nearest neighbour; real with generated gives who lies within whose radius. Distances are squared throughout. */
#include "eval/neighbours.h"

#include <math.h>

#include "eval/kid.h"

enum { K_MAXIMUM = 5 };

const int gd_neighbourhoods[GD_N_NEIGHBOURHOODS] = {3, K_MAXIMUM};

/* ---- Radii ---- */

typedef struct radii {
  double *nearest;                       // (n, K_MAXIMUM) ascending
  double *of_rows[GD_N_NEIGHBOURHOODS];  // (n)
} radii;

static void insert_distance(double *nearest, double distance) {
  if (!(distance < nearest[K_MAXIMUM - 1])) return;
  int at = K_MAXIMUM - 1;
  for (; at > 0 && nearest[at - 1] > distance; at--) nearest[at] = nearest[at - 1];
  nearest[at] = distance;
}

static void find_nearest(void *context, const gd_pair_tile *tile) {
  radii *r = context;
#pragma omp parallel for
  for (int i = 0; i < tile->n_rows; i++)
    for (int j = 0; j < tile->n_columns; j++)
      if (tile->row + i != tile->column + j)
        insert_distance(r->nearest + (tile->row + i) * K_MAXIMUM, gd_pair_distance(tile, i, j));
}

// Radii of the rows of a set, and the sums of the kernel over its pairs.
static radii radii_create(const gd_points *p, gd_kernel_sums *sums) {
  radii r = {.nearest = GD_NEW_ARRAY(double, p->n *K_MAXIMUM)};
  for (int64_t i = 0; i < p->n * K_MAXIMUM; i++) r.nearest[i] = INFINITY;
  const gd_pair_visitor visitors[] = {{find_nearest, &r}, gd_kernel_sums_visitor(sums)};
  gd_pairs_visit(p, p, 2, visitors);
  for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++) {
    r.of_rows[k] = GD_NEW_ARRAY(double, p->n);
    for (int64_t i = 0; i < p->n; i++) r.of_rows[k][i] = r.nearest[i * K_MAXIMUM + gd_neighbourhoods[k] - 1];
    gd_points_share(p, r.of_rows[k]);
  }
  return r;
}

static void radii_clear(radii *r) {
  gd_free(r->nearest);
  for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++) gd_free(r->of_rows[k]);
}

/* ---- Who lies within whose radius ---- */

typedef struct membership {
  const radii *real, *generated;
  double *nearest;                         // (n of real) distance to the nearest generated row
  double *recalled[GD_N_NEIGHBOURHOODS];   // (n of real) 1: within the radius of a generated row
  int32_t *n_around[GD_N_NEIGHBOURHOODS];  // (n of generated) real rows in whose radius it lies
} membership;

static membership membership_create(const gd_points *real, const gd_points *generated, const radii *r_real,
                                    const radii *r_generated) {
  membership m = {.real = r_real, .generated = r_generated, .nearest = GD_NEW_ARRAY(double, real->n)};
  for (int64_t i = 0; i < real->n; i++) m.nearest[i] = INFINITY;
  for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++) {
    m.recalled[k] = GD_NEW_ARRAY(double, real->n);
    m.n_around[k] = GD_NEW_ARRAY(int32_t, generated->n);
  }
  return m;
}

static void membership_clear(membership *m) {
  gd_free(m->nearest);
  for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++) {
    gd_free(m->recalled[k]);
    gd_free(m->n_around[k]);
  }
}

static void look_from_row(membership *m, const gd_pair_tile *tile, int i) {
  int64_t row = tile->row + i;
  for (int j = 0; j < tile->n_columns; j++) {
    double distance = gd_pair_distance(tile, i, j);
    if (distance < m->nearest[row]) m->nearest[row] = distance;
    for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++)
      if (distance < m->generated->of_rows[k][tile->column + j]) m->recalled[k][row] = 1;
  }
}

static void look_from_column(membership *m, const gd_pair_tile *tile, int j) {
  for (int i = 0; i < tile->n_rows; i++) {
    double distance = gd_pair_distance(tile, i, j);
    for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++)
      m->n_around[k][tile->column + j] += distance < m->real->of_rows[k][tile->row + i];
  }
}

static void find_members(void *context, const gd_pair_tile *tile) {
#pragma omp parallel
  {
#pragma omp for
    for (int i = 0; i < tile->n_rows; i++) look_from_row(context, tile, i);
#pragma omp for
    for (int j = 0; j < tile->n_columns; j++) look_from_column(context, tile, j);
  }
}

static void share_membership(membership *m, const gd_points *real, const gd_points *generated) {
  gd_points_share(real, m->nearest);
  for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++) {
    gd_points_share(real, m->recalled[k]);
    gd_comm_allreduce(generated->comm, m->n_around[k], generated->n, MPI_INT32_T, MPI_SUM);
  }
}

/* ---- The numbers ---- */

static gd_prdc prdc_of(const membership *m, int k, int64_t n_real, int64_t n_generated) {
  int64_t precise = 0, recalled = 0, around = 0, covered = 0;
  if (n_real <= gd_neighbourhoods[k] || n_generated <= gd_neighbourhoods[k]) return (gd_prdc){NAN, NAN, NAN, NAN};
  for (int64_t j = 0; j < n_generated; j++) {
    precise += m->n_around[k][j] > 0;
    around += m->n_around[k][j];
  }
  for (int64_t i = 0; i < n_real; i++) {
    recalled += m->recalled[k][i] > 0;
    covered += m->nearest[i] < m->real->of_rows[k][i];
  }
  return (gd_prdc){.precision = (double)precise / (double)n_generated,
                   .recall = (double)recalled / (double)n_real,
                   .density = (double)around / (gd_neighbourhoods[k] * (double)n_generated),
                   .coverage = (double)covered / (double)n_real};
}

static void cover_classes(const membership *m, int64_t n_real, const uint8_t *labels, double *out) {
  int64_t covered[GD_MAX_CLASSES] = {0}, all[GD_MAX_CLASSES] = {0};
  for (int64_t i = 0; i < n_real; i++) {
    covered[labels[i]] += m->nearest[i] < m->real->of_rows[GD_N_NEIGHBOURHOODS - 1][i];
    all[labels[i]]++;
  }
  for (int c = 0; c < GD_MAX_CLASSES; c++)
    out[c] = all[c] > 0 && n_real > K_MAXIMUM ? (double)covered[c] / (double)all[c] : NAN;
}

gd_neighbours gd_neighbours_measure(const gd_points *real, const gd_points *generated, const uint8_t *labels) {
  gd_neighbours out = {0};
  int64_t size = gd_kid_subset_size(real->n, generated->n);
  gd_kernel_sums sums_real = gd_kernel_sums_create(real, real, size);
  gd_kernel_sums sums_generated = gd_kernel_sums_create(generated, generated, size);
  gd_kernel_sums between = gd_kernel_sums_create(real, generated, size);
  radii r_real = radii_create(real, &sums_real), r_generated = radii_create(generated, &sums_generated);
  membership m = membership_create(real, generated, &r_real, &r_generated);
  const gd_pair_visitor visitors[] = {{find_members, &m}, gd_kernel_sums_visitor(&between)};
  gd_pairs_visit(real, generated, 2, visitors);
  share_membership(&m, real, generated);
  for (int k = 0; k < GD_N_NEIGHBOURHOODS; k++) out.prdc[k] = prdc_of(&m, k, real->n, generated->n);
  if (labels) cover_classes(&m, real->n, labels, out.coverage_by_class);
  out.kid = gd_kid_finish(&sums_real, &sums_generated, &between);
  membership_clear(&m);
  radii_clear(&r_real);
  radii_clear(&r_generated);
  gd_kernel_sums_clear(&sums_real);
  gd_kernel_sums_clear(&sums_generated);
  gd_kernel_sums_clear(&between);
  return out;
}

gd_neighbours gd_neighbours_compare(const gd_comm *comm, const gd_features *real, const gd_features *generated) {
  gd_points a = gd_points_create(comm, real, NULL), b = gd_points_create(comm, generated, NULL);
  gd_neighbours out = gd_neighbours_measure(&a, &b, NULL);
  gd_points_clear(&a);
  gd_points_clear(&b);
  return out;
}
