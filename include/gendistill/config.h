/* Configuration: YAML to one typed, validated struct; defaults; --set overrides; resolved dump. */
#ifndef GENDISTILL_CONFIG_H
#define GENDISTILL_CONFIG_H

#include "gendistill/comm.h"
#include "gendistill/data.h"
#include "gendistill/diffusion.h"
#include "gendistill/model.h"
#include "gendistill/nn.h"

/* All strategies by name, in the order of reports. A new one is one word here, and a gd_strategy gd_strategy_<name> in
 * src/strategy. */
// clang-format off
#define GD_STRATEGIES(ROW) \
  ROW(joint) ROW(cumulative) ROW(isolated) ROW(generative_distillation) ROW(trajectory_distillation) ROW(partial_distillation) \
  ROW(generative_replay) ROW(experience_distillation) ROW(experience_replay) ROW(lwf) ROW(gaussian) \
  ROW(gaussian_symmetry) ROW(ewc) ROW(ewc_rank1) ROW(si) ROW(finetune)
// clang-format on

#define GD_STRATEGY_ID(name) GD_STRATEGY_##name,
typedef enum gd_strategy_id { GD_STRATEGIES(GD_STRATEGY_ID) GD_N_STRATEGIES } gd_strategy_id;

/* All regularisers by name. A new one is one word here, and a gd_regulariser gd_regulariser_<name> in src/strategy. */
#define GD_REGULARISERS(ROW) ROW(ewc) ROW(ewc_rank1) ROW(si)

#define GD_REGULARISER_ID(name) GD_REGULARISER_##name,
typedef enum gd_regulariser_id { GD_NO_REGULARISER, GD_REGULARISERS(GD_REGULARISER_ID) } gd_regulariser_id;

/* EWC's terms: one that is added up over the tasks, or one per task. */
typedef enum gd_fisher_terms { GD_FISHER_ONLINE, GD_FISHER_PER_TASK } gd_fisher_terms;

/* Where strategies that replay generated images take them from: a gd_replay_source gd_source_<name> in src/strategy. */
#define GD_GENERATED_SOURCES(ROW) ROW(online) ROW(pool)

#define GD_GENERATED_SOURCE_ID(name) GD_GENERATED_SOURCE_##name,
typedef enum gd_generated_source_id { GD_GENERATED_SOURCES(GD_GENERATED_SOURCE_ID) } gd_generated_source_id;

/* What a teacher is a copy of; GD_TEACHER_EMA: of the parameters where there is no average. */
typedef enum gd_teacher { GD_TEACHER_EMA, GD_TEACHER_RAW } gd_teacher;

/* Weights of the loss's halves; see gd_loss_weigh. */
typedef enum gd_weighting { GD_WEIGHTING_TASK, GD_WEIGHTING_NONE } gd_weighting;

/* What replay.buffer_images counts: all images of the buffer, or those of each class. */
typedef enum gd_buffer_per { GD_BUFFER_TOTAL, GD_BUFFER_PER_CLASS } gd_buffer_per;

/* Cross entropy of the generated images' soft labels; as the reference has it, with the two softmaxes swapped. */
typedef enum gd_solver_loss { GD_SOLVER_STANDARD, GD_SOLVER_REFERENCE } gd_solver_loss;

/* What a solver learns besides its task's images; src/eval/solver_method.c has the table. */
typedef enum gd_solver_method_id {
  GD_SOLVER_GENERATED,
  GD_SOLVER_FINETUNE,
  GD_SOLVER_CUMULATIVE,
  GD_SOLVER_LWF,
  GD_SOLVER_EWC,
  GD_SOLVER_SI,
  GD_N_SOLVER_METHODS
} gd_solver_method_id;

/* Where a solver's generated images come from: the sample set after the task before, or the generator, for each step.
 */
typedef enum gd_solver_replay { GD_SOLVER_SAMPLE_SET, GD_SOLVER_FRESH } gd_solver_replay;

typedef enum gd_nonfinite { GD_NONFINITE_STOP, GD_NONFINITE_SKIP } gd_nonfinite;

/* Which images of a pool are drawn: all, or equally many of each class as the solver labels them. */
typedef enum gd_pool_balance { GD_BALANCE_NONE, GD_BALANCE_SOLVER } gd_pool_balance;
typedef enum gd_extractor { GD_RESNET18, GD_INCEPTION_V3 } gd_extractor;

