/* Configurations that are right: defaults, files, overrides, the dump and the comparison of two runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gendistill/config.h"
#include "gendistill/strategy.h"
#include "support.h"

static gd_config *from_text(const char *text, int n_sets, const char *const *sets) {
  gd_config *config = NULL;
  assert_ok(gd_config_create_from_text(&config, "test.yaml", text, n_sets, sets));
  return config;
}

static void check_defaults(const gd_config *config) {
  static const int channels[] = {64, 128, 256, 512};
  assert_int_equal(config->seed, 42);
  assert_int_equal(config->dataset.name, GD_DATASET_fashion_mnist);
  assert_string_equal(config->dataset.path, "/usr/share/datasets/fashion-mnist");
  assert_int_equal(config->dataset.image_size, 32);
  assert_int_equal(config->dataset.limit, 0);
  assert_false(config->dataset.horizontal_flip);
  assert_int_equal(config->tasks.count, 5);
  assert_true(config->tasks.seeded);
  assert_int_equal(config->model.n_levels, 4);
  assert_memory_equal(config->model.block_out_channels, channels, sizeof channels);
  for (int i = 0; i < 4; i++) assert_int_equal(config->model.attention[i], i == 3);
  assert_int_equal(config->model.layers_per_block, 1);
  assert_int_equal(config->model.attention_head_dim, 8);
  assert_int_equal(config->model.norm_num_groups, 32);
  assert_int_equal(config->diffusion.timesteps, 1000);
  assert_true(config->diffusion.beta_start == 1e-4 && config->diffusion.beta_end == 0.02);
  assert_true(config->diffusion.zero_terminal_snr);
}

static void defaults_are_those_of_the_paper(void **state) {
  (void)state;
  gd_config *config = NULL;
  assert_ok(gd_config_create(&config, NULL, 0, NULL));
  check_defaults(config);
  assert_int_equal(config->strategy.name, GD_STRATEGY_generative_distillation);
  assert_true(config->strategy.lambda == 0.75);
  assert_int_equal(config->replay.sampling.sampler, GD_SAMPLER_ddim);
  assert_int_equal(config->replay.sampling.steps, 2);
  assert_true(config->replay.sampling.eta == 0.0);
  assert_int_equal(config->replay.batch, 0);
  assert_int_equal(config->training.epochs, 100);
  assert_int_equal(config->training.batch_size, 128);
  assert_true(config->training.learning_rate == 2e-4 && config->training.gradient_clip == 1.0);
  assert_int_equal(config->training.precision, GD_FLOAT32);
  assert_int_equal(config->training.reduction, GD_REDUCTION_TREE);
  assert_int_equal(config->training.slots, 8);
  assert_true(config->training.ema_decay == 0.0);
  assert_int_equal(config->evaluation.samples, 10000);
  assert_int_equal(config->evaluation.sampling.steps, 10);
  assert_string_equal(config->output.directory, "runs/fashion_mnist_gd");
  assert_true(config->output.checkpoint_minutes == 10.0);
  assert_int_equal(config->output.checkpoint_steps, 0);
  assert_int_equal(config->output.keep, 3);
  gd_config_destroy(&config);
  assert_null(config);
}

static void a_file_without_keys_gives_defaults(void **state) {
  (void)state;
  static const char *const texts[] = {"", "# nothing\n", "{}\n"};
  for (int i = 0; i < 3; i++) {
    gd_config *config = from_text(texts[i], 0, NULL);
    check_defaults(config);
    gd_config_destroy(&config);
  }
}

// Every key, none with its default value.
static const char full[] =
    "seed: 18446744073709551615\n"
    "dataset: {name: cifar10, path: \"a \\\"b\\\" \\\\ # c: d\\u00e9\", image_size: 16, limit: 7, horizontal_flip: "
    "true}\n"
    "tasks:\n"
    "  order: [[3, 1], [0], [9, 2, 4]]\n"
    "model: {block_out_channels: [12, 24], layers_per_block: 2, attention: [true, false], attention_head_dim: 0,\n"
    "        norm_num_groups: 3, dropout: 0.1, conditional: true}\n"
    "diffusion: {prediction: x0, loss_weight: min_snr, timesteps: 50, beta_start: 1e-3, beta_end: "
    "0.1234567890123456789, zero_terminal_snr: false}\n"
    "strategy: {name: gaussian, lambda: 0.1, teacher: raw, weighting: none, regulariser: ewc, regulariser_lambda: "
    "0.3,\n"
    "           fisher_images: 12, fisher_terms: task, fisher_gamma: 0.5, si_xi: 0.2}\n"
    "replay: {sampler: ddpm, guidance: 0.5, batch: 10, growing: true, buffer_images: 50, buffer_per: class,\n"
    "         pool_candidates: 3}\n"
    "training: {epochs: 3, batch_size: 4, learning_rate: 3.3333333333333335e-5, gradient_clip: 0, reduction: fast,\n"
    "           slots: 4, ema_decay: 0.999, schedule: linear, warmup: 0.1, weight_decay: 0.01, label_dropout: 0.2,\n"
    "           init: weights.h5}\n"
    "evaluation: {samples: 0, sampler: ddim, steps: 50, eta: 0.25}\n"
    "solver: {method: lwf, lambda: 2}\n"
    "output: {directory: out, checkpoint_minutes: 0.5, checkpoint_steps: 9, keep: 1,\n"
    "         mpi_hints: {striping_factor: 8, romio_cb_write: \"a \\\"b\\\" $c # d\"}}\n";

static const char flow[] =
    "diffusion: {path: flow}\n"
    "replay: {timesteps: [999, 499, 0], coupled: true}\n"
    "training: {schedule: cosine, warmup: 0.05, weight_decay: 0.01}\n"
    "evaluation: {sampler: heun}\n";

static void flow_has_defaults_of_its_own(void **state) {
  (void)state;
  gd_config *config = from_text(flow, 0, NULL);
  assert_int_equal(config->diffusion.prediction, GD_OBJECTIVE_v);
  assert_int_equal(config->replay.sampling.sampler, GD_SAMPLER_euler);
  assert_int_equal(config->replay.sampling.steps, 3);
  assert_int_equal(config->evaluation.sampling.sampler, GD_SAMPLER_heun);
  char *dump = gd_config_dump(config);
  assert_non_null(strstr(dump, "\n  timesteps: [999, 499, 0]  #"));
  assert_non_null(strstr(dump, "\n  timesteps: []  #"));
  gd_free(dump);
  gd_config_destroy(&config);
}

static void a_file_sets_every_key(void **state) {
  (void)state;
  gd_config *config = from_text(full, 0, NULL);
  assert_true(config->seed == UINT64_MAX);
  assert_int_equal(config->dataset.name, GD_DATASET_cifar10);
  assert_string_equal(config->dataset.path, "a \"b\" \\ # c: d\xc3\xa9");
  assert_true(config->dataset.horizontal_flip);
  assert_false(config->tasks.seeded);
  assert_int_equal(config->tasks.count, 3);
  assert_int_equal(config->tasks.n_classes[2], 3);
  assert_int_equal(config->tasks.classes[2][0], 9);
  assert_int_equal(config->model.n_levels, 2);
  assert_true(config->model.attention[0] && !config->model.attention[1]);
  assert_true(config->diffusion.beta_end == 0.1234567890123456789);
  assert_int_equal(config->training.reduction, GD_REDUCTION_FAST);
  assert_true(config->evaluation.sampling.eta == 0.25);
  assert_string_equal(config->output.mpi_hints, "striping_factor=8\nromio_cb_write=a \"b\" $c # d\n");
  assert_int_equal(config->model.n_classes, 10);
  assert_int_equal(config->strategy.teacher, GD_TEACHER_RAW);
  assert_int_equal(gd_sampling_evaluations(&config->replay.sampling), 100);  // 50 timesteps, and guidance
  gd_config_destroy(&config);
}

static void ddpm_takes_all_timesteps_and_eta_1(void **state) {
  (void)state;
  gd_config *config = from_text(full, 0, NULL);
  assert_int_equal(config->replay.sampling.steps, 50);
  assert_true(config->replay.sampling.eta == 1.0);
  gd_config_destroy(&config);
}

static void dump_reads_back_the_same(void **state) {
  (void)state;
  static const char *const texts[] = {"", full, flow,
                                      "tasks: {count: 2}\nstrategy: {lambda: 1e-300}\ndataset: {path: \"null\"}"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    gd_config *config = from_text(texts[i], 0, NULL);
    char *dump = gd_config_dump(config);
    gd_config *again = from_text(dump, 0, NULL);
    char *second = gd_config_dump(again);
    assert_string_equal(dump, second);
    assert_ok(gd_config_require_same_run(config, again));
    assert_string_equal(config->dataset.path, again->dataset.path);
    assert_true(config->diffusion.beta_end == again->diffusion.beta_end);
    assert_true(config->training.learning_rate == again->training.learning_rate);
    assert_true(config->strategy.lambda == again->strategy.lambda);
    assert_int_equal(config->tasks.count, again->tasks.count);
    gd_free(dump);
    gd_free(second);
    gd_config_destroy(&config);
    gd_config_destroy(&again);
  }
}

static void dump_is_plain_yaml(void **state) {
  (void)state;
  gd_config *config = from_text(full, 0, NULL);
  char *dump = gd_config_dump(config);
  assert_ptr_equal(strstr(dump, "seed: 18446744073709551615  #"), dump);
  assert_non_null(strstr(dump, "\ntasks:\n  count: 3  #"));
  assert_non_null(strstr(dump, "\n  order: [[3, 1], [0], [9, 2, 4]]  #"));
  assert_non_null(strstr(dump, "\n  block_out_channels: [12, 24]  #"));
  assert_non_null(strstr(dump, "\n  attention: [true, false]  #"));
  assert_non_null(strstr(dump, "\n  lambda: 0.1  #"));
  assert_non_null(strstr(dump, "\n  name: gaussian  #"));
  gd_free(dump);
  gd_config_destroy(&config);
}

static void overrides_win_in_order(void **state) {
  (void)state;
  static const char *const sets[] = {"training.epochs=7",
                                     "model.block_out_channels=[16, 32]",
                                     "model.attention=[false, true]",
                                     "model.norm_num_groups=8",
                                     "output.directory=runs/a=b",
                                     "training.epochs=9",
                                     "replay={steps: 4, eta: 1}",
                                     "tasks.order=seeded"};
  gd_config *config = from_text("training: {epochs: 5, slots: 2}\ntasks: {order: [[1], [2]]}\n", 8, sets);
  assert_int_equal(config->training.epochs, 9);
  assert_int_equal(config->training.slots, 2);
  assert_int_equal(config->model.n_levels, 2);
  assert_int_equal(config->model.block_out_channels[1], 32);
  assert_string_equal(config->output.directory, "runs/a=b");
  assert_int_equal(config->replay.sampling.steps, 4);
  assert_true(config->tasks.seeded);
  assert_int_equal(config->tasks.count, 5);
  gd_config_destroy(&config);
}

static void check_path(const char *written, const char *expected) {
  char *text = gd_format("dataset:\n  path: %s\n", written), *set = gd_format("dataset.path=%s", written);
  gd_config *config = from_text(text, 0, NULL);
  assert_string_equal(config->dataset.path, expected);
  char *dump = gd_config_dump(config);
  gd_config_destroy(&config);
  config = from_text(dump, 0, NULL);  // an expanded path is not expanded again
  assert_string_equal(config->dataset.path, expected);
  gd_config_destroy(&config);
  config = from_text("", 1, (const char *const *)&set);
  assert_string_equal(config->dataset.path, expected);
  gd_config_destroy(&config);
  gd_free(dump);
  gd_free(text);
  gd_free(set);
}

static void paths_are_expanded(void **state) {
  (void)state;
  setenv("HOME", "/home/u", 1);
  setenv("GD_TEST_1", "/scratch/$x y", 1);
  setenv("GD_TEST_2", "~", 1);
  check_path("~/data", "/home/u/data");
  check_path("\"~\"", "/home/u");
  check_path("$GD_TEST_1/data", "/scratch/$x y/data");
  check_path("a${GD_TEST_1}b$$GD_TEST_1", "a/scratch/$x yb$GD_TEST_1");
  check_path("$GD_TEST_2/a~", "/home/u/a~");
  check_path("./~/a", "./~/a");
}

static void overrides_of_paths_are_literal(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"output.directory=run #2", "run #2"},     {"output.directory=run: 2", "run: 2"},
      {"output.directory=[1]", "[1]"},           {"output.directory=*a", "*a"},
      {"output.directory=\"run #2\"", "run #2"}, {"output.directory='$$2'", "$2"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    gd_config *config = from_text("", 1, &cases[i][0]);
    assert_string_equal(config->output.directory, cases[i][1]);
    gd_config_destroy(&config);
  }
}

static void defaults_belong_to_the_data_set(void **state) {
  (void)state;
  gd_config *config = from_text("dataset: {name: mnist, path: data}\n", 0, NULL);
  assert_string_equal(config->output.directory, "runs/mnist_gd");
  assert_false(config->classifier.horizontal_flip);
  gd_config_destroy(&config);
  config = from_text("dataset: {name: cifar10, path: data}\noutput: {directory: out}\n", 0, NULL);
  assert_string_equal(config->dataset.path, "data");
  assert_string_equal(config->output.directory, "out");
  assert_true(config->classifier.horizontal_flip);
  gd_config_destroy(&config);
  // as in an older config.resolved.yaml: still readable
  config = from_text("dataset: {name: mnist, path: /usr/share/datasets/fashion-mnist}\n", 0, NULL);
  assert_string_equal(config->dataset.path, "/usr/share/datasets/fashion-mnist");
  gd_config_destroy(&config);
}

static void names_are_those_of_the_file(void **state) {
  (void)state;
  assert_string_equal(gd_strategy_name(GD_STRATEGY_finetune), "finetune");
  assert_string_equal(gd_strategy_name(GD_STRATEGY_generative_distillation), "generative_distillation");
  assert_string_equal(gd_strategy_name(GD_STRATEGY_gaussian), "gaussian");
  assert_string_equal(gd_dataset_name(GD_DATASET_cifar10), "cifar10");
  assert_int_equal(gd_dataset_kind_get(GD_DATASET_cifar10)->channels, 3);
  assert_int_equal(gd_dataset_kind_get(GD_DATASET_mnist)->channels, 1);
}

static void a_run_resumes_only_with_the_same_settings(void **state) {
  (void)state;
  static const struct {
    const char *set, *message;
  } cases[] = {
      {"output={directory: elsewhere, keep: 9, checkpoint_minutes: 0, checkpoint_steps: 5}", NULL},
      {"evaluation={samples: 5, steps: 3, eta: 0.5}", NULL},
      {"dataset.path=/elsewhere", NULL},
      {"training.epochs=3", "key 'training.epochs': the run was started with 100 and cannot go on with 3"},
      {"seed=1", "key 'seed': the run was started with 42 and cannot go on with 1"},
      {"tasks.order=[[0], [1]]", "key 'tasks.count': the run was started with 5 and cannot go on with 2"},
      {"strategy.name=lwf",
       "key 'strategy.name': the run was started with generative_distillation and cannot go on with lwf"},
      {"model.attention=[false, false, true, true]",
       "key 'model.attention': the run was started with [false, false, false, true] and cannot go on with "
       "[false, false, true, true]"},
  };
  gd_config *stored = from_text("", 0, NULL);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    gd_config *given = from_text("", 1, &cases[i].set);
    gd_err err = gd_config_require_same_run(stored, given);
    assert_int_equal(err, cases[i].message ? GD_ERR_INPUT : GD_OK);
    if (cases[i].message) assert_string_equal(gd_error_message(), cases[i].message);
    gd_config_destroy(&given);
  }
  gd_config_destroy(&stored);
}

static void shipped_configurations_are_valid(void **state) {
  (void)state;
  static const char *const files[] = {"quickstart", "fashion_mnist_paper", "cifar10_paper"};
  gd_config *config = NULL;
  for (int i = 0; i < 3; i++) {
    char *path = gd_format("%s/../configs/%s.yaml", GD_TEST_DATA, files[i]);
    assert_ok(gd_config_create(&config, path, 0, NULL));
    gd_config_destroy(&config);
    gd_free(path);
  }
  int n_small = 0;
  for (int id = 0; id < GD_N_STRATEGIES; id++) {
    char *path = gd_format("%s/../configs/small/%s.yaml", GD_TEST_DATA, gd_strategy_name((gd_strategy_id)id));
    if (access(path, F_OK) == 0) {
      assert_ok(gd_config_create(&config, path, 0, NULL));
      assert_int_equal(config->strategy.name, id);
      gd_config_destroy(&config);
      n_small++;
    }
    gd_free(path);
  }
  assert_true(n_small >= 7);
}

// Environment variables may differ between nodes.
static void rank_0_reads_for_all(void **state) {
  (void)state;
  static const char *const sets[] = {"output.directory=$GD_TEST_PLACE/$$x", "replay.sampler=ddpm", "dataset.name=mnist",
                                     "dataset.path=a #b"};
  gd_config *config = NULL;
  char *place = gd_format("/rank-%d", test_comm->rank);
  if (test_comm->rank < 2) setenv("GD_TEST_PLACE", place, 1);  // the third rank has none
  assert_ok(gd_config_read(&config, test_comm, NULL, 4, sets));
  assert_string_equal(config->output.directory, "/rank-0/$x");
  assert_string_equal(config->dataset.path, "a #b");
  assert_int_equal(config->replay.sampling.steps, 1000);
  gd_config_destroy(&config);
  unsetenv("GD_TEST_PLACE");
  assert_int_equal(gd_config_read(&config, test_comm, NULL, 1, sets), GD_ERR_INPUT);
  assert_null(config);
  assert_non_null(strstr(gd_error_message(), "GD_TEST_PLACE"));
  gd_free(place);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults_are_those_of_the_paper),
      cmocka_unit_test(a_file_without_keys_gives_defaults),
      cmocka_unit_test(a_file_sets_every_key),
      cmocka_unit_test(flow_has_defaults_of_its_own),
      cmocka_unit_test(ddpm_takes_all_timesteps_and_eta_1),
      cmocka_unit_test(dump_reads_back_the_same),
      cmocka_unit_test(dump_is_plain_yaml),
      cmocka_unit_test(overrides_win_in_order),
      cmocka_unit_test(paths_are_expanded),
      cmocka_unit_test(overrides_of_paths_are_literal),
      cmocka_unit_test(rank_0_reads_for_all),
      cmocka_unit_test(defaults_belong_to_the_data_set),
      cmocka_unit_test(names_are_those_of_the_file),
      cmocka_unit_test(a_run_resumes_only_with_the_same_settings),
      cmocka_unit_test(shipped_configurations_are_valid),
  };
  return GD_TEST_MAIN(tests);
}
