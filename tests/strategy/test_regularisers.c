/* Regularisers against golden/regularisers.h5 on any number of ranks: Fisher information, penalties and their
 * gradients, importance by SI; several tasks against plain sums; state in checkpoints. */
#include <math.h>
#include <string.h>

#include "network_a.h"
#include "strategy/regulariser.h"
#include "support.h"

enum { N = 6, COUNT = N * NETWORK_A_ELEMENTS };
static const char *const file = "regularisers.h5";

static const char *const text =
    "dataset: {image_size: 16}\n"
    "model: {block_out_channels: [16, 16, 32], attention: [false, false, true], norm_num_groups: 8}\n"
    "strategy: {fisher_images: 6, regulariser_lambda: 100}\n"
    "training: {batch_size: 4, slots: 4}\n";

typedef struct regulariser_fixture {
  gd_config *config;
  gd_net *net;
  const gd_param_table *table;
  gd_schedule *schedule;
  float *anchor, *params;  // theta*, theta
  gd_batch given;
  gd_diffusion_images images;
  gd_regularisation *r;
} regulariser_fixture;

static void open_fixture(regulariser_fixture *f, const char *name) {
  char *set = gd_format("strategy.name=%s", name);
  *f = (regulariser_fixture){.given = gd_batch_make(N, NETWORK_A_ELEMENTS)};
  assert_ok(gd_config_create_from_text(&f->config, "test", text, 1, (const char *const *)&set));
  gd_model_create(&f->net, f->config);
  f->table = gd_net_params(f->net);
  gd_schedule_create(&f->schedule, &f->config->diffusion);
  f->anchor = GD_NEW_ARRAY(float, f->table->total);
  f->params = GD_NEW_ARRAY(float, f->table->total);
  assert_int_equal(golden_params("unet.h5", "a/weights", f->table, f->anchor), f->table->n);
  assert_int_equal(golden_params("strategies.h5", "student", f->table, f->params), f->table->n);
  gd_free(f->given.target);
  f->given.x = golden(file, "x_t", COUNT);
  f->given.target = golden(file, "eps", COUNT);
  f->given.t = golden(file, "t", N);
  gd_regulariser_settings settings = gd_regulariser_settings_of(f->config);
  gd_regularisation_create(&f->r, &settings, f->table);
  gd_regularisation_begin_task(f->r, 0, f->anchor);
  gd_free(set);
}

static void close_fixture(regulariser_fixture *f) {
  gd_regularisation_destroy(&f->r);
  gd_free(f->given.x);
  gd_free(f->given.t);
  gd_batch_clear(&f->given);
  gd_schedule_destroy(&f->schedule);
  gd_net_destroy(&f->net);
  gd_config_destroy(&f->config);
  gd_free(f->anchor);
  gd_free(f->params);
}

static gd_image_gradients gradients_at(regulariser_fixture *f, const float *params) {
  static const uint32_t images[N] = {0, 1, 2, 3, 4, 5};
  f->images = (gd_diffusion_images){
      .config = f->config, .schedule = f->schedule, .images = images, .n_images = N, .given = &f->given};
  return (gd_image_gradients){.comm = test_comm,
                              .net = f->net,
                              .params = params,
                              .n_slots = f->config->training.slots,
                              .n_images = N,
                              .loss = &gd_diffusion_loss,
                              .context = &f->images};
}

static void end_task(regulariser_fixture *f, const float *params, int64_t expected) {
  gd_image_gradients gradients = gradients_at(f, params);
  int64_t n;
  assert_ok(gd_regularisation_end_task(f->r, &gradients, &n));
  assert_int_equal(n, expected);
}

// The parameters that the file has, each within `tolerance` of the largest value of all of them.
static void assert_params(const regulariser_fixture *f, const char *group, const float *values, double tolerance) {
  float *wanted = GD_NEW_ARRAY(float, f->table->total);
  double largest = 0, error = 0;
  for (int64_t i = 0; i < f->table->total; i++) wanted[i] = NAN;
  assert_int_equal(golden_params(file, group, f->table, wanted), 166);
  for (int64_t i = 0; i < f->table->total; i++) {
    if (isnan(wanted[i])) continue;
    largest = fmax(largest, fabs((double)wanted[i]));
    error = fmax(error, fabs((double)wanted[i] - values[i]));
  }
  print_message("%s differs by %.2g of the largest value\n", group, error / largest);
  assert_true(error <= tolerance * largest);
  gd_free(wanted);
}

