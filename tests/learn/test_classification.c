/* The training step of classifiers: its loss against PyTorch, its gradient against finite differences, learning, and
 * the same parameters on any number of ranks, also with more ranks than slots. */
#include <math.h>
#include <string.h>

#include "gendistill/model.h"
#include "learn/classification.h"
#include "support.h"

enum { CLASSES = 10, SIZE = 32, N_GOLDEN = 4, PIXELS = SIZE * SIZE };

// ---- Loss of one row

static void gradient_agrees_with_differences(void **state) {
  (void)state;
  float target[3] = {0.2f, 0.5f, 0.3f}, logits[3] = {0.4f, -1.5f, 2.0f}, gradient[3], unused[3];
  gd_classification_row row = {.target = target, .weight = 0.7, .temperature = 2.5};
  gd_classification_row_loss(&row, 3, logits, gradient);
  for (int c = 0; c < 3; c++) {
    const float h = 1.0f / 128;
    float more[3], less[3];
    memcpy(more, logits, sizeof more);
    memcpy(less, logits, sizeof less);
    more[c] += h;
    less[c] -= h;
    double slope =
        (gd_classification_row_loss(&row, 3, more, unused) - gd_classification_row_loss(&row, 3, less, unused)) /
        (2 * h);
    assert_true(fabs(slope - gradient[c]) < 1e-5);
  }
}

// As if the logits of the other classes were minus infinity.
static void inactive_classes_have_no_part(void **state) {
  (void)state;
  static const uint8_t active[4] = {1, 0, 1, 0};
  float target[4] = {0.3f, 0, 0.7f, 0}, logits[4] = {0.4f, 900, -1.5f, 2.0f}, gradient[4], few_gradient[2];
  float few_target[2] = {0.3f, 0.7f}, few_logits[2] = {0.4f, -1.5f};
  gd_classification_row row = {.target = target, .active = active, .weight = 0.7, .temperature = 2};
  gd_classification_row few = {.target = few_target, .weight = 0.7, .temperature = 2};
  assert_true(gd_classification_row_loss(&row, 4, logits, gradient) ==
              gd_classification_row_loss(&few, 2, few_logits, few_gradient));
  assert_true(gradient[0] == few_gradient[0] && gradient[2] == few_gradient[1]);
  assert_true(gradient[1] == 0 && gradient[3] == 0);
}

static void large_logits_stay_finite(void **state) {
  (void)state;
  float target[2] = {1, 0}, logits[2] = {1000, -1000}, gradient[2];
  gd_classification_row row = {.target = target, .weight = 1, .temperature = 1};
  assert_true(gd_classification_row_loss(&row, 2, logits, gradient) == 0);
  target[0] = 0, target[1] = 1;
  assert_true(gd_classification_row_loss(&row, 2, logits, gradient) == 2000);
  assert_true(gradient[0] == 1 && gradient[1] == -1);
}

// ---- The solver's loss of golden/solver.h5: real images with labels, replayed ones with the teacher's logits

typedef struct gd_golden_rows {
  float *x, *replay_x, *labels, *teacher;
} gd_golden_rows;

static void fill_golden(void *context, int64_t i, gd_classification_row *row) {
  const gd_golden_rows *g = context;
  const double task = 3, t = 2;
  bool real = i < N_GOLDEN;
  int64_t k = real ? i : i - N_GOLDEN;
  memcpy(row->inputs[0], (real ? g->x : g->replay_x) + k * PIXELS, PIXELS * sizeof(float));
  if (real) {
    row->target[(int)g->labels[k]] = 1;
    row->weight = 1 / task / N_GOLDEN;
    return;
  }
  double total = 0;
  for (int c = 0; c < CLASSES; c++) total += exp(g->teacher[k * CLASSES + c] / t);
  for (int c = 0; c < CLASSES; c++) row->target[c] = (float)(exp(g->teacher[k * CLASSES + c] / t) / total);
  row->weight = (1 - 1 / task) / N_GOLDEN;
  row->temperature = t;
}

// T^2 sum -softmax(student / T) log_softmax(teacher / T): by hand, and its gradient by finite differences.
static void swapped_loss_is_the_references(void **state) {
  (void)state;
  enum { N = 3 };
  const double t = 2, teacher[N] = {1, -2, 0.5};
  float target[N], gradient[N], other[N], logits[N] = {0.3f, 1.5f, -0.7f};
  double total = 0, sum = 0, expected = 0;
  for (int c = 0; c < N; c++) total += exp(teacher[c] / t);
  for (int c = 0; c < N; c++) target[c] = (float)(teacher[c] / t - log(total));
  for (int c = 0; c < N; c++) sum += exp((double)logits[c] / t);
  for (int c = 0; c < N; c++) expected -= exp((double)logits[c] / t) / sum * (double)target[c] * t * t * 0.5;
  gd_classification_row row = {.target = target, .swapped = true, .weight = 0.5, .temperature = t};
  assert_true(fabs(gd_classification_row_loss(&row, N, logits, gradient) - expected) < 1e-6);
  for (int c = 0; c < N; c++) {
    const float h = 1e-2f;
    float value = logits[c];
    logits[c] = value + h;
    double above = gd_classification_row_loss(&row, N, logits, other);
    logits[c] = value - h;
    double below = gd_classification_row_loss(&row, N, logits, other);
    logits[c] = value;
    assert_true(fabs((above - below) / (2 * (double)h) - (double)gradient[c]) < 1e-4);
  }
}

