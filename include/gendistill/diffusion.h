/* Noise schedules, objectives and samplers. Knows nothing of networks: it sees a callback.
 *
 * Objectives and samplers are tables: one word of a list and one file in src/diffusion each. */
#ifndef GENDISTILL_DIFFUSION_H
#define GENDISTILL_DIFFUSION_H

#include "gendistill/base.h"

/* ---- Objectives: what a network predicts -------------------------------------------------------- */

/* A place on the path from an image x_0 to noise eps: x_t = alpha x_0 + sigma eps. */
typedef struct gd_noise_level {
  float alpha, sigma;
  float alpha_squared;            /* alpha is its rounded root */
  float alpha_slope, sigma_slope; /* of the path's velocity v = alpha_slope x_0 + sigma_slope eps */
  float scale;                    /* samplers that solve the path's ODE follow x / scale */
  float spread;                   /* standard deviation of x_t for independent x_0 and eps of deviation 1 */
  float time;                     /* that the network sees */
} gd_noise_level;

/* All objectives by name. A new one is one word here, and a gd_objective gd_objective_<name>. */
#define GD_OBJECTIVES(ROW) ROW(epsilon) ROW(v) ROW(x0)

#define GD_OBJECTIVE_ID(name) GD_OBJECTIVE_##name,
typedef enum gd_objective_id { GD_OBJECTIVES(GD_OBJECTIVE_ID) GD_N_OBJECTIVES } gd_objective_id;

typedef struct gd_objective {
  /* What the network should predict for n elements of an image. */
  void (*target)(gd_noise_level level, int64_t n, const float *x0, const float *eps, float *target);
  /* The x_0 and the eps that the network's output for x amounts to; x0 is not clipped. */
  void (*estimate)(gd_noise_level level, int64_t n, const float *x, const float *output, float *x0, float *eps);
  /* Weight of the squared error for min-SNR weighting (Hang et al. 2023, arXiv 2303.09556): that of the same error of
   * x_0, at most `limit`. snr: alpha^2 / sigma^2. */
  double (*min_snr_weight)(double snr, double limit);
} gd_objective;

const gd_objective *gd_objective_get(gd_objective_id id);

/* ---- Schedule ------------------------------------------------------------------------------------ */

/* All paths from images to noise by name; the definitions are in src/diffusion/path.c.
 * diffusion: alpha^2 + sigma^2 = 1, with abar = alpha^2 from the betas. flow: straight, x_s = (1 - s) x_0 + s eps. */
#define GD_PATHS(ROW) ROW(diffusion) ROW(flow)

#define GD_PATH_ID(name) GD_PATH_##name,
typedef enum gd_path_id { GD_PATHS(GD_PATH_ID) GD_N_PATHS } gd_path_id;

typedef enum gd_loss_weighting { GD_WEIGHT_NONE, GD_WEIGHT_MIN_SNR } gd_loss_weighting;

/* The section `diffusion` of a configuration. */
typedef struct gd_diffusion {
  gd_path_id path;
  int timesteps;
  double beta_start, beta_end;
  bool zero_terminal_snr;
  gd_objective_id prediction;
  gd_loss_weighting loss_weight;
} gd_diffusion;

typedef struct gd_schedule gd_schedule;

typedef struct gd_path {
  gd_noise_level (*level)(const gd_schedule *schedule, int t, float least_abar); /* curved paths: abar at least this */
  bool is_straight; /* has no betas, the objective must be v, and samplers do not clip */
} gd_path;

const gd_path *gd_path_get(gd_path_id id);
const char *gd_path_name(gd_path_id id);

/* The noise levels t = 0 .. timesteps-1, in float32 arithmetic as PyTorch's, and what the network predicts. */
struct gd_schedule {
  int timesteps;
  float *alphas_cumprod; /* (timesteps) abar; NULL where the path has no betas */
  const gd_path *path;
  const gd_objective *objective;
  gd_loss_weighting loss_weight;
};

void gd_schedule_create(gd_schedule **out, const gd_diffusion *config);
void gd_schedule_destroy(gd_schedule **schedule);

/* The level of timestep t < timesteps; no noise for t < 0. Local. */
gd_noise_level gd_schedule_level(const gd_schedule *schedule, int t);

/* The same with a signal that can be divided by: abar is at least 2^-24, as in diffusers. Local. */
gd_noise_level gd_schedule_level_with_signal(const gd_schedule *schedule, int t);

/* x_t = alpha_t x_0 + sigma_t eps for one image of n elements; x_t may be x_0. Local. */
void gd_schedule_add_noise(const gd_schedule *schedule, int t, int64_t n, const float *x0, const float *eps, float *xt);

/* In place, for one image of n elements: x_0 in `x` becomes x_t, and eps in `target` what the objective asks for.
 * Local.
 */
void gd_schedule_noise(const gd_schedule *schedule, int t, int64_t n, float *x, float *target);

/* Signal-to-noise ratio at timestep t, alpha^2 / sigma^2. Local. */
double gd_schedule_snr(const gd_schedule *schedule, int t);

/* Weight of the squared error of an image at timestep t in the loss. Local. */
double gd_schedule_loss_weight(const gd_schedule *schedule, int t);

/* Trailing timesteps of N steps: t_k = round(T - k T/N) - 1 (round half to even, as numpy), k = 0 .. steps-1. Local. */
void gd_timesteps_trailing(int timesteps, int steps, int *out);

/* ---- Samplers ------------------------------------------------------------------------------------ */

/* All samplers by name; the default of a path is the first one for it. A new one is one word here, and a gd_sampler
 * gd_sampler_<name>. */
#define GD_SAMPLERS(ROW) ROW(ddim) ROW(ddpm) ROW(dpmpp_2m) ROW(unipc) ROW(euler) ROW(midpoint) ROW(heun)

