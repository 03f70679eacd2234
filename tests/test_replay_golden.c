/* One training step of each strategy against golden/strategies.h5: replay input and target, losses, gradient norm, and
 * parameters after a clipped Adam step, at the third task. */
#include <math.h>
#include <string.h>

#include "gendistill/replay.h"
#include "gendistill/train.h"
#include "network_a.h"
#include "support.h"

enum { N = 4, COUNT = N * NETWORK_A_ELEMENTS, TASK = 3 };
static const double lambda = 0.75;
static const char *const file = "strategies.h5";

typedef struct gd_fixture {
  gd_strategy_id id;
  const gd_strategy *strategy;
  gd_net *net;
  const gd_param_table *table;
  gd_schedule *schedule;
  gd_generator *teacher;
  gd_plan *plan;
  float *params, *teacher_params, *grads;
  float *eps;           // (N, H, W, C) of the current images
  float target[COUNT];  // of the replay images
  double data_loss, replay_loss;
} gd_fixture;

static float *load_params(const gd_fixture *f, const char *group) {
  float *values = GD_NEW_ARRAY(float, f->table->total);
  assert_int_equal(golden_params(file, group, f->table, values), f->table->n);
  return values;
}

static gd_fixture open_fixture(gd_strategy_id id) {
  gd_fixture f = {.id = id, .strategy = gd_strategy_get(id)};
  gd_unet_create(&f.net, &network_a, NETWORK_A_SIZE, 1);
  f.table = gd_net_params(f.net);
  gd_schedule_create(&f.schedule, &network_a_diffusion);
  f.params = load_params(&f, "student");
  f.teacher_params = load_params(&f, "teacher");
  f.grads = GD_NEW_ARRAY(float, f.table->total);
  f.eps = golden(file, "eps", COUNT);
  bool own_rows = f.strategy->input == GD_INPUT_SAMPLES || f.strategy->input == GD_INPUT_NOISE;
  assert_ok(gd_generator_create(&f.teacher, f.net, f.schedule, N, GD_FLOAT32));
  gd_generator_load(f.teacher, f.teacher_params);
  assert_ok(gd_plan_create(&f.plan, f.net, own_rows ? 2 * N : N, GD_TRAINING, GD_FLOAT32));
  gd_plan_load(f.plan, f.params);
  return f;
}

static void close_fixture(gd_fixture *f) {
  gd_plan_destroy(&f->plan);
  gd_generator_destroy(&f->teacher);
  gd_schedule_destroy(&f->schedule);
  gd_net_destroy(&f->net);
  gd_free(f->params);
  gd_free(f->teacher_params);
  gd_free(f->grads);
  gd_free(f->eps);
}

// A dataset of this strategy's group.
static float *expected(const gd_fixture *f, const char *what, int64_t count) {
  char *path = gd_format("%s/%s", gd_strategy_name(f->id), what);
  float *values = golden(file, path, count);
  gd_free(path);
  return values;
}

static void check_array(const gd_fixture *f, const char *what, const float *values, double tolerance) {
  float *wanted = expected(f, what, COUNT);
  double error = relative_error(values, wanted, COUNT);
  print_message("%s: %s differs by %.2g\n", gd_strategy_name(f->id), what, error);
  if (!(error <= tolerance)) fail_msg("%s: %s differs by %g", gd_strategy_name(f->id), what, error);
  gd_free(wanted);
}

static void check_number(const gd_fixture *f, const char *what, double value, double tolerance) {
  float *wanted = expected(f, what, 1);
  if (!(fabs(value - wanted[0]) <= tolerance * fabs(wanted[0])))
    fail_msg("%s: %s is %.9g, not %.9g", gd_strategy_name(f->id), what, value, wanted[0]);
  gd_free(wanted);
}

static void fill_current(gd_fixture *f) {
  float *x0 = golden(file, "x0", COUNT), *t = golden(file, "t", N);
  float *x = gd_plan_input(f->plan, 0);
  for (int i = 0; i < N; i++) {
    int64_t at = i * NETWORK_A_ELEMENTS;
    gd_schedule_add_noise(f->schedule, (int)t[i], NETWORK_A_ELEMENTS, x0 + at, f->eps + at, x + at);
  }
  memcpy(gd_plan_input(f->plan, 1), t, N * sizeof(float));
  gd_free(x0);
  gd_free(t);
}

static int replay_row(const gd_fixture *f) {
  return f->strategy->input == GD_INPUT_CURRENT ? 0 : N;
}

