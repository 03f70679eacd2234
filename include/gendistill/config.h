/* Configuration: YAML to one typed, validated struct; defaults; --set overrides; resolved dump. */
#ifndef GENDISTILL_CONFIG_H
#define GENDISTILL_CONFIG_H

#include "gendistill/base.h"
#include "gendistill/comm.h"
#include "gendistill/nn.h"

enum { GD_MAX_LEVELS = 8, GD_MAX_CLASSES = 256 };

typedef enum gd_strategy_id {
  GD_FINETUNE,
  GD_JOINT,
  GD_CUMULATIVE,
  GD_GENERATIVE_REPLAY,
  GD_GENERATIVE_DISTILLATION,
  GD_LWF,
  GD_GAUSSIAN,
  GD_N_STRATEGIES
} gd_strategy_id;

typedef enum gd_dataset_name { GD_FASHION_MNIST, GD_MNIST, GD_CIFAR10 } gd_dataset_name;
typedef enum gd_sampler { GD_DDIM, GD_DDPM } gd_sampler;
typedef enum gd_replay_source { GD_REPLAY_ONLINE, GD_REPLAY_POOL } gd_replay_source;
typedef enum gd_nonfinite { GD_NONFINITE_STOP, GD_NONFINITE_SKIP } gd_nonfinite;
typedef enum gd_extractor { GD_RESNET18, GD_INCEPTION_V3 } gd_extractor;

typedef struct gd_config_dataset {
  gd_dataset_name name; /* fashion_mnist, mnist, cifar10 */
  char *path;           /* folder with the data set's files */
  int image_size;       /* 32; larger than the files' images: bilinear; smaller: area averages */
  int limit;            /* at most so many training images a task, 0 for all */
  bool horizontal_flip; /* false */
} gd_config_dataset;

typedef struct gd_config_tasks {
  int count;                     /* 5 */
  bool seeded;                   /* true: classes to tasks by the seed */
  int n_classes[GD_MAX_CLASSES]; /* listed order: classes of task i ... */
  int *classes[GD_MAX_CLASSES];  /* ... and which */
} gd_config_tasks;

typedef struct gd_config_model {
  int n_levels;
  int block_out_channels[GD_MAX_LEVELS];
  int layers_per_block;
  bool attention[GD_MAX_LEVELS]; /* as many as block_out_channels */
  int attention_head_dim;        /* 0: one head */
  int norm_num_groups;
} gd_config_model;

typedef struct gd_config_diffusion {
  int timesteps;
  double beta_start, beta_end;
  bool zero_terminal_snr;
} gd_config_diffusion;

typedef struct gd_config_sampling {
  gd_sampler sampler;
  int steps;
  double eta; /* ddpm: eta 1 and steps = timesteps */
} gd_config_sampling;

typedef struct gd_config {
  uint64_t seed;
  gd_config_dataset dataset;
  gd_config_tasks tasks;
  gd_config_model model;
  gd_config_diffusion diffusion;
  struct {
    gd_strategy_id name;
    double lambda;
  } strategy;
  struct {
    gd_config_sampling sampling; /* keys sampler, steps, eta */
    int batch;                   /* replay images a step over all ranks; 0: as many as training.batch_size */
    gd_replay_source source;     /* of generated images: made for each step, or drawn from a pool made once a task */
    int pool_images;             /* of a pool */
    /* Most that a task's replay may take where images are generated, 0: no limit; see gd_replay_images. */
    int limit_images, limit_evaluations;
    double limit_seconds;
  } replay;
  struct {
    int epochs;
    int batch_size; /* current images a step over all ranks */
    double learning_rate;
    double gradient_clip; /* 0: off */
    gd_precision precision;
    gd_reduction reduction; /* tree, fast */
    int slots;              /* power of two, at least the rank count; 8 */
    double ema_decay;       /* 0: off */
    gd_nonfinite nonfinite; /* what to do with a step whose loss or gradient is not finite */
  } training;
  struct {
    int samples;                 /* images a sample set, 0: none */
    gd_config_sampling sampling; /* keys sampler, steps, eta */
    bool measures;               /* train measures after each task; `evaluate` always does */
    gd_extractor features;       /* resnet18, inception_v3 */
    char *inception_weights;     /* safetensors or HDF5 file of the network behind inception_v3, or "none" */
    char *cache;                 /* folder of trained classifiers and of the real images' statistics */
  } evaluation;
  struct {
    uint64_t seed;  /* its own, so that runs with different seeds share one classifier */
    int image_size; /* smaller images are enlarged to this */
    int limit;      /* at most so many training images, 0 for all */
    int epochs;
    int batch_size; /* a multiple of slots */
    double learning_rate;
    int slots; /* parts of a batch, each with its own batch statistics; more ranks than slots stay idle */
    int shift; /* training images are moved by up to so many pixels */
    bool horizontal_flip;
  } classifier;
  struct {
    int epochs; /* 0: no solver */
    int batch_size;
    double learning_rate;
    double temperature;
  } solver;
  struct {
    char *directory;
    double checkpoint_minutes; /* 0: off */
    int checkpoint_steps;      /* every so many steps of a task, 0: off */
    int keep;                  /* newest checkpoints kept besides those at the end of a task */
    double stop_seconds;       /* train stops so long before a time limit */
  } output;
  struct {
    double timeout_seconds; /* gd_watchdog_timeout: a job that stands still for so long is ended; 0: never */
  } comm;
} gd_config;

/* Reads `path`, then applies `n_sets` overrides "key.sub=value" in order, then validates. Local.
 * GD_ERR_INPUT with file, line and key (or the override's text) for an unknown key, a wrong type, a value
 * out of range or an impossible combination. path NULL: all defaults. */
gd_err gd_config_create(gd_config **out, const char *path, int n_sets, const char *const *sets);

/* The same on all ranks: rank 0 reads, so that neither files nor environments of other nodes matter. Collective on
 * comm.
 */
gd_err gd_config_read(gd_config **out, const gd_comm *comm, const char *path, int n_sets, const char *const *sets);

/* The same from YAML text; `name` stands for the file in messages. Local. */
gd_err gd_config_create_from_text(gd_config **out, const char *name, const char *text, int n_sets,
                                  const char *const *sets);
void gd_config_destroy(gd_config **config);

/* Every key with its value as YAML; reading it gives the same configuration. New string, gd_free. Local. */
char *gd_config_dump(const gd_config *config);

/* The keys on which a run's numbers depend must agree between a checkpoint's configuration and the one
 * resumed with (those of `output` and evaluation may differ). Local. GD_ERR_INPUT naming the first key. */
gd_err gd_config_require_same_run(const gd_config *stored, const gd_config *given);

/* "KEY: BEFORE becomes NOW, ..." for all keys that differ; new string, or NULL where none does. Local. */
char *gd_config_changes(const gd_config *before, const gd_config *now);

/* Whether measures with both rest on the same features, classifier and solver. Local. */
bool gd_config_same_measures(const gd_config *a, const gd_config *b);

/* Names as written in the configuration. */
const char *gd_strategy_name(gd_strategy_id id);
const char *gd_dataset_name_text(gd_dataset_name name);
int gd_dataset_channels(gd_dataset_name name); /* 1 or 3 */
const char *gd_extractor_name(gd_extractor extractor);

#endif