static void assert_number(const char *name, double value, double tolerance) {
  float *wanted = golden(file, name, 1);
  print_message("%s: %.8g\n", name, value);
  assert_true(fabs(value - *wanted) <= tolerance * fabs((double)*wanted));
  gd_free(wanted);
}

// The penalty at the parameters of the file, and its gradient in a new array.
static double penalty_at(regulariser_fixture *f, const float *params, float **gradient) {
  *gradient = GD_NEW_ARRAY(float, f->table->total);
  return gd_regularisation_penalty(f->r, params, *gradient);
}

static void ewc_holds(void **state) {
  (void)state;
  regulariser_fixture f;
  float *gradient;
  open_fixture(&f, "ewc");
  assert_true(penalty_at(&f, f.params, &gradient) == 0);  // nothing to keep in the first task
  gd_free(gradient);
  end_task(&f, f.anchor, N);
  assert_params(&f, "fisher", f.r->arrays[0].values, 1e-4);
  gd_regularisation_begin_task(f.r, 1, f.anchor);
  assert_number("penalty", penalty_at(&f, f.params, &gradient), 1e-4);
  assert_params(&f, "penalty_grad", gradient, 1e-4);
  gd_free(gradient);
  close_fixture(&f);
}

static void ewc_rank1_holds(void **state) {
  (void)state;
  regulariser_fixture f;
  float *gradient, *c = golden(file, "rank1_c", 1);
  open_fixture(&f, "ewc_rank1");
  end_task(&f, f.anchor, 2 * N);
  float *u = gd_regularisation_of_task(f.r, 0);
  double norm2 = 0;
  for (int64_t i = 0; i < f.table->total; i++) norm2 += (double)u[i] * u[i] / *c;
  assert_number("rank1_mu_norm2", norm2, 1e-4);
  gd_regularisation_begin_task(f.r, 1, f.anchor);
  assert_number("rank1_penalty", penalty_at(&f, f.params, &gradient), 1e-4);
  assert_params(&f, "rank1_penalty_grad", gradient, 1e-4);
  for (int64_t i = 0; i < f.table->total; i++) u[i] /= sqrtf(*c);
  assert_params(&f, "rank1_mu", u, 1e-4);
  gd_free(gradient);
  gd_free(c);
  close_fixture(&f);
}

/* ---- SI: the file's four Adam steps ---- */

typedef struct mean_context {
  int64_t total;
} mean_context;

static void add_gradient(void *context, const float *gradient, float *sum) {
  for (int64_t i = 0; i < ((mean_context *)context)->total; i++) sum[i] += gradient[i] / N;
}