static void loss_of_the_solver_is_pytorchs(void **state) {
  (void)state;
  gd_net *net;
  gd_classification *learner;
  double loss;
  gd_solver_create(&net, SIZE, 1, CLASSES, false);
  float *params = GD_NEW_ARRAY(float, gd_net_params(net)->total), *total = golden("solver.h5", "total", 1);
  golden_params("solver.h5", "weights", gd_net_params(net), params);
  gd_golden_rows rows = {golden("solver.h5", "x", N_GOLDEN * PIXELS),
                         golden("solver.h5", "replay_x", N_GOLDEN * PIXELS), golden("solver.h5", "labels", N_GOLDEN),
                         golden("solver.h5", "teacher_logits", (int64_t)N_GOLDEN * CLASSES)};
  assert_ok(gd_classification_create(&learner, test_comm, net, 4, 2 * N_GOLDEN, 0, params));
  assert_ok(gd_classification_step(learner, 1e-3, 2 * N_GOLDEN, fill_golden, &rows, &loss));
  if (!(fabs(loss - *total) <= 1e-5 * fabs(*total))) fail_msg("loss %.9g, PyTorch's %.9g", loss, *total);
  gd_classification_destroy(&learner);
  gd_net_destroy(&net);
  float *arrays[] = {rows.x, rows.replay_x, rows.labels, rows.teacher, params, total};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) gd_free(arrays[i]);
}

// ---- Learning: the class is the index of the largest of four inputs

enum { N_INPUTS = 4, N_ROWS = 21, STEPS = 150 };

static void fill_toy(void *context, int64_t i, gd_classification_row *row) {
  gd_random key = {.seed = 5, .purpose = GD_RANDOM_NOISE, .step = *(uint32_t *)context};
  gd_random_normal(key, (uint64_t)i, N_INPUTS, row->inputs[0]);
  int largest = 0;
  for (int k = 1; k < N_INPUTS; k++)
    if (row->inputs[0][k] > row->inputs[0][largest]) largest = k;
  row->target[largest] = 1;
  row->weight = 1.0 / N_ROWS;
}

// Trains on comm; returns the digest of the parameters, and the first and last loss on ranks with slots.
static uint64_t train_toy(const gd_comm *comm, int n_slots, double *first, double *last) {
  gd_net *net;
  gd_classification *learner;
  gd_net_create(&net);
  gd_tensor x = gd_net_input(net, (gd_shape){1, 1, N_INPUTS});
  x = gd_net_activation(net, gd_net_linear(net, x, "hidden", 16), GD_RELU);
  gd_net_output(net, gd_net_linear(net, x, "out", N_INPUTS));
  assert_ok(gd_classification_create(&learner, comm, net, n_slots, N_ROWS, 3, NULL));
  for (uint32_t step = 0; step < STEPS; step++)
    assert_ok(gd_classification_step(learner, 0.02, N_ROWS, fill_toy, &step, step == 0 ? first : last));
  uint64_t digest = gd_param_table_digest(gd_net_params(net), gd_classification_params(learner));
  gd_classification_destroy(&learner);
  gd_net_destroy(&net);
  return digest;
}

static void it_learns_the_same_on_any_number_of_ranks(void **state) {
  (void)state;
  uint64_t reference = 0;
  for (int n_ranks = 1; n_ranks <= test_comm->size; n_ranks++) {
    gd_comm *part = gd_comm_part(test_comm, test_comm->rank < n_ranks);
    double first = 0, last = 0;
    uint64_t digest = part ? train_toy(part, 2, &first, &last) : 0;  // two slots: two of four ranks are idle
    gd_comm_destroy(&part);
    MPI_Bcast(&digest, 1, MPI_UINT64_T, 0, test_comm->mpi);
    if (test_comm->rank == 0) assert_true(first > 1 && last < 0.6 * first);
    if (n_ranks == 1) reference = digest;
    assert_true(digest == reference);
  }
}

static void idle_ranks_have_the_parameters_too(void **state) {
  (void)state;
  double first, last;
  uint64_t mine = train_toy(test_comm, 1, &first, &last), roots = mine;
  MPI_Bcast(&roots, 1, MPI_UINT64_T, 0, test_comm->mpi);
  assert_true(mine == roots);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradient_agrees_with_differences),   cmocka_unit_test(inactive_classes_have_no_part),
      cmocka_unit_test(large_logits_stay_finite),           cmocka_unit_test(swapped_loss_is_the_references),
      cmocka_unit_test(loss_of_the_solver_is_pytorchs),     cmocka_unit_test(it_learns_the_same_on_any_number_of_ranks),
      cmocka_unit_test(idle_ranks_have_the_parameters_too),
  };
  return GD_TEST_MAIN(tests);
}
