/* What a plan guarantees for any ops: modes, memory, reloads, and results for an image that do not depend on the other
 * images, the batch size or the thread count. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "nn_check.h"

static const float eps = 1e-5f;

// Linear layers, or 1x1 convolutions in their place where c->kernel is 1.
static gd_tensor dense(gd_net *net, gd_tensor x, const char *name, const nn_case *c) {
  if (c->kernel == 1) return gd_net_conv(net, x, name, c->c_out, 1, 1, 0, true);
  return gd_net_linear(net, x, name, c->c_out);
}

static gd_tensor dense_add(gd_net *net, gd_tensor x, gd_tensor residual, const char *name, const nn_case *c) {
  if (c->kernel == 1) return gd_net_conv_add(net, x, residual, name, c->c_out, 1, 0);
  return gd_net_linear_add(net, x, residual, name, c->c_out);
}

// A small U-Net: time embedding, residual block, attention, stride, skip, upsampling.
static gd_tensor build_unet(gd_net *net, const gd_tensor *x, const nn_case *c) {
  int width = c->c_out;
  gd_tensor t = dense(net, gd_net_time_embedding(net, x[1], width), "time", c);
  gd_tensor skip = gd_net_conv(net, x[0], "in", width, 3, 1, 1, true);
  gd_tensor low = gd_net_conv(net, skip, "down", width, 3, 2, 1, true);
  gd_tensor h = gd_net_group_norm(net, low, "norm1", c->groups, eps, GD_SILU);
  h = gd_net_conv(net, h, "conv1", width, 3, 1, 1, true);
  h = gd_net_group_norm_shifted(net, h, t, 0, "norm2", c->groups, eps, GD_SILU);
  h = gd_net_conv_add(net, h, low, "conv2", width, 3, 1);
  gd_tensor a = gd_net_group_norm(net, h, "norm3", c->groups, eps, GD_LINEAR);
  gd_tensor q = dense(net, a, "q", c), k = dense(net, a, "k", c);
  a = gd_net_attention(net, q, k, dense(net, a, "v", c), c->head_dim);
  h = gd_net_upsample(net, dense_add(net, a, h, "out", c));
  return gd_net_conv(net, gd_net_concat(net, h, skip), "last", c->in[0].c, 3, 1, 1, true);
}

// All ops that do not use oneDNN: their results have the same bits for any thread count.
static gd_tensor build_own_ops(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = gd_net_group_norm(net, x[0], "norm1", c->groups, eps, GD_SILU);
  gd_tensor t = gd_net_time_embedding(net, x[1], c->in[0].c);
  h = gd_net_group_norm_shifted(net, h, t, 0, "norm2", c->groups, eps, GD_SILU);
  gd_tensor a = gd_net_group_norm_shifted(net, h, x[2], 0, "norm3", c->groups, eps, GD_LINEAR);
  h = gd_net_add(net, h, gd_net_attention(net, a, gd_net_activation(net, a, GD_SILU), h, c->head_dim));
  return gd_net_upsample(net, gd_net_concat(net, h, gd_net_activation(net, h, GD_RELU)));
}

static const nn_graph unet = {build_unet, NULL, false};
static const nn_graph own_ops = {build_own_ops, NULL, false};

static nn_case unet_case(int batch) {
  return (nn_case){.label = "small U-Net",
                   .batch = batch,
                   .in = {{8, 8, 3}, {1, 1, 1}},
                   .c_out = 32,
                   .groups = 8,
                   .head_dim = 8,
                   .fixed_inputs = 2};
}

static nn_case own_case(int batch) {
  return (nn_case){.label = "own ops",
                   .batch = batch,
                   .in = {{12, 12, 32}, {1, 1, 1}, {1, 1, 32}},
                   .groups = 8,
                   .head_dim = 8,
                   .fixed_inputs = 2};
}

static void assert_same_bits(const char *label, const char *what, const float *a, const float *b, int64_t n) {
  if (memcmp(a, b, (size_t)n * sizeof(float)) != 0)
    fail_msg("%s: %s differ by %g", label, what, relative_error(a, b, n));
}

static float *copy(const float *from, int64_t n) {
  return memcpy(gd_alloc((size_t)n * sizeof(float)), from, (size_t)n * sizeof(float));
}

// ---- Modes and memory

static void inference_gives_the_bits_of_training(void **state) {
  (void)state;
  for (int batch = 1; batch <= 5; batch += 2) {
    nn_case c = unet_case(batch);
    nn_fixture training = nn_open(&unet, &c, GD_TRAINING), inference = nn_open(&unet, &c, GD_INFERENCE);
    const float *a = gd_plan_forward(training.plan), *b = gd_plan_forward(inference.plan);
    assert_same_bits("small U-Net", "training and inference", a, b, training.n_out);
    assert_int_equal(gd_plan_batch(inference.plan), batch);
    nn_close(&training);
    nn_close(&inference);
  }
}

static gd_tensor build_chain(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = x[0];
  for (int i = 0; i < c->c_out; i++) h = gd_net_activation(net, h, GD_SILU);
  return h;
}

static const nn_graph chain = {build_chain, NULL, false};

static size_t plan_nbytes(const nn_graph *graph, nn_case c, gd_mode mode) {
  nn_fixture f = nn_open(graph, &c, mode);
  size_t nbytes = gd_plan_nbytes(f.plan);
  nn_close(&f);
  return nbytes;
}

static void inference_keeps_no_activations(void **state) {
  (void)state;
  nn_case shorter = {.label = "chain of 4", .batch = 2, .in = {{8, 8, 8}}, .c_out = 4};
  nn_case longer = shorter;
  longer.c_out = 12;
  size_t tensor = (size_t)2 * 8 * 8 * 8 * sizeof(float);
  assert_int_equal(plan_nbytes(&chain, shorter, GD_INFERENCE), plan_nbytes(&chain, longer, GD_INFERENCE));
  assert_true(plan_nbytes(&chain, longer, GD_INFERENCE) <= 3 * tensor);  // the input, and two buffers used in turn
  size_t more = plan_nbytes(&chain, longer, GD_TRAINING) - plan_nbytes(&chain, shorter, GD_TRAINING);
  assert_int_equal(more, 8 * tensor);
  nn_case narrow = unet_case(8);  // so narrow that no convolution needs scratch as large as these small activations
  narrow.c_out = 8;
  assert_true(2 * plan_nbytes(&unet, narrow, GD_INFERENCE) < plan_nbytes(&unet, narrow, GD_TRAINING));
  assert_true(plan_nbytes(&unet, unet_case(2), GD_INFERENCE) < plan_nbytes(&unet, unet_case(8), GD_INFERENCE));
}

// h <- linear(norm(h)) + h, twice
static gd_tensor build_residuals(gd_net *net, const gd_tensor *x, const nn_case *c) {
  gd_tensor h = gd_net_linear(net, x[0], "in", c->c_out);
  h = gd_net_linear_add(net, gd_net_group_norm(net, h, "norm1", c->groups, eps, GD_SILU), h, "out1", c->c_out);
  return gd_net_linear_add(net, gd_net_group_norm(net, h, "norm2", c->groups, eps, GD_SILU), h, "out2", c->c_out);
}

static const nn_graph residuals = {build_residuals, NULL, false};

// The input, and two buffers used in turn: no sum needs its own buffer.
static void sums_overwrite_their_residuals(void **state) {
  (void)state;
  nn_case c = {.label = "residuals", .batch = 2, .in = {{32, 32, 8}}, .c_out = 8, .groups = 2};
  size_t tensor = (size_t)2 * 32 * 32 * 8 * sizeof(float);
  assert_true(2 * plan_nbytes(&residuals, c, GD_INFERENCE) < 7 * tensor);  // half a tensor is left for scratch
}

// ---- Reuse of a plan

static void repeated_runs_and_reloads_give_the_same_bits(void **state) {
  (void)state;
  nn_case c = unet_case(3);
  nn_fixture f = nn_open(&unet, &c, GD_TRAINING);
  float *other = copy(f.params, f.table->total);
  for (int64_t i = 0; i < f.table->total; i++) other[i] *= 1.25f;
  int64_t n;
  float *first = nn_results(&f, &n), *second = nn_results(&f, &n);
  assert_same_bits("small U-Net", "two runs", first, second, n);
  gd_plan_load(f.plan, other);
  float *changed = nn_results(&f, &n);
  assert_true(relative_error(changed, first, f.n_out) > 1e-2);
  gd_plan_load(f.plan, f.params);
  float *back = nn_results(&f, &n);
  assert_same_bits("small U-Net", "before and after a load of other parameters", back, first, n);
  gd_free(other);
  gd_free(first);
  gd_free(second);
  gd_free(changed);
  gd_free(back);
  nn_close(&f);
}

// ---- Gradients that are ready early

// The shifts of two norms come from one product, with parameters before and after it.
static gd_tensor build_grouped(gd_net *net, const gd_tensor *x, const nn_case *c) {
  int width = c->c_out;
  gd_tensor h = gd_net_conv(net, x[0], "in", width, 3, 1, 1, true), v = gd_net_linear(net, x[1], "time", width);
  v = gd_net_linear_group(net, v, 3, (const char *[]){"a", "b", "c"}, (int[]){width, width, width});
  for (int i = 0; i < 3; i++) {
    char *norm = gd_format("norm%d", i), *conv = gd_format("conv%d", i);
    gd_tensor inner = gd_net_group_norm_shifted(net, h, v, i * width, norm, c->groups, eps, GD_SILU);
    h = gd_net_conv_add(net, inner, h, conv, width, 3, 1);
    gd_free(norm);
    gd_free(conv);
  }
  return h;
}

static const nn_graph grouped = {build_grouped, NULL, false};

// Copies of the gradients that were final at each call.
typedef struct gd_calls {
  const float *grads;
  int64_t total, first[32];
  float *copies[32];
  int n;
} gd_calls;

static void note_call(void *context, int64_t first) {
  gd_calls *calls = context;
  assert_true(calls->n < 32 && first >= 0 && first <= calls->total);
  if (calls->n) assert_true(first <= calls->first[calls->n - 1]);
  calls->copies[calls->n] = copy(calls->grads + first, calls->total - first);
  calls->first[calls->n++] = first;
}

static void gradients_called_ready_are_final(void **state) {
  (void)state;
  nn_case c = {.label = "grouped", .batch = 2, .in = {{5, 5, 2}, {1, 1, 6}}, .c_out = 8, .groups = 2};
  nn_fixture f = nn_open(&grouped, &c, GD_TRAINING);
  gd_calls calls = {.grads = f.grads, .total = f.table->total};
  nn_run(&f);
  float *expected = copy(f.grads, f.table->total);
  for (int64_t i = 0; i < f.table->total; i++) f.grads[i] = NAN;
  gd_plan_forward(f.plan);
  gd_plan_backward(f.plan, f.grads, note_call, &calls);
  assert_same_bits(c.label, "gradients with and without calls", f.grads, expected, f.table->total);
  assert_int_equal(calls.first[calls.n - 1], 0);
  assert_true(calls.first[0] > f.table->total / 2);  // those of the last op were ready first
  for (int i = 0; i < calls.n; i++) {
    int64_t first = calls.first[i];
    assert_same_bits(c.label, "ready gradients and final ones", calls.copies[i], expected + first, calls.total - first);
    gd_free(calls.copies[i]);
  }
  gd_free(expected);
  nn_close(&f);
}

// ---- Independence of an image

static void check_other_images(const nn_graph *graph, nn_case c) {
  nn_fixture f = nn_open(graph, &c, GD_TRAINING);
  int64_t n_y = f.n_out / c.batch, n_x = f.n_in[0] / c.batch;
  float *y = copy(nn_run(&f), f.n_out), *dx = copy(gd_plan_input_gradient(f.plan, 0), f.n_in[0]);
  for (int i = 0; i < f.n_inputs; i++) nn_fill_input(&f, i, 1, 7);  // all images but the first
  const float *y_after = nn_run(&f), *dx_after = gd_plan_input_gradient(f.plan, 0);
  assert_same_bits(c.label, "image 0's outputs beside other images", y_after, y, n_y);
  assert_same_bits(c.label, "image 0's gradients beside other images", dx_after, dx, n_x);
  assert_true(relative_error(y_after + n_y, y + n_y, n_y) > 1e-2);  // the others did change
  gd_free(y);
  gd_free(dx);
  nn_close(&f);
}

static void images_do_not_depend_on_each_other(void **state) {
  (void)state;
  check_other_images(&unet, unet_case(3));
  check_other_images(&unet, unet_case(8));
  check_other_images(&own_ops, own_case(3));
}

// Plans for both batch sizes give the same result for each image: the same bits if `exact`, otherwise up to rounding.
static void check_batch_size(const nn_graph *graph, nn_case smaller, nn_case larger, bool exact) {
  nn_fixture a = nn_open(graph, &smaller, GD_TRAINING), b = nn_open(graph, &larger, GD_TRAINING);
  const float *ya = nn_run(&a), *yb = nn_run(&b);
  const float *dxa = gd_plan_input_gradient(a.plan, 0), *dxb = gd_plan_input_gradient(b.plan, 0);
  assert_true(relative_error(ya, yb, a.n_out) < 1e-5 && relative_error(dxa, dxb, a.n_in[0]) < 1e-5);
  if (exact) {
    assert_same_bits(smaller.label, "outputs in two batch sizes", ya, yb, a.n_out);
    assert_same_bits(smaller.label, "gradients in two batch sizes", dxa, dxb, a.n_in[0]);
  }
  nn_close(&a);
  nn_close(&b);
}

// Convolutions and our own ops give an image the same bits at every batch size, on every instruction set. Linear layers
// do so with AVX-512 but not with AVX2, where the blocking of oneDNN's matrix product depends on the number of rows.
static void images_do_not_depend_on_the_batch_size(void **state) {
  (void)state;
  nn_case large = unet_case(8), large_convolutions = unet_case(8);
  large_convolutions.kernel = 1;
  for (int batch = 1; batch < 8; batch++) {
    nn_case c = unet_case(batch);
    check_batch_size(&unet, c, large, false);
    c.kernel = 1;
    check_batch_size(&unet, c, large_convolutions, true);
    check_batch_size(&own_ops, own_case(batch), own_case(8), true);
  }
}

// ---- Threads

static float *results_with_threads(const nn_graph *graph, nn_case c, int n_threads, int64_t *n) {
  int kept = omp_get_max_threads();
  omp_set_num_threads(n_threads);  // a plan runs with the thread count at its creation
  nn_fixture f = nn_open(graph, &c, GD_TRAINING);
  float *all = nn_results(&f, n);
  nn_close(&f);
  omp_set_num_threads(kept);
  return all;
}

// Group norm, activations, additions, attention, concat, upsample, time embedding: exact, forward and backward.
static void own_ops_do_not_depend_on_threads(void **state) {
  (void)state;
  int64_t n;
  float *one = results_with_threads(&own_ops, own_case(5), 1, &n);
  for (int n_threads = 2; n_threads <= 4; n_threads++) {
    float *more = results_with_threads(&own_ops, own_case(5), n_threads, &n);
    assert_same_bits("own ops", "results of 1 and more threads", more, one, n);
    gd_free(more);
  }
  gd_free(one);
}

// oneDNN splits the sums of weight gradients over its threads: these agree only up to rounding.
static void onednn_ops_agree_between_threads(void **state) {
  (void)state;
  int64_t n;
  float *one = results_with_threads(&unet, unet_case(5), 1, &n),
        *two = results_with_threads(&unet, unet_case(5), 2, &n);
  assert_true(relative_error(two, one, n) < 1e-5);
  gd_free(one);
  gd_free(two);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(inference_gives_the_bits_of_training),
                                     cmocka_unit_test(inference_keeps_no_activations),
                                     cmocka_unit_test(sums_overwrite_their_residuals),
                                     cmocka_unit_test(gradients_called_ready_are_final),
                                     cmocka_unit_test(repeated_runs_and_reloads_give_the_same_bits),
                                     cmocka_unit_test(images_do_not_depend_on_each_other),
                                     cmocka_unit_test(images_do_not_depend_on_the_batch_size),
                                     cmocka_unit_test(own_ops_do_not_depend_on_threads),
                                     cmocka_unit_test(onednn_ops_agree_between_threads)};
  return GD_TEST_MAIN(tests);
}