#define GD_SAMPLER_ID(name) GD_SAMPLER_##name,
typedef enum gd_sampler_id { GD_SAMPLERS(GD_SAMPLER_ID) GD_N_SAMPLERS } gd_sampler_id;

enum { GD_MAX_TIMESTEPS = 256 }; /* of an explicit list */

/* How to sample: keys sampler, steps, eta, guidance and timesteps of a configuration's sections `replay` and
 * `evaluation`. */
typedef struct gd_sampling {
  gd_sampler_id sampler;
  int steps;
  double eta;
  double guidance; /* weight w of classifier-free guidance, (1 + w) f(label) - w f(null class); 0: none */
  int n_timesteps; /* of the list that replaces the trailing timesteps of `steps`; 0: none */
  int timesteps[GD_MAX_TIMESTEPS]; /* falling */
} gd_sampling;

typedef struct gd_sampling_state gd_sampling_state; /* diffusion/sampling.h */

/* Bits of gd_sampler.paths. */
enum { GD_ON_DIFFUSION = 1 << GD_PATH_diffusion, GD_ON_FLOW = 1 << GD_PATH_flow };

/* What samples in the same way in diffusers. */
typedef struct gd_diffusers_scheduler {
  const char *class_name; /* NULL: nothing */
  const char *keys;       /* of its own, as the inside of a JSON object; or NULL */
} gd_diffusers_scheduler;

typedef struct gd_sampler {
  unsigned paths; /* for which it is */
  gd_diffusers_scheduler diffusers[GD_N_PATHS];
  bool takes_all_timesteps; /* one step per timestep, whatever is asked for */
  bool has_own_eta;         /* `eta`, whatever is asked for */
  double eta;
  bool strides;                           /* a step ends T/N timesteps below its own, wherever the next one begins */
  bool needs_signal;                      /* divides by alpha: at least 2^-12 is taken for it, as in diffusers */
  int n_history;                          /* estimates of x_0 from earlier steps that a step uses */
  int n_scratch;                          /* arrays of its own */
  int (*evaluations)(int steps);          /* of the network, for this number of steps */
  void (*step)(gd_sampling_state *state); /* moves x from timestep k to the next */
} gd_sampler;

const gd_sampler *gd_sampler_get(gd_sampler_id id);
const char *gd_sampler_name(gd_sampler_id id);

/* The default of a path. */
gd_sampler_id gd_sampler_of_path(gd_path_id path);

/* Whether the sampler evaluates the network once per step, with steps to choose. */
bool gd_sampler_is_simple(gd_sampler_id id);

/* The timesteps at which the steps begin, (sampling->steps); `sampling` must be settled. Local. */
void gd_sampling_timesteps(const gd_sampling *sampling, int timesteps, int *out);

/* `sampling` with the steps and eta that its sampler really takes. Local. */
gd_sampling gd_sampling_settle(gd_sampling sampling, int timesteps);

/* Evaluations of the network (NFE) per image. `sampling` must be settled. Local. */
int gd_sampling_evaluations(const gd_sampling *sampling);

/* The scheduler of diffusers that samples like `sampler`; where it has none, a warning and that of the path's default.
 * Local. */
gd_diffusers_scheduler gd_scheduler_choose(const gd_diffusion *config, gd_sampler_id sampler);

/* Writes the scheduler_config.json of `scheduler`. Local. GD_ERR_FAILED naming the file. */
gd_err gd_scheduler_write_config(const char *path, const gd_diffusion *config, gd_diffusers_scheduler scheduler);

/* Checks that the file is of the same noise schedule and prediction; how to sample does not count. Without such a file,
 * warns and says what is assumed. Local. GD_ERR_INPUT naming file, key, value found and value required. */
gd_err gd_scheduler_check_config(const char *path, const gd_diffusion *config);

/* What sampling asks of its caller. */
typedef struct gd_sampling_calls {
  /* The network's output for n images x of n_elements floats each, all at time `time`; same shape, valid until the next
   * call. */
  const float *(*predict)(void *context, const float *x, float time);
  /* The same for n of the images, each at its own time (n); `images`: their numbers. For gd_sample_partly. */
  const float *(*predict_some)(void *context, int n, const int *images, const float *x, const float *times);
  void *predict_context;
  /* Writes the z of sampling step k for image i of the batch, n_elements floats. Used where sd > 0 only. */
  void (*noise)(void *context, int k, int image, float *z);
  void *noise_context;
} gd_sampling_calls;

/* The first step of a sampler after which x was not finite, and the first image of the batch with such a value. */
typedef struct gd_nonfinite_sample {
  int image; /* -1: all are finite */
  int step;  /* from 0 */
  int timestep;
} gd_nonfinite_sample;

/* Samples in place: x holds x_T on entry, x_0 in about [-1, 1] on return; (n_images, n_elements). Local.
 * steps <= timesteps. Stops after the first step that leaves a value that is not finite, which the result names. */
gd_nonfinite_sample gd_sample(const gd_schedule *schedule, const gd_sampling *sampling, const gd_sampling_calls *calls,
                              int n_images, int64_t n_elements, float *x);

/* Samples each image a part of the way: x holds x_T on entry. Without `ends`, image i makes the first steps[i] of the
 * sampler's steps: it stands where the next one begins. With `ends`, it goes to timestep ends[i] in steps[i] evenly
 * spaced steps, or fewer where there are fewer timesteps. For samplers that evaluate the network once per step
 * (gd_sampler_is_simple). Local. */
void gd_sample_partly(const gd_schedule *schedule, const gd_sampling *sampling, const gd_sampling_calls *calls,
                      int n_images, int64_t n_elements, const int *steps, const int *ends, float *x);

#endif