static void fill_replay(gd_fixture *f) {
  float *x = gd_plan_input(f->plan, 0) + replay_row(f) * NETWORK_A_ELEMENTS;
  float *t = gd_plan_input(f->plan, 1) + replay_row(f);
  float *times = golden(file, "t_r", N), *noise = golden(file, "eps_r", COUNT), *start = golden(file, "x_T", COUNT);
  int timesteps[N];
  for (int i = 0; i < N; i++) timesteps[i] = (int)times[i];
  bool gaussian = f->strategy->input == GD_INPUT_NOISE;
  gd_replay_draws draws = {.start = gaussian ? noise : start, .timesteps = timesteps, .noise = noise};
  gd_config_sampling sampling = {.sampler = GD_DDIM, .steps = 2};
  gd_random unused = {0};
  gd_replay_make(f->id, f->teacher, f->schedule, &sampling, unused, 0, NETWORK_A_ELEMENTS, &draws, N, x, t, f->target);
  check_array(f, "replay_input", x, 1e-4);
  check_array(f, "replay_target", f->target, 1e-4);
  gd_free(times);
  gd_free(noise);
  gd_free(start);
}

static void run_step(gd_fixture *f) {
  bool replays = f->strategy->input != GD_INPUT_NONE;
  gd_loss_rows rows = {.n_current = N,
                       .n_replay = replays ? N : 0,
                       .replay_row = replay_row(f),
                       .n_rows = gd_plan_batch(f->plan),
                       .n_elements = NETWORK_A_ELEMENTS,
                       .target_current = f->eps,
                       .target_replay = f->target,
                       .weight_current = (replays ? 1.0 / TASK : 1.0) / COUNT,
                       .weight_replay = replays ? (1.0 - 1.0 / TASK) * lambda / COUNT : 0};
  const float *output = gd_plan_forward(f->plan);
  gd_loss_gradient(&rows, output, gd_plan_output_gradient(f->plan), &f->data_loss, &f->replay_loss);
  f->data_loss /= COUNT;
  f->replay_loss /= COUNT;
  gd_plan_backward(f->plan, f->grads, NULL, NULL);
}

static void check_losses(const gd_fixture *f) {
  bool replays = f->strategy->input != GD_INPUT_NONE;
  double total = replays ? f->data_loss / TASK + (1.0 - 1.0 / TASK) * lambda * f->replay_loss : f->data_loss;
  check_number(f, "data_loss", f->data_loss, 1e-5);
  if (replays) check_number(f, "replay_loss", f->replay_loss, 1e-5);
  check_number(f, "total", total, 1e-5);
  check_number(f, "grad_norm", gd_gradient_norm(f->table, f->grads), 1e-4);
}

// Within 2e-6 for 99.9 % of the elements and 2e-4 for all; key biases have a true gradient of zero and are left out.
static void check_params(const gd_fixture *f) {
  int64_t n = 0, n_off = 0;
  for (int i = 0; i < f->table->n; i++) {
    const gd_param *p = &f->table->params[i];
    char *path = gd_format("%s/after/%s", gd_strategy_name(f->id), p->name);
    if (golden_has(file, path) && !strstr(p->name, "to_k.bias")) {
      float *wanted = golden(file, path, p->count);
      for (int64_t j = 0; j < p->count; j++) {
        float error = fabsf(f->params[p->offset + j] - wanted[j]);
        if (!(error <= 2e-4f)) fail_msg("%s: element %d differs by %g", path, (int)j, error);
        n_off += error > 2e-6f;
        n++;
      }
      gd_free(wanted);
    }
    gd_free(path);
  }
  assert_true(n > 1000);
  print_message("%s: %d of %d parameters differ by more than 2e-6\n", gd_strategy_name(f->id), (int)n_off, (int)n);
  if (n_off * 1000 > n) fail_msg("%s: %d of %d parameters differ", gd_strategy_name(f->id), (int)n_off, (int)n);
}

static void update(gd_fixture *f) {
  gd_adam adam = {.learning_rate = 2e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
  float *m = GD_NEW_ARRAY(float, f->table->total), *v = GD_NEW_ARRAY(float, f->table->total);
  float scale = (float)fmin(1.0, 1.0 / (gd_gradient_norm(f->table, f->grads) + 1e-6));
  gd_adam_step(&adam, f->table, 1, scale, 1, f->grads, f->params, m, v);
  gd_free(m);
  gd_free(v);
}

static void check_strategy(gd_strategy_id id) {
  gd_fixture f = open_fixture(id);
  fill_current(&f);
  if (f.strategy->input != GD_INPUT_NONE) fill_replay(&f);
  run_step(&f);
  check_losses(&f);
  update(&f);
  check_params(&f);
  close_fixture(&f);
}

static void finetune_holds(void **state) {
  (void)state;
  check_strategy(GD_FINETUNE);
}

static void generative_replay_holds(void **state) {
  (void)state;
  check_strategy(GD_GENERATIVE_REPLAY);
}

static void generative_distillation_holds(void **state) {
  (void)state;
  check_strategy(GD_GENERATIVE_DISTILLATION);
}

static void lwf_holds(void **state) {
  (void)state;
  check_strategy(GD_LWF);
}

static void gaussian_holds(void **state) {
  (void)state;
  check_strategy(GD_GAUSSIAN);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(finetune_holds), cmocka_unit_test(generative_replay_holds),
                                     cmocka_unit_test(generative_distillation_holds), cmocka_unit_test(lwf_holds),
                                     cmocka_unit_test(gaussian_holds)};
  return GD_TEST_MAIN(tests);
}