static void si_holds(void **state) {
  (void)state;
  regulariser_fixture f;
  open_fixture(&f, "si");
  int64_t total = f.table->total;
  float *params = GD_NEW_ARRAY(float, total), *gradient = GD_NEW_ARRAY(float, total);
  float *m = GD_NEW_ARRAY(float, total), *v = GD_NEW_ARRAY(float, total);
  memcpy(params, f.anchor, (size_t)total * sizeof(float));
  gd_adam adam = {.learning_rate = 2e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
  mean_context context = {total};
  gd_gradient_sum mean = {.rows = N, .n = total, .add = add_gradient, .context = &context};
  for (int step = 1; step <= 4; step++) {
    gd_image_gradients gradients = gradients_at(&f, params);
    assert_ok(gd_image_gradients_sum(&gradients, &mean, gradient));
    assert_true(gd_regularisation_penalty(f.r, params, gradient) == 0);
    gd_adam_step(&adam, f.table, step, 1, 1, gradient, params, m, v);
    gd_regularisation_after_step(f.r, params);
  }
  assert_params(&f, "si_end", params, 1e-4);
  end_task(&f, params, 0);
  assert_params(&f, "si_omega", f.r->arrays[0].values, 1e-4);
  f.r->settings.lambda = 1;
  gd_regularisation_begin_task(f.r, 1, params);
  memset(gradient, 0, (size_t)total * sizeof(float));
  assert_number("penalty_si", gd_regularisation_penalty(f.r, f.params, gradient), 1e-4);
  for (int64_t i = 0; i < total; i += 997) {  // the derivative of omega (p - a)^2
    double expected = 2.0 * f.r->arrays[0].values[i] * ((double)f.params[i] - params[i]);
    assert_true(fabs(gradient[i] - expected) <= 1e-5 * fabs(expected) + 1e-12);
  }
  gd_free(params);
  gd_free(gradient);
  gd_free(m);
  gd_free(v);
  close_fixture(&f);
}

/* ---- Several tasks ---- */

// Two terms F (p - a)^2 and F (p - b)^2 with the file's F, whatever the way they are kept.
static void terms_of_two_tasks(void **state) {
  const char *terms = *state;
  regulariser_fixture f;
  float *gradient, *once;
  open_fixture(&f, "ewc");
  bool online = strcmp(terms, "online") == 0;
  f.r->settings.fisher_terms = online ? GD_FISHER_ONLINE : GD_FISHER_PER_TASK;
  f.r->settings.fisher_gamma = 0.5;
  float *second = GD_NEW_ARRAY(float, f.table->total), *fisher = GD_NEW_ARRAY(float, f.table->total);
  for (int64_t i = 0; i < f.table->total; i++) second[i] = f.anchor[i] + 0.001f * (float)(i % 5 - 2);
  end_task(&f, f.anchor, N);
  memcpy(fisher, f.r->arrays[0].values, (size_t)f.table->total * sizeof(float));
  gd_regularisation_begin_task(f.r, 1, f.anchor);
  end_task(&f, second, N);
  gd_regularisation_begin_task(f.r, 2, second);
  double penalty = penalty_at(&f, f.params, &gradient), expected = 0, pull_error = 0, largest = 0;
  regulariser_fixture g;  // the second term alone
  open_fixture(&g, "ewc");
  end_task(&g, second, N);
  gd_regularisation_begin_task(g.r, 1, second);
  expected = penalty_at(&g, f.params, &once);
  for (int64_t i = 0; i < f.table->total; i++) {
    double change = (double)f.params[i] - (online ? second[i] : f.anchor[i]), weight = online ? 0.5 : 1;
    expected += 50 * weight * fisher[i] * change * change;
    double pull = once[i] + 100 * weight * fisher[i] * change;
    pull_error = fmax(pull_error, fabs(pull - gradient[i]));
    largest = fmax(largest, fabs(pull));
  }
  assert_true(fabs(penalty - expected) <= 1e-5 * expected && pull_error <= 1e-5 * largest);
  gd_free(gradient);
  gd_free(once);
  gd_free(second);
  gd_free(fisher);
  close_fixture(&f);
  close_fixture(&g);
}

static void rank1_adds_up_its_tasks(void **state) {
  (void)state;
  regulariser_fixture f;
  float *gradient, *one;
  open_fixture(&f, "ewc_rank1");
  end_task(&f, f.anchor, 2 * N);
  gd_regularisation_begin_task(f.r, 1, f.anchor);
  double first = penalty_at(&f, f.params, &one);
  gd_free(one);
  end_task(&f, f.anchor, 2 * N);  // the same again
  gd_regularisation_begin_task(f.r, 2, f.anchor);
  assert_true(fabs(penalty_at(&f, f.params, &gradient) - 2 * first) <= 1e-6 * first);
  assert_int_equal(f.r->n_numbers, 2);
  gd_free(gradient);

  // from a checkpoint: the same bits
  gd_checkpoint checkpoint = {.task = 2};
  checkpoint.n_arrays = gd_regularisation_list(f.r, checkpoint.arrays, 0);
  gd_regularisation_save(f.r, &checkpoint);
  regulariser_fixture g;
  open_fixture(&g, "ewc_rank1");
  assert_ok(gd_regularisation_restore(g.r, "here", &checkpoint));
  gd_regularisation_begin_task(g.r, 2, f.anchor);
  assert_true(penalty_at(&g, f.params, &gradient) == penalty_at(&f, f.params, &one));
  assert_memory_equal(gradient, one, (size_t)f.table->total * sizeof(float));
  checkpoint.n_arrays--;
  assert_int_equal(gd_regularisation_restore(g.r, "here", &checkpoint), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "here: holds no array 'rank1_2'"));
  gd_free(gradient);
  gd_free(one);
  close_fixture(&f);
  close_fixture(&g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ewc_holds),
      cmocka_unit_test(ewc_rank1_holds),
      cmocka_unit_test(si_holds),
      cmocka_unit_test_prestate(terms_of_two_tasks, "online"),
      cmocka_unit_test_prestate(terms_of_two_tasks, "task"),
      cmocka_unit_test(rank1_adds_up_its_tasks),
  };
  return GD_TEST_MAIN(tests);
}
