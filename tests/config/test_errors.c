/* Configurations that are wrong: each is refused with GD_ERR_INPUT and a message with file, line and key. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gendistill/config.h"
#include "support.h"

typedef struct bad {
  const char *text, *message;
} bad;

static void check_text(const char *text, int n_sets, const char *const *sets, const char *message) {
  gd_config *config = NULL;
  assert_int_equal(gd_config_create_from_text(&config, "bad.yaml", text, n_sets, sets), GD_ERR_INPUT);
  assert_null(config);
  assert_string_equal(gd_error_message(), message);
}

static void check_all(const bad *cases, size_t n) {
  for (size_t i = 0; i < n; i++) check_text(cases[i].text, 0, NULL, cases[i].message);
}

#define CHECK_ALL(cases) check_all(cases, sizeof(cases) / sizeof *(cases))

static void keys(void **state) {
  (void)state;
  static const bad cases[] = {
      {"seed: 1\ntraining:\n  epoch: 3\n", "bad.yaml:3: unknown key 'training.epoch', did you mean 'training.epochs'?"},
      {"batch_size: 3\n", "bad.yaml:1: unknown key 'batch_size', did you mean 'training.batch_size'?"},
      {"\nmodle: {layers_per_block: 2}\n", "bad.yaml:2: unknown key 'modle', did you mean 'model'?"},
      {"something_else_altogether: 1\n", "bad.yaml:1: unknown key 'something_else_altogether'"},
      {"seed: 1\n\nseed: 2\n", "bad.yaml:3: key 'seed' is given twice, first at bad.yaml:1"},
      {"training: {slots: 2}\ntraining: {epochs: 2}\n",
       "bad.yaml:2: key 'training' is given twice, first at bad.yaml:1"},
      {"training: {epochs: 2,\n epochs: 2}\n", "bad.yaml:2: key 'epochs' is given twice, first at bad.yaml:1"},
      {"training.epochs: 2\n",
       "bad.yaml:1: key 'training.epochs': write a section and its keys as nested mappings, without a dot"},
      {"training: 5\n", "bad.yaml:1: key 'training': must be a mapping of keys to values, is '5'"},
      {"training:\n", "bad.yaml:1: key 'training': must be a mapping of keys to values, is nothing"},
      {"- 1\n", "bad.yaml:1: must be a mapping of keys to values, is a list"},
      {"[a]: 1\n", "bad.yaml:1: a key must be a name, is a list"},
      {"\"seed\\0x\": 1\n", "bad.yaml:1: a key must be a name, is \"seed\""},
      {"seed: 1\n---\nseed: 2\n", "bad.yaml:3: a second YAML document begins here; only one is read"},
      {"tasks: {counts: 5}\n", "bad.yaml:1: unknown key 'tasks.counts', did you mean 'tasks.count'?"},
      {"output: {keep: {keep: 3}}\n", "bad.yaml:1: key 'output.keep': must be a whole number, is a mapping"},
      {"seed: &a {b: *a}\n", "bad.yaml:1: key 'seed': must be a whole number, is a mapping"},
      {"training: &a {slots: 2}\nsolver: {<<: *a}\n",
       "bad.yaml:2: merge keys (<<) are not supported: write the keys out"},
      {"model: &a {model: *a}\n", "bad.yaml:1: unknown key 'model.model', did you mean 'model'?"},
  };
  CHECK_ALL(cases);
}

static void hints(void **state) {
  (void)state;
  static const bad cases[] = {
      {"output: {mpi_hints: 8}\n",
       "bad.yaml:1: key 'output.mpi_hints': must be a mapping of hints to their values, is '8'"},
      {"output: {mpi_hints: {cb_nodes: }}\n",
       "bad.yaml:1: key 'output.mpi_hints': hint 'cb_nodes' must be a text or a number"},
      {"output: {mpi_hints: {cb_nodes: [4]}}\n",
       "bad.yaml:1: key 'output.mpi_hints': hint 'cb_nodes' must be a text or a number"},
      {"output:\n  mpi_hints:\n    cb_nodes: 4\n    cb_nodes: 5\n",
       "bad.yaml:4: key 'cb_nodes' is given twice, first at bad.yaml:3"},
      {"output: {mpi_hints: {\"cb=nodes\": 4}}\n",
       "bad.yaml:1: key 'output.mpi_hints': hint 'cb=nodes' must be UTF-8 without control characters, its name without "
       "'='"},
      {"output: {mpi_hints: {cb_nodes: \"4\\n5\"}}\n",
       "bad.yaml:1: key 'output.mpi_hints': hint 'cb_nodes' must be UTF-8 without control characters, its name without "
       "'='"},
  };
  CHECK_ALL(cases);
  char *name = gd_format("%0*d", MPI_MAX_INFO_KEY, 0), *text = gd_format("output: {mpi_hints: {a%s: 1}}\n", name);
  char *message = gd_format("bad.yaml:1: key 'output.mpi_hints': hint 'a%.99s' is longer than MPI allows", name);
  check_text(text, 0, NULL, message);
  gd_free(message);
  gd_free(text);
  gd_free(name);
}

static void types(void **state) {
  (void)state;
  static const bad cases[] = {
      {"training:\n  epochs: [3]\n", "bad.yaml:2: key 'training.epochs': must be a whole number, is a list"},
      {"training: {epochs: {a: 1}}\n", "bad.yaml:1: key 'training.epochs': must be a whole number, is a mapping"},
      {"training: {epochs: }\n", "bad.yaml:1: key 'training.epochs': must be a whole number, is nothing"},
      {"training: {epochs: 3x}\n", "bad.yaml:1: key 'training.epochs': must be a whole number, is '3x'"},
      {"training: {epochs: 3.0}\n", "bad.yaml:1: key 'training.epochs': must be a whole number, is '3.0'"},
      {"training: {epochs: \"3\"}\n", "bad.yaml:1: key 'training.epochs': must be a whole number, is \"3\""},
      {"training: {epochs: 0x10}\n", "bad.yaml:1: key 'training.epochs': must be a whole number, is '0x10'"},
      {"strategy: {lambda: 1.0 m}\n", "bad.yaml:1: key 'strategy.lambda': must be a number, is '1.0 m'"},
      {"strategy: {lambda: 1.0.0}\n", "bad.yaml:1: key 'strategy.lambda': must be a number, is '1.0.0'"},
      {"strategy: {lambda: nan}\n", "bad.yaml:1: key 'strategy.lambda': must be a number, is 'nan'"},
      {"strategy: {lambda: .inf}\n", "bad.yaml:1: key 'strategy.lambda': must be a number, is '.inf'"},
      {"strategy: {lambda: 0x1p3}\n", "bad.yaml:1: key 'strategy.lambda': must be a number, is '0x1p3'"},
      {"dataset: {horizontal_flip: 1}\n", "bad.yaml:1: key 'dataset.horizontal_flip': must be true or false, is '1'"},
      {"strategy: {name: rehearsal}\n",
       "bad.yaml:1: key 'strategy.name': must be joint, cumulative, isolated, generative_distillation, "
       "trajectory_distillation, partial_distillation, generative_replay, experience_distillation, experience_replay, "
       "lwf, gaussian, gaussian_symmetry, ewc, ewc_rank1, si or finetune, "
       "is 'rehearsal'"},
      {"training: {precision: float64}\n",
       "bad.yaml:1: key 'training.precision': must be float32 or bfloat16, is 'float64'"},
      {"seed: 1.5\n", "bad.yaml:1: key 'seed': must be a whole number, is '1.5'"},
      {"evaluation: {measures: yes}\n", "bad.yaml:1: key 'evaluation.measures': must be true or false, is 'yes'"},
      {"dataset: {name: cifar100}\n",
       "bad.yaml:1: key 'dataset.name': must be fashion_mnist, mnist or cifar10, is 'cifar100'"},
      {"replay: {sampler: [ddim]}\n",
       "bad.yaml:1: key 'replay.sampler': must be ddim, ddpm, dpmpp_2m, unipc, euler, midpoint or heun, is a list"},
      {"replay: {timesteps: 899}\n", "bad.yaml:1: key 'replay.timesteps': must be a list of whole numbers, is '899'"},
      {"replay: {timesteps: [899, 4x]}\n", "bad.yaml:1: key 'replay.timesteps': must be a whole number, is '4x'"},
      {"training: {reduction: sum}\n", "bad.yaml:1: key 'training.reduction': must be tree or fast, is 'sum'"},
      {"training: {nonfinite: ignore}\n", "bad.yaml:1: key 'training.nonfinite': must be stop or skip, is 'ignore'"},
      {"output: {directory: }\n", "bad.yaml:1: key 'output.directory': must be a text, is nothing"},
      {"output: {directory: \"\"}\n", "bad.yaml:1: key 'output.directory': must be a text, is \"\""},
      {"output: {directory: \"a\\0b\"}\n",
       "bad.yaml:1: key 'output.directory': must be a text in UTF-8 without control characters, is \"a\""},
      {"output: {directory: \"a\\u2028b\"}\n",
       "bad.yaml:1: key 'output.directory': must be a text in UTF-8 without control characters, is \"a\xe2\x80\xa8"
       "b\""},
      {"output: {directory: \"$GD_TEST_UNSET/run\"}\n",
       "bad.yaml:1: key 'output.directory': '$GD_TEST_UNSET/run': the environment variable GD_TEST_UNSET is not set"},
      {"output: {directory: \"a/${GD_TEST_EMPTY}\"}\n",
       "bad.yaml:1: key 'output.directory': 'a/${GD_TEST_EMPTY}': the environment variable GD_TEST_EMPTY is empty"},
      {"evaluation: {cache: $GD_TEST_BINARY}\n",
       "bad.yaml:1: key 'evaluation.cache': must be a text in UTF-8 without control characters, is '$GD_TEST_BINARY'"},
      {"dataset: {path: ~root/data}\n",
       "bad.yaml:1: key 'dataset.path': '~root/data': only ~ and ~/ are expanded, not another user's folder"},
      {"dataset: {path: $1}\n",
       "bad.yaml:1: key 'dataset.path': '$1': a $ must begin $NAME or ${NAME}; $$ is the character itself"},
      {"dataset:\n  path: ${HOME\n",
       "bad.yaml:2: key 'dataset.path': '${HOME': a $ must begin $NAME or ${NAME}; $$ is the character itself"},
      {"model: {block_out_channels: 64}\n",
       "bad.yaml:1: key 'model.block_out_channels': must be a list of whole numbers, is '64'"},
      {"model: {block_out_channels: []}\n",
       "bad.yaml:1: key 'model.block_out_channels': must have 1 to 8 entries, has 0"},
      {"model: {attention: [1, 1, 1, 1, 1, 1, 1, 1, 1]}\n",
       "bad.yaml:1: key 'model.attention': must have 1 to 8 entries, has 9"},
      {"model:\n  attention: [true,\n    2]\n", "bad.yaml:3: key 'model.attention': must be true or false, is '2'"},
      {"tasks: {order: sorted}\n",
       "bad.yaml:1: key 'tasks.order': must be seeded or a list with a list of classes for each task, is 'sorted'"},
      {"tasks: {order: [0, 1]}\n",
       "bad.yaml:1: key 'tasks.order': must be seeded or a list with a list of classes for each task, is '0'"},
      {"tasks: {order: [[0], []]}\n", "bad.yaml:1: key 'tasks.order': must have 1 to 256 entries, has 0"},
  };
  setenv("GD_TEST_EMPTY", "", 1);
  setenv("GD_TEST_BINARY", "a\xff", 1);
  CHECK_ALL(cases);
}

static void choices(void **state) {
  (void)state;
  static const bad cases[] = {
      {"diffusion: {path: straight}\n", "bad.yaml:1: key 'diffusion.path': must be diffusion or flow, is 'straight'"},
      {"diffusion: {prediction: noise}\n",
       "bad.yaml:1: key 'diffusion.prediction': must be epsilon, v or x0, is 'noise'"},
      {"diffusion: {loss_weight: snr}\n", "bad.yaml:1: key 'diffusion.loss_weight': must be none or min_snr, is 'snr'"},
      {"strategy: {teacher: best}\n", "bad.yaml:1: key 'strategy.teacher': must be ema or raw, is 'best'"},
      {"training: {schedule: step}\n",
       "bad.yaml:1: key 'training.schedule': must be constant, cosine or linear, is 'step'"},
  };
  CHECK_ALL(cases);
}

static void ranges(void **state) {
  (void)state;
  static const bad cases[] = {
      {"training: {epochs: 0}\n", "bad.yaml:1: key 'training.epochs': must be between 1 and 1000000, is '0'"},
      {"training: {epochs: 99999999999999999999}\n",
       "bad.yaml:1: key 'training.epochs': must be between 1 and 1000000, is '99999999999999999999'"},
      {"seed: -1\n", "bad.yaml:1: key 'seed': must be between 0 and 18446744073709551615, is '-1'"},
      {"seed: 18446744073709551616\n",
       "bad.yaml:1: key 'seed': must be between 0 and 18446744073709551615, is '18446744073709551616'"},
      {"strategy: {lambda: -0.1}\n", "bad.yaml:1: key 'strategy.lambda': must be between 0 and 1000000, is '-0.1'"},
      {"strategy: {lambda: 1e999}\n", "bad.yaml:1: key 'strategy.lambda': must be between 0 and 1000000, is '1e999'"},
      {"diffusion: {timesteps: 1}\n", "bad.yaml:1: key 'diffusion.timesteps': must be between 2 and 100000, is '1'"},
      {"diffusion: {beta_end: 1.0}\n",
       "bad.yaml:1: key 'diffusion.beta_end': must be between 1e-06 and 0.999, is '1.0'"},
      {"diffusion: {beta_start: 1e-9, beta_end: 1e-8}\n",
       "bad.yaml:1: key 'diffusion.beta_end': must be between 1e-06 and 0.999, is '1e-8'"},
      {"replay: {eta: 1.5}\n", "bad.yaml:1: key 'replay.eta': must be between 0 and 1, is '1.5'"},
      {"training: {batch_size: 65537}\n",
       "bad.yaml:1: key 'training.batch_size': must be between 1 and 65536, is '65537'"},
      {"training: {slots: 0}\n", "bad.yaml:1: key 'training.slots': must be between 1 and 65536, is '0'"},
      {"training: {ema_decay: 1.0}\n",
       "bad.yaml:1: key 'training.ema_decay': must be between 0 and 0.999999, is '1.0'"},
      {"dataset: {limit: -1}\n", "bad.yaml:1: key 'dataset.limit': must be between 0 and 2147483647, is '-1'"},
      {"dataset: {limit: 2147483648}\n",
       "bad.yaml:1: key 'dataset.limit': must be between 0 and 2147483647, is '2147483648'"},
      {"model: {block_out_channels: [64, 128, 256, 16385]}\n",
       "bad.yaml:1: key 'model.block_out_channels': must be between 2 and 16384, is '16385'"},
      {"tasks: {count: 257}\n", "bad.yaml:1: key 'tasks.count': must be between 1 and 256, is '257'"},
      {"solver: {loss: swapped}\n", "bad.yaml:1: key 'solver.loss': must be standard or reference, is 'swapped'"},
      {"solver: {temperature: 0}\n", "bad.yaml:1: key 'solver.temperature': must be between 0.01 and 1000, is '0'"},
      {"training: {warmup: 1.5}\n", "bad.yaml:1: key 'training.warmup': must be between 0 and 1, is '1.5'"},
      {"training: {weight_decay: -1}\n", "bad.yaml:1: key 'training.weight_decay': must be between 0 and 10, is '-1'"},
      {"evaluation: {timesteps: [-1]}\n",
       "bad.yaml:1: key 'evaluation.timesteps': must be between 0 and 99999, is '-1'"},
      {"output: {keep: 0}\n", "bad.yaml:1: key 'output.keep': must be between 1 and 1000000, is '0'"},
      {"dataset: {image_size: 4}\n", "bad.yaml:1: key 'dataset.image_size': must be between 8 and 1024, is '4'"},
      {"tasks: {order: [[256]]}\n", "bad.yaml:1: key 'tasks.order': must be between 0 and 255, is '256'"},
  };
  CHECK_ALL(cases);
}

static void combinations(void **state) {
  (void)state;
  static const bad cases[] = {
      {"seed: 1\nmodel: {block_out_channels: [32, 64]}\n",
       "bad.yaml:2: key 'model.attention': must have as many entries as model.block_out_channels, has 4, not 2"},
      {"model: {block_out_channels: [33, 64, 64, 64]}\n",
       "bad.yaml:1: key 'model.block_out_channels': the first must be even, for the time embedding, is '33'"},
      {"model: {block_out_channels: [32, 48, 64, 64]}\n",
       "bad.yaml:1: key 'model.norm_num_groups': must divide every channel count, 32 does not divide 48"},
      {"model: {attention_head_dim: 7}\n",
       "bad.yaml:1: key 'model.attention_head_dim': must divide the channels of each level with attention and of the "
       "last, 7 does not divide 512"},
      {"model: {attention: [true, false, false, false], attention_head_dim: 128}\n",
       "bad.yaml:1: key 'model.attention_head_dim': must divide the channels of each level with attention and of the "
       "last, 128 does not divide 64"},
      {"dataset: {image_size: 28}\n",
       "bad.yaml:1: key 'dataset.image_size': must be divisible by 8 for 4 levels, is '28'"},
      {"training: {slots: 131072}\n", "bad.yaml:1: key 'training.slots': must be between 1 and 65536, is '131072'"},
      {"training: {slots: 12}\n", "bad.yaml:1: key 'training.slots': must be a power of two, is '12'"},
      {"training: {slots: 16, batch_size: 8}\n",
       "bad.yaml:1: key 'training.slots': must be at most training.batch_size (8), is '16': a slot needs an image of "
       "each batch"},
      {"classifier: {slots: 3}\n", "bad.yaml:1: key 'classifier.slots': must be a power of two, is '3'"},
      {"classifier: {batch_size: 30}\n",
       "bad.yaml:1: key 'classifier.batch_size': must be a multiple of classifier.slots (4) and at least twice as "
       "large, "
       "is '30'"},
      {"classifier: {batch_size: 4}\n",
       "bad.yaml:1: key 'classifier.batch_size': must be a multiple of classifier.slots (4) and at least twice as "
       "large, "
       "is '4'"},
      {"replay: {steps: 10, limit_evaluations: 19}\n",
       "bad.yaml:1: key 'replay.limit_evaluations': must be 0 or at least twice the evaluations per image of "
       "replay.steps (10), is '19'"},
      {"evaluation: {measures: true, samples: 1}\n",
       "bad.yaml:1: key 'evaluation.samples': must be at least 2 where evaluation.measures is true, is '1'"},
      {"evaluation: {features: inception_v3}\n",
       "bad.yaml:1: key 'evaluation.inception_weights': must name a file where evaluation.features is inception_v3"},
      {"model: {norm_num_groups: 24}\n",
       "bad.yaml:1: key 'model.norm_num_groups': must divide every channel count, 24 does not divide 64"},
      {"tasks: {count: 11}\n", "bad.yaml:1: key 'tasks.count': 10 classes cannot be divided into 11 equal tasks"},
      {"dataset: {image_size: 36}\nmodel: {block_out_channels: [32, 32, 32, 32]}\n",
       "bad.yaml:1: key 'dataset.image_size': must be divisible by 8 for 4 levels, is '36'"},
      {"diffusion: {timesteps: 5}\n",
       "bad.yaml:1: key 'evaluation.steps': must be at most diffusion.timesteps (5), is '10'"},
      {"replay:\n  steps: 1001\n",
       "bad.yaml:2: key 'replay.steps': must be at most diffusion.timesteps (1000), is '1001'"},
      {"replay: {sampler: ddpm, steps: 2}\n",
       "bad.yaml:1: key 'replay.steps': the sampler ddpm takes all 1000 timesteps: leave the key out, is '2'"},
      {"replay: {sampler: ddpm, steps: 1000, eta: 0}\n",
       "bad.yaml:1: key 'replay.eta': the sampler ddpm has eta 1: leave the key out, is '0'"},
      {"evaluation:\n  sampler: ddpm\n  eta: 0.5\n",
       "bad.yaml:3: key 'evaluation.eta': the sampler ddpm has eta 1: leave the key out, is '0.5'"},
      {"diffusion: {beta_start: 0.02}\n",
       "bad.yaml:1: key 'diffusion.beta_start': must be below diffusion.beta_end, 0.02 is not below 0.02"},
      {"tasks: {count: 3}\n", "bad.yaml:1: key 'tasks.count': 10 classes cannot be divided into 3 equal tasks"},
      {"tasks:\n  order: [[0, 1], [2, 3]]\n  count: 5\n",
       "bad.yaml:3: key 'tasks.count': is '5', but tasks.order lists 2 tasks"},
      {"tasks: {order: [[0, 1], [2, 0]]}\n", "bad.yaml:1: key 'tasks.order': class 0 is listed twice"},
      {"tasks: {order: [[0, 1], [2, 10]]}\n",
       "bad.yaml:1: key 'tasks.order': class 10 does not exist, fashion_mnist has 0 to 9"},
      {"seed: 1\ndataset: {name: mnist}\n",
       "bad.yaml:2: key 'dataset.path': must name the folder with the files of mnist"},
      {"dataset: {name: cifar10}\n", "bad.yaml:1: key 'dataset.path': must name the folder with the files of cifar10"},
  };
  CHECK_ALL(cases);
}

static void sampling(void **state) {
  (void)state;
  static const bad cases[] = {
      {"evaluation: {sampler: unipc, eta: 0.5}\n",
       "bad.yaml:1: key 'evaluation.eta': the sampler unipc has eta 0: leave the key out, is '0.5'"},
      {"replay: {sampler: ddpm, timesteps: [999, 499]}\n",
       "bad.yaml:1: key 'replay.timesteps': the sampler ddpm takes all 1000 timesteps: leave the key out"},
      {"replay:\n  timesteps: [1000]\n",
       "bad.yaml:2: key 'replay.timesteps': must be below diffusion.timesteps (1000), has '1000'"},
      {"replay: {timesteps: [899, 499, 499]}\n", "bad.yaml:1: key 'replay.timesteps': must fall, has 499 behind 499"},
      {"replay: {sampler: heun, steps: 3, limit_evaluations: 9}\n",
       "bad.yaml:1: key 'replay.limit_evaluations': must be 0 or at least twice the evaluations per image of "
       "replay.steps (5), is '9'"},
      {"replay: {sampler: euler}\n",
       "bad.yaml:1: key 'replay.sampler': must be ddim, ddpm, dpmpp_2m, unipc or heun for diffusion.path diffusion, is "
       "'euler'"},
      {"seed: 1\ndiffusion: {path: flow}\nevaluation: {sampler: ddim}\n",
       "bad.yaml:3: key 'evaluation.sampler': must be euler, midpoint or heun for diffusion.path flow, is 'ddim'"},
      {"evaluation: {guidance: 1}\n", "bad.yaml:1: key 'evaluation.guidance': needs model.conditional, is '1'"},
      {"model: {conditional: true}\ntraining: {label_dropout: 0}\nreplay: {guidance: 0.5}\n",
       "bad.yaml:3: key 'replay.guidance': needs training.label_dropout above 0, so that the network learns the null "
       "class"},
      {"replay: {buffer_images: 9}\n",
       "bad.yaml:1: key 'replay.buffer_images': must be at least the number of classes (10), is '9'"},
      {"replay: {buffer_per: task}\n", "bad.yaml:1: key 'replay.buffer_per': must be total or class, is 'task'"},
      {"strategy: {name: lwf}\nreplay: {growing: true}\n",
       "bad.yaml:2: key 'replay.growing': is not for strategy lwf, which replays the current batch"},
      {"strategy: {name: gaussian}\nreplay: {skip_snr: 0.01}\n",
       "bad.yaml:2: key 'replay.skip_snr': is for generative_distillation and generative_replay with replay.source "
       "online"},
      {"replay: {skip_snr: 0.01, source: pool}\n",
       "bad.yaml:1: key 'replay.skip_snr': is for generative_distillation and generative_replay with replay.source "
       "online"},
      {"diffusion: {path: flow}\nreplay: {skip_snr: 0.01, coupled: true}\n",
       "bad.yaml:2: key 'replay.skip_snr': cannot be combined with replay.coupled"},
      {"strategy: {name: trajectory_distillation}\nreplay: {sampler: heun}\n",
       "bad.yaml:2: key 'replay.sampler': must evaluate the network once per step for strategy "
       "trajectory_distillation: heun "
       "does not, or takes all timesteps"},
      {"strategy: {name: partial_distillation}\nreplay: {sampler: ddpm}\n",
       "bad.yaml:2: key 'replay.sampler': must evaluate the network once per step for strategy partial_distillation: "
       "ddpm "
       "does not, or takes all timesteps"},
      {"strategy: {name: trajectory_distillation}\nmodel: {conditional: true}\nreplay: {guidance: 1}\n",
       "bad.yaml:3: key 'replay.guidance': must be 0 for strategy trajectory_distillation"},
      {"strategy: {name: partial_distillation}\nreplay: {source: pool}\n",
       "bad.yaml:2: key 'replay.source': must be online for strategy partial_distillation"},
      {"strategy: {name: partial_distillation}\nreplay: {timesteps: [899, 499]}\n",
       "bad.yaml:2: key 'replay.timesteps': is not for strategy partial_distillation, which goes to random timesteps"},
      {"replay: {coupled: true}\n", "bad.yaml:1: key 'replay.coupled': is for diffusion.path flow, not diffusion"},
      {"diffusion: {path: flow}\nreplay: {coupled: true, limit_seconds: 5}\n",
       "bad.yaml:2: key 'replay.coupled': cannot be combined with replay.limit_seconds"},
      {"diffusion: {path: flow, prediction: epsilon}\n",
       "bad.yaml:1: key 'diffusion.prediction': must be v for diffusion.path flow"},
      {"diffusion: {path: flow, loss_weight: min_snr}\n",
       "bad.yaml:1: key 'diffusion.loss_weight': must be none for diffusion.path flow"},
  };
  CHECK_ALL(cases);
}

static void strategies_and_pools(void **state) {
  (void)state;
  static const bad cases[] = {
      {"strategy: {name: isolated}\nmodel: {conditional: true}\n",
       "bad.yaml:2: key 'model.conditional': must be false for strategy isolated: its networks know their tasks"},
      {"strategy: {name: isolated}\ntraining: {init: w.h5}\n",
       "bad.yaml:2: key 'training.init': must be none for strategy isolated, which begins anew with each task"},
      {"strategy: {name: isolated}\nsolver: {replay: fresh}\n",
       "bad.yaml:2: key 'solver.replay': must be sample_set for strategy isolated, which has several generators"},
      {"replay: {pool_targets: true}\n",
       "bad.yaml:1: key 'replay.pool_targets': is for generative_distillation with replay.source pool"},
      {"model: {conditional: true}\nreplay: {source: pool, pool_targets: true}\n",
       "bad.yaml:2: key 'replay.pool_targets': cannot be combined with model.conditional"},
      {"replay: {pool_refresh: 0.5}\n", "bad.yaml:1: key 'replay.pool_refresh': is for replay.source pool"},
      {"replay: {source: pool, pool_refresh: 1.5}\n",
       "bad.yaml:1: key 'replay.pool_refresh': must be between 0 and 1, is '1.5'"},
      {"replay: {source: pool, pool_refresh: 0.5, limit_seconds: 5}\n",
       "bad.yaml:1: key 'replay.pool_refresh': cannot be combined with replay.limit_seconds"},
      {"replay: {source: pool, pool_balance: solver, pool_refresh: 0.5}\nevaluation: {measures: true}\n",
       "bad.yaml:1: key 'replay.pool_refresh': cannot be combined with replay.pool_balance"},
      {"replay: {source: pool, pool_refresh: 0.5, limit_images: 20}\n",
       "bad.yaml:1: key 'replay.limit_images': must be 0 or at least the images made for each image of the pool "
       "(50.5), is '20'"},
      {"replay: {source: pool, pool_refresh: 0.5, limit_evaluations: 200}\n",
       "bad.yaml:1: key 'replay.limit_evaluations': must be 0 or at least twice the evaluations for an image of the "
       "pool "
       "(101), is '200'"},
      {"replay: {pool_balance: solver}\n", "bad.yaml:1: key 'replay.pool_balance': is for replay.source pool"},
      {"replay: {source: pool, pool_balance: solver}\n",
       "bad.yaml:1: key 'replay.pool_balance': needs the solver: evaluation.measures true and solver.epochs above 0"},
      {"model: {conditional: true}\nreplay: {source: pool, pool_balance: solver}\n",
       "bad.yaml:2: key 'replay.pool_balance': must be none for model.conditional, whose pools are balanced by their "
       "labels"},
      {"solver: {method: replay}\n",
       "bad.yaml:1: key 'solver.method': must be generated, finetune, cumulative, lwf, ewc or si, is 'replay'"},
      {"strategy: {name: joint}\nsolver: {method: lwf}\n",
       "bad.yaml:2: key 'solver.method': must be generated for strategy joint, which has one task"},
      {"solver: {method: si}\nevaluation: {measures: true}\nreplay: {source: pool, pool_balance: solver}\n",
       "bad.yaml:3: key 'replay.pool_balance': needs the solver with solver.method generated"},
      {"solver: {lambda: -1}\n", "bad.yaml:1: key 'solver.lambda': must be between 0 and 1000000000000, is '-1'"},
      {"replay: {pool_balance: classes}\n",
       "bad.yaml:1: key 'replay.pool_balance': must be none or solver, is 'classes'"},
      {"replay: {pool_candidates: 0}\n", "bad.yaml:1: key 'replay.pool_candidates': must be between 1 and 100, is '0'"},
      {"solver: {replay: pool}\n", "bad.yaml:1: key 'solver.replay': must be sample_set or fresh, is 'pool'"},
      {"strategy: {name: isolated, regulariser: si}\n",
       "bad.yaml:1: key 'strategy.regulariser': must be none for strategy isolated, whose networks have nothing to "
       "keep"},
      {"strategy: {regulariser: l2}\n",
       "bad.yaml:1: key 'strategy.regulariser': must be none, ewc, ewc_rank1 or si, is 'l2'"},
      {"strategy: {name: ewc, regulariser: si}\n",
       "bad.yaml:1: key 'strategy.regulariser': must be none for strategy ewc, which is one itself"},
      {"strategy: {name: joint, regulariser: ewc}\n",
       "bad.yaml:1: key 'strategy.regulariser': must be none for strategy joint, which has one task"},
      {"strategy: {fisher_images: 0}\n",
       "bad.yaml:1: key 'strategy.fisher_images': must be between 1 and 100000000, is '0'"},
      {"strategy: {fisher_gamma: 2}\n", "bad.yaml:1: key 'strategy.fisher_gamma': must be between 0 and 1, is '2'"},
      {"strategy: {weighting: both}\n", "bad.yaml:1: key 'strategy.weighting': must be task or none, is 'both'"},
  };
  CHECK_ALL(cases);
}

static void overrides(void **state) {
  (void)state;
  static const bad cases[] = {
      {"training.epochs=0", "--set training.epochs=0: key 'training.epochs': must be between 1 and 1000000, is '0'"},
      {"training.epoch=1", "--set training.epoch=1: unknown key 'training.epoch', did you mean 'training.epochs'?"},
      {"training.epochs", "--set training.epochs: must be KEY=VALUE"},
      {"=3", "--set =3: must be KEY=VALUE"},
      {"training.epochs=", "--set training.epochs=: has no value"},
      {"training=3", "--set training=3: key 'training': must be a mapping of keys to values, is '3'"},
      {"model.block_out_channels=[1",
       "--set model.block_out_channels=[1: not valid YAML: did not find expected ',' or ']'"},
      {"training.slots=3", "--set training.slots=3: key 'training.slots': must be a power of two, is '3'"},
      {"tasks.count=5", "--set tasks.count=5: key 'tasks.count': is '5', but tasks.order lists 2 tasks"},
      {"model.block_out_channels=[64]",
       "--set model.block_out_channels=[64]: key 'model.attention': must have as many entries as "
       "model.block_out_channels, has 4, not 1"},
      {"dataset.name=mnist",
       "--set dataset.name=mnist: key 'dataset.path': must name the folder with the files of mnist"},
      {"output.directory=", "--set output.directory=: has no value"},
      {"output.directory=a\nb",
       "--set output.directory=a\nb: key 'output.directory': must be a text in UTF-8 without control characters, is "
       "\"a\nb\""},
      {"output.directory=a\xff",
       "--set output.directory=a\xff: key 'output.directory': must be a text in UTF-8 without control characters, is "
       "\"a\xff\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    check_text("seed: 3\ntasks: {order: [[0], [1]]}\n", 1, &cases[i].text, cases[i].message);
}

// libyaml gives the text of the problem; the place before it is ours.
static void broken_yaml(void **state) {
  (void)state;
  static const bad cases[] = {
      {"seed: 1\ntraining: {epochs: 3\n", "bad.yaml:3: not valid YAML: "},
      {"seed: *a\n", "bad.yaml:1: not valid YAML: found undefined alias"},
      {"seed: 1\n\tx: 2\n", "bad.yaml:2: not valid YAML: "},
      {"seed: \xff\n", "bad.yaml: not valid YAML: "},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    gd_config *config = NULL;
    assert_int_equal(gd_config_create_from_text(&config, "bad.yaml", cases[i].text, 0, NULL), GD_ERR_INPUT);
    if (strncmp(gd_error_message(), cases[i].message, strlen(cases[i].message)) != 0)
      fail_msg("'%s' does not begin with '%s'", gd_error_message(), cases[i].message);
  }
}

static void write_bytes(const char *path, const char *bytes, size_t nbytes) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
  assert_int_equal(fclose(file), 0);
}

static void check_file(const char *path, const char *after) {
  gd_config *config = NULL;
  char *message = gd_format("%s%s", path, after);
  assert_int_equal(gd_config_create(&config, path, 0, NULL), GD_ERR_INPUT);
  assert_null(config);
  assert_string_equal(gd_error_message(), message);
  gd_free(message);
}

// A text of n copies of `piece` behind "seed: ".
static char *repeated(const char *piece, size_t n) {
  char *text = NULL;
  FILE *out = gd_text_begin(&text);
  fprintf(out, "seed: ");
  for (size_t i = 0; i < n; i++) fputs(piece, out);
  gd_text_end(out);
  return text;
}

// Texts for which libyaml needs quadratic time.
static void costly_texts(void **state) {
  (void)state;
  char *deep = repeated("[", 60000), *deep_lines = repeated("[\n", 30000), *long_text = repeated("&a x,", 60000);
  check_text(deep, 0, NULL, "bad.yaml:1: nested too deeply");
  check_text(deep_lines, 0, NULL, "bad.yaml:16: nested too deeply");
  check_text(long_text, 0, NULL, "bad.yaml: too large for a configuration");
  gd_free(deep);
  gd_free(deep_lines);
  gd_free(long_text);
}

static void files(void **state) {
  (void)state;
  char *folder = test_folder_create(), *path = gd_format("%s/a.yaml", folder);
  check_file(path, ": cannot open: No such file or directory");
  check_file(folder, ": cannot read: Is a directory");
  write_bytes(path, "seed: 1\0\n", 9);
  check_file(path, ": not a text file");
  write_bytes(path, "\n\nseed: x\n", 10);
  check_file(path, ":3: key 'seed': must be a whole number, is 'x'");
  size_t large = (1 << 16) + 1;
  char *bytes = gd_alloc(large);
  memset(bytes, '#', large);
  write_bytes(path, bytes, large);
  check_file(path, ": too large for a configuration");
  gd_free(bytes);
  gd_free(path);
  test_folder_remove(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys),         cmocka_unit_test(types),     cmocka_unit_test(ranges),
      cmocka_unit_test(combinations), cmocka_unit_test(sampling),  cmocka_unit_test(strategies_and_pools),
      cmocka_unit_test(choices),      cmocka_unit_test(overrides), cmocka_unit_test(broken_yaml),
      cmocka_unit_test(costly_texts), cmocka_unit_test(files),     cmocka_unit_test(hints),
  };
  return GD_TEST_MAIN(tests);
}
