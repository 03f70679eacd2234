/* The network of golden/resnet.h5: logits, loss, gradients and running statistics of a training step, then features and
 * logits with those statistics; and the number of parameters at full width. */
#include <math.h>
#include <string.h>

#include "gendistill/model.h"
#include "support.h"

enum { BATCH = 8, SIZE = 32, CHANNELS = 3, CLASSES = 10, FEATURES = 64 };

static const char file[] = "resnet.h5";
static const int widths[4] = {8, 16, 32, FEATURES};

typedef struct gd_fixture {
  gd_net *net;
  gd_plan *plan;
  const gd_param_table *table;
  float *params, *grads;
} gd_fixture;

static int n_statistics(const gd_param_table *table) {
  int n = 0;
  for (int i = 0; i < table->n; i++) n += table->params[i].is_statistic;
  return n;
}

// With the file's weights, initial running statistics, and the file's images as input.
static gd_fixture open_network(gd_mode mode, bool features) {
  gd_fixture f = {0};
  gd_resnet18_create(&f.net, SIZE, CHANNELS, widths, CLASSES, features);
  f.table = gd_net_params(f.net);
  f.params = GD_NEW_ARRAY(float, f.table->total);
  f.grads = GD_NEW_ARRAY(float, f.table->total);
  gd_param_table_initialise(f.table, 1, f.params);
  assert_int_equal(golden_params(file, "weights", f.table, f.params), f.table->n - n_statistics(f.table));
  assert_ok(gd_plan_create(&f.plan, f.net, BATCH, mode, GD_FLOAT32));
  float *x = golden(file, "x", (int64_t)BATCH * CHANNELS * SIZE * SIZE);
  nchw_to_nhwc(x, BATCH, CHANNELS, SIZE, SIZE, gd_plan_input(f.plan, 0));
  gd_plan_load(f.plan, f.params);
  gd_free(x);
  return f;
}

static void close_network(gd_fixture *f) {
  gd_plan_destroy(&f->plan);
  gd_net_destroy(&f->net);
  gd_free(f->params);
  gd_free(f->grads);
}

static void check(const char *what, const float *got, const char *dataset, int64_t n) {
  float *expected = golden(file, dataset, n);
  double error = relative_error(got, expected, n);
  if (!(error <= 1e-5)) fail_msg("%s differs by %g", what, error);
  gd_free(expected);
}

// Mean cross entropy of the logits, and its gradient.
static float cross_entropy(const float *logits, const float *labels, float *gradient) {
  double loss = 0;
  for (int n = 0; n < BATCH; n++) {
    double sum = 0;
    for (int c = 0; c < CLASSES; c++) sum += exp(logits[n * CLASSES + c]);
    for (int c = 0; c < CLASSES; c++) {
      double log_p = logits[n * CLASSES + c] - log(sum), wanted = c == (int)labels[n];
      loss -= wanted * log_p / BATCH;
      gradient[n * CLASSES + c] = (float)((exp(log_p) - wanted) / BATCH);
    }
  }
  return (float)loss;
}

static void run_step(gd_fixture *f) {
  float *labels = golden(file, "labels", BATCH);
  const float *logits = gd_plan_forward(f->plan);
  check("training logits", logits, "train_logits", (int64_t)BATCH * CLASSES);
  float loss = cross_entropy(logits, labels, gd_plan_output_gradient(f->plan));
  check("loss", &loss, "train_loss", 1);
  gd_plan_backward(f->plan, f->grads, NULL, NULL);
  gd_free(labels);
}

// Updates the running statistics only.
static void update_statistics(gd_fixture *f) {
  gd_adam adam = {.learning_rate = 0, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
  float *m = GD_NEW_ARRAY(float, f->table->total), *v = GD_NEW_ARRAY(float, f->table->total);
  gd_adam_step(&adam, f->table, 1, 1.0f, 1, f->grads, f->params, m, v);
  gd_free(m);
  gd_free(v);
}

// Gradients are compared relative to the largest element of all: those of a deep layer over a batch of 8 are small
// differences, for which PyTorch's own float32 has errors of 1.5e-5 of the array's largest element.
static void check_gradients(const gd_fixture *f) {
  float *expected = GD_NEW_ARRAY(float, f->table->total);
  assert_int_equal(golden_params(file, "grads", f->table, expected), f->table->n - n_statistics(f->table));
  float largest = 0;
  for (int64_t i = 0; i < f->table->total; i++) largest = fmaxf(largest, fabsf(expected[i]));
  for (int i = 0; i < f->table->n; i++) {
    const gd_param *p = &f->table->params[i];
    for (int64_t j = p->offset; !p->is_statistic && j < p->offset + p->count; j++) {
      float error = fabsf(f->grads[j] - expected[j]) / largest;
      if (!(error <= 1e-5f)) fail_msg("gradient of %s differs by %g", p->name, error);
    }
  }
  gd_free(expected);
}

static void training_step_holds(void **state) {
  (void)state;
  gd_fixture f = open_network(GD_TRAINING, false);
  run_step(&f);
  check_gradients(&f);
  update_statistics(&f);
  for (int i = 0; i < f.table->n; i++) {
    const gd_param *p = &f.table->params[i];
    if (!p->is_statistic) continue;
    char *dataset = gd_format("running/%s", p->name);
    check(dataset, f.params + p->offset, dataset, p->count);
    gd_free(dataset);
  }
  close_network(&f);
}

static void features_and_logits_with_running_statistics_hold(void **state) {
  (void)state;
  gd_fixture f = open_network(GD_INFERENCE, true);
  assert_int_equal(golden_params(file, "running", f.table, f.params), n_statistics(f.table));
  gd_plan_load(f.plan, f.params);
  const float *out = gd_plan_forward(f.plan);  // (BATCH, FEATURES + CLASSES)
  float features[BATCH * FEATURES], logits[BATCH * CLASSES];
  for (int n = 0; n < BATCH; n++) {
    const float *row = out + (int64_t)n * (FEATURES + CLASSES);
    memcpy(features + (int64_t)n * FEATURES, row, FEATURES * sizeof(float));
    memcpy(logits + (int64_t)n * CLASSES, row + FEATURES, CLASSES * sizeof(float));
  }
  check("features", features, "eval_features", (int64_t)BATCH * FEATURES);
  check("logits", logits, "eval_logits", (int64_t)BATCH * CLASSES);
  close_network(&f);
}

// torchvision's 11,689,512 parameters are for 3 channels and 1000 classes from 512 features; 4,800 channels are
// normalised.
static void full_width_has_its_parameter_count(void **state) {
  (void)state;
  static const int full[4] = {64, 128, 256, 512};
  gd_net *net;
  gd_resnet18_create(&net, 32, 3, full, 1000, false);
  assert_int_equal(gd_net_params(net)->total, 11689512 + 2 * 4800);
  gd_net_destroy(&net);
  gd_resnet18_create(&net, 32, 1, full, 10, true);
  assert_int_equal(gd_net_params(net)->total, 11689512 + 2 * 4800 - 64 * 2 * 49 - 990 * (512 + 1));
  gd_net_destroy(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(training_step_holds),
                                     cmocka_unit_test(features_and_logits_with_running_statistics_hold),
                                     cmocka_unit_test(full_width_has_its_parameter_count)};
  return GD_TEST_MAIN(tests);
}
