/* The solver of golden/solver.h5: without dropout the logits, the losses on real and replayed images, and the gradients
 * of their weighted sum; then the masks of dropout against plain loops. */
#include <math.h>
#include <string.h>

#include "gendistill/model.h"
#include "nn_reference.h"
#include "support.h"

enum { BATCH = 4, SIZE = 32, CLASSES = 10, TASK = 3 };

static const char file[] = "solver.h5";
static const double temperature = 2;

typedef struct gd_fixture {
  gd_net *net;
  gd_plan *plan;
  const gd_param_table *table;
  float *params, *grads;
} gd_fixture;

static gd_fixture open_solver(int image_size, int batch, gd_mode mode, bool dropout) {
  gd_fixture f = {0};
  gd_solver_create(&f.net, image_size, 1, CLASSES, dropout);
  f.table = gd_net_params(f.net);
  f.params = GD_NEW_ARRAY(float, f.table->total);
  f.grads = GD_NEW_ARRAY(float, f.table->total);
  assert_int_equal(golden_params(file, "weights", f.table, f.params), f.table->n);
  assert_ok(gd_plan_create(&f.plan, f.net, batch, mode, GD_FLOAT32));
  gd_plan_load(f.plan, f.params);
  return f;
}

static void close_solver(gd_fixture *f) {
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

// ---- The losses, as in the `about` attribute of the file

// softmax(logits / t) and its logarithm.
static void softmax(const float *logits, double t, double *p, double *log_p) {
  double sum = 0;
  for (int c = 0; c < CLASSES; c++) sum += exp(logits[c] / t);
  for (int c = 0; c < CLASSES; c++) {
    log_p[c] = logits[c] / t - log(sum);
    p[c] = exp(log_p[c]);
  }
}

// Mean cross entropy; adds `weight` times its gradient.
static float hard_loss(const float *logits, const float *labels, double weight, float *gradient) {
  double loss = 0, p[CLASSES], log_p[CLASSES];
  for (int n = 0; n < BATCH; n++) {
    softmax(logits + (int64_t)n * CLASSES, 1, p, log_p);
    loss -= log_p[(int)labels[n]] / BATCH;
    for (int c = 0; c < CLASSES; c++)
      gradient[n * CLASSES + c] = (float)(weight * (p[c] - (c == (int)labels[n])) / BATCH);
  }
  return (float)loss;
}

// Mean cross entropy with the teacher's soft labels, times t^2; writes `weight` times its gradient.
static float soft_loss(const float *logits, const float *teacher, double weight, float *gradient) {
  double loss = 0, p[CLASSES], log_p[CLASSES], wanted[CLASSES], unused[CLASSES], t = temperature;
  for (int n = 0; n < BATCH; n++) {
    softmax(logits + (int64_t)n * CLASSES, t, p, log_p);
    softmax(teacher + (int64_t)n * CLASSES, t, wanted, unused);
    for (int c = 0; c < CLASSES; c++) {
      loss -= t * t * wanted[c] * log_p[c] / BATCH;
      gradient[n * CLASSES + c] = (float)(weight * t * (p[c] - wanted[c]) / BATCH);
    }
  }
  return (float)loss;
}

// ---- Without dropout: real rows, then replayed rows, in one plan

static void load_images(const char *dataset, float *to) {
  float *x = golden(file, dataset, (int64_t)BATCH * SIZE * SIZE);
  memcpy(to, x, (size_t)BATCH * SIZE * SIZE * sizeof(float));  // one channel: (C, H, W) and (H, W, C) are the same
  gd_free(x);
}

static void logits_losses_and_gradients_hold(void **state) {
  (void)state;
  gd_fixture f = open_solver(SIZE, 2 * BATCH, GD_TRAINING, false);
  load_images("x", gd_plan_input(f.plan, 0));
  load_images("replay_x", gd_plan_input(f.plan, 0) + (int64_t)BATCH * SIZE * SIZE);
  float *labels = golden(file, "labels", BATCH), *teacher = golden(file, "teacher_logits", (int64_t)BATCH * CLASSES);
  int64_t half = (int64_t)BATCH * CLASSES;

  const float *logits = gd_plan_forward(f.plan);
  check("logits", logits, "logits", half);
  check("logits of replayed images", logits + half, "replay_logits", half);
  float *gradient = gd_plan_output_gradient(f.plan);
  double hard_weight = 1.0 / TASK, soft_weight = 1 - 1.0 / TASK;
  float hard = hard_loss(logits, labels, hard_weight, gradient);
  float soft = soft_loss(logits + half, teacher, soft_weight, gradient + half);
  float total = (float)(hard_weight * hard + soft_weight * soft);
  check("loss of real images", &hard, "ce", 1);
  check("loss of replayed images", &soft, "replay_loss", 1);
  check("total loss", &total, "total", 1);

  gd_plan_backward(f.plan, f.grads, NULL, NULL);
  for (int i = 0; i < f.table->n; i++) {
    const gd_param *p = &f.table->params[i];
    char *dataset = gd_format("grads/%s", p->name);
    check(dataset, f.grads + p->offset, dataset, p->count);
    gd_free(dataset);
  }
  gd_free(labels);
  gd_free(teacher);
  close_solver(&f);
}

// ---- With dropout

static void fill_masks(gd_fixture *f, float dropped, float kept, float rate) {
  for (int i = 1; i < gd_net_n_inputs(f->net); i++) {
    gd_shape s = gd_net_input_shape(f->net, i);
    int64_t n = (int64_t)gd_plan_batch(f->plan) * s.h * s.w * s.c;
    float *mask = gd_plan_input(f->plan, i);
    gd_random_uniform((gd_random){.seed = 1, .purpose = GD_RANDOM_DROPOUT}, (uint64_t)i, (size_t)n, mask);
    for (int64_t j = 0; j < n; j++) mask[j] = mask[j] < rate ? dropped : kept;
  }
}

static void masks_of_ones_change_nothing(void **state) {
  (void)state;
  gd_fixture plain = open_solver(SIZE, BATCH, GD_TRAINING, false), f = open_solver(SIZE, BATCH, GD_TRAINING, true);
  assert_int_equal(gd_net_n_inputs(plain.net), 1);
  assert_int_equal(gd_net_n_inputs(f.net), 4);
  assert_int_equal(f.table->total, plain.table->total);
  fill_masks(&f, 1, 1, 0);
  gd_fixture *both[] = {&plain, &f};
  for (int i = 0; i < 2; i++) {
    load_images("x", gd_plan_input(both[i]->plan, 0));
    memcpy(gd_plan_output_gradient(both[i]->plan), gd_plan_forward(both[i]->plan), BATCH * CLASSES * sizeof(float));
    gd_plan_backward(both[i]->plan, both[i]->grads, NULL, NULL);
  }
  assert_memory_equal(gd_plan_output_gradient(f.plan), gd_plan_output_gradient(plain.plan),
                      BATCH * CLASSES * sizeof(float));
  assert_memory_equal(f.grads, plain.grads, (size_t)plain.table->total * sizeof(float));
  close_solver(&plain);
  close_solver(&f);
}

static double *doubles(const float *values, int64_t n) {
  double *out = GD_NEW_ARRAY(double, n);
  for (int64_t i = 0; i < n; i++) out[i] = values[i];
  return out;
}

// conv, ReLU: x becomes the output.
static void reference_conv_relu(const gd_fixture *f, const char *name, int pad, int batch, gd_shape *s, double **x) {
  char *weight_name = gd_format("%s.weight", name), *bias_name = gd_format("%s.bias", name);
  const gd_param *pw = gd_param_table_find(f->table, weight_name), *pb = gd_param_table_find(f->table, bias_name);
  int c_out = (int)pw->dims[0], kernel = (int)pw->dims[2];
  gd_shape out = {s->h + 2 * pad - kernel + 1, s->w + 2 * pad - kernel + 1, c_out};
  int64_t n = (int64_t)batch * out.h * out.w * c_out;
  double *w = doubles(f->params + pw->offset, pw->count), *b = doubles(f->params + pb->offset, pb->count);
  double *y = GD_NEW_ARRAY(double, n);
  ref_conv(*x, batch, *s, w, b, c_out, kernel, 1, pad, y);
  ref_relu(y, n, y);
  gd_free(w);
  gd_free(b);
  gd_free(*x);
  gd_free(weight_name);
  gd_free(bias_name);
  *x = y;
  *s = out;
}

// Max pool, then the product with input `mask` of the plan: x becomes the output.
static void reference_pool_drop(const gd_fixture *f, int mask, int kernel, int stride, int batch, gd_shape *s,
                                double **x) {
  gd_shape out = {(s->h - kernel) / stride + 1, (s->w - kernel) / stride + 1, s->c};
  int64_t n = (int64_t)batch * out.h * out.w * out.c;
  double *y = GD_NEW_ARRAY(double, n), *m = doubles(gd_plan_input(f->plan, mask), n);
  ref_pool(*x, batch, *s, kernel, stride, 0, REF_MAX, y);
  ref_multiply(y, m, n, y);
  gd_free(*x);
  gd_free(m);
  *x = y;
  *s = out;
}

// The layers, as in the `about` attribute of the file.
static void reference_solver(const gd_fixture *f, int image_size, int batch, float *logits) {
  gd_shape s = {image_size, image_size, 1};
  double *x = doubles(gd_plan_input(f->plan, 0), (int64_t)batch * image_size * image_size);
  reference_conv_relu(f, "conv1", 1, batch, &s, &x);
  reference_conv_relu(f, "conv2", 0, batch, &s, &x);
  reference_pool_drop(f, 1, 2, 2, batch, &s, &x);
  reference_conv_relu(f, "conv3", 1, batch, &s, &x);
  reference_conv_relu(f, "conv4", 0, batch, &s, &x);
  reference_pool_drop(f, 2, 2, 2, batch, &s, &x);
  reference_conv_relu(f, "conv5", 0, batch, &s, &x);
  reference_pool_drop(f, 3, s.h, 1, batch, &s, &x);
  const gd_param *pw = gd_param_table_find(f->table, "fc.weight"), *pb = gd_param_table_find(f->table, "fc.bias");
  double *w = doubles(f->params + pw->offset, pw->count), *b = doubles(f->params + pb->offset, pb->count);
  double *y = GD_NEW_ARRAY(double, batch *CLASSES);
  ref_linear(x, batch, s, w, b, CLASSES, y);
  for (int i = 0; i < batch * CLASSES; i++) logits[i] = (float)y[i];
  gd_free(x);
  gd_free(w);
  gd_free(b);
  gd_free(y);
}

static void random_masks_match_plain_loops(void **state) {
  (void)state;
  static const int sizes[] = {12, 17};  // 12 is the minimum
  enum { IMAGES = 3 };
  for (int i = 0; i < 2; i++) {
    gd_fixture f = open_solver(sizes[i], IMAGES, GD_INFERENCE, true);
    float expected[IMAGES * CLASSES], without_masks[IMAGES * CLASSES];
    gd_random_normal((gd_random){.seed = 1, .purpose = GD_RANDOM_NOISE}, 0,
                     (size_t)IMAGES * (size_t)(sizes[i] * sizes[i]), gd_plan_input(f.plan, 0));
    fill_masks(&f, 1, 1, 0);
    reference_solver(&f, sizes[i], IMAGES, without_masks);
    fill_masks(&f, 0, 1 / 0.75f, 0.25f);
    reference_solver(&f, sizes[i], IMAGES, expected);
    double error = relative_error(gd_plan_forward(f.plan), expected, (int64_t)IMAGES * CLASSES);
    if (!(error <= 1e-5)) fail_msg("%d pixels: logits differ by %g", sizes[i], error);
    assert_true(relative_error(without_masks, expected, (int64_t)IMAGES * CLASSES) > 1e-3);  // the masks matter
    close_solver(&f);
  }
}

static void with_all_dropped_the_last_bias_is_left(void **state) {
  (void)state;
  gd_fixture f = open_solver(SIZE, BATCH, GD_INFERENCE, true);
  load_images("x", gd_plan_input(f.plan, 0));
  fill_masks(&f, 1, 1, 0);
  memset(gd_plan_input(f.plan, 3), 0, (size_t)BATCH * 128 * sizeof(float));
  const float *logits = gd_plan_forward(f.plan);
  const float *bias = f.params + gd_param_table_find(f.table, "fc.bias")->offset;
  for (int n = 0; n < BATCH; n++) assert_memory_equal(logits + (int64_t)n * CLASSES, bias, CLASSES * sizeof(float));
  close_solver(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(logits_losses_and_gradients_hold), cmocka_unit_test(masks_of_ones_change_nothing),
      cmocka_unit_test(random_masks_match_plain_loops), cmocka_unit_test(with_all_dropped_the_last_bias_is_left)};
  return GD_TEST_MAIN(tests);
}