typedef struct gd_config {
  uint64_t seed;
  gd_dataset_config dataset;
  gd_tasks_config tasks;
  gd_unet_config model;
  gd_diffusion diffusion;
  struct {
    gd_strategy_id name;
    double lambda;
    gd_teacher teacher;
    gd_weighting weighting;
    gd_regulariser_id regulariser;
    double regulariser_lambda;
    int fisher_images;
    gd_fisher_terms fisher_terms;
    double fisher_gamma; /* what is kept of the sum over earlier tasks */
    double si_xi;        /* damping */
  } strategy;
  struct {
    gd_sampling sampling; /* keys sampler, steps, eta, timesteps */
    bool coupled;         /* images are noised with the noise that they were generated from */
    int batch;            /* replay images per step over all ranks; 0: as many as training.batch_size */
    bool growing;         /* so many for each earlier task */
    double skip_snr;      /* images below this signal-to-noise ratio are not sampled; 0: off */
    gd_generated_source_id source;
    int pool_images;     /* of a pool */
    bool pool_targets;   /* which keeps the teacher's answers */
    double pool_refresh; /* share of it that each epoch makes anew */
    gd_pool_balance pool_balance;
    int pool_candidates; /* images made for each one of a balanced pool */
    int buffer_images;   /* of a buffer of real images */
    gd_buffer_per buffer_per;
    /* Maximum that a task's replay may take where images are generated, 0: no limit; see gd_replay_images. */
    int limit_images, limit_evaluations;
    double limit_seconds;
  } replay;
  struct {
    int epochs;
    int batch_size; /* current images per step over all ranks */
    double learning_rate;
    gd_rate_schedule schedule;
    double warmup; /* share of a task's steps */
    double weight_decay;
    double gradient_clip; /* 0: off */
    gd_precision precision;
    gd_reduction reduction; /* tree, fast */
    int slots;              /* power of two, at least the rank count; 8 */
    double ema_decay;       /* 0: off */
    char *init;             /* file of the weights that a run begins with, or "none" */
    double label_dropout;   /* share of rows of a conditional network that have the null class */
    gd_nonfinite nonfinite; /* what to do with a step whose loss or gradient is not finite */
  } training;
  struct {
    int samples;             /* images per sample set, 0: none */
    gd_sampling sampling;    /* keys sampler, steps, eta, timesteps */
    bool measures;           /* train measures after each task; `evaluate` always does */
    gd_extractor features;   /* resnet18, inception_v3 */
    char *inception_weights; /* safetensors or HDF5 file of the network behind inception_v3, or "none" */
    char *cache;             /* folder of trained classifiers and of the real images' statistics */
  } evaluation;
  struct {
    uint64_t seed;  /* its own, so that runs with different seeds share one classifier */
    int image_size; /* smaller images are enlarged to this */
    int limit;      /* maximum number of training images, 0: all */
    int epochs;
    int batch_size; /* a multiple of slots */
    double learning_rate;
    int slots; /* parts of a batch, each with its own batch statistics; more ranks than slots stay idle */
    int shift; /* training images are moved by up to this number of pixels */
    bool horizontal_flip;
  } classifier;
  struct {
    int epochs; /* 0: no solver */
    gd_solver_method_id method;
    double lambda; /* weight of what lwf, ewc and si add */
    gd_solver_loss loss;
    gd_solver_replay replay;
    int batch_size;
    double learning_rate;
    double temperature;
  } solver;
  struct {
    char *directory;
    double checkpoint_minutes; /* 0: off */
    int checkpoint_steps;      /* steps of a task between checkpoints, 0: off */
    int keep;                  /* newest checkpoints kept besides those at the end of a task */
    double stop_seconds;       /* train stops this long before a time limit */
    char *mpi_hints;           /* for gd_store_hints */
  } output;
  struct {
    double timeout_seconds; /* gd_watchdog_timeout: a job that is stalled for this time is ended; 0: never */
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

/* The same from YAML text; `name` is the file in messages. Local. */
gd_err gd_config_create_from_text(gd_config **out, const char *name, const char *text, int n_sets,
                                  const char *const *sets);
void gd_config_destroy(gd_config **config);

/* Every key with its value as YAML; reading it gives the same configuration. New string, gd_free. Local. */
char *gd_config_dump(const gd_config *config);

/* Every key as a page of Markdown, configs/README.md; the values of `defaults` are shown as the defaults. New string,
 * gd_free. Local. */
char *gd_config_markdown(const gd_config *defaults);

/* Path ("strategy.lambda") and meaning of the i-th key; false: there are no more keys. Local. */
bool gd_config_key(int i, const char **path, const char **meaning);

/* The keys that determine a run's numbers must agree between a checkpoint's configuration and the one
 * resumed with (those of `output` and evaluation may differ). Local. GD_ERR_INPUT naming the first key. */
gd_err gd_config_require_same_run(const gd_config *stored, const gd_config *given);

/* "KEY: BEFORE becomes NOW, ..." for all keys that differ; new string, or NULL where none does. Local. */
char *gd_config_changes(const gd_config *before, const gd_config *now);

/* Whether metrics with both use the same features, classifier and solver. Local. */
bool gd_config_same_measures(const gd_config *a, const gd_config *b);

/* Names as written in the configuration. */
const char *gd_strategy_name(gd_strategy_id id);
const char *gd_extractor_name(gd_extractor extractor);

/* The U-Net that the configuration describes, and its config.json, as gd_unet_check_config and gd_unet_write_config.
 * Local. */
void gd_model_create(gd_net **out, const gd_config *config);
gd_err gd_model_check_config(const char *path, const gd_config *config);
gd_err gd_model_write_config(const char *path, const gd_config *config);

#endif
