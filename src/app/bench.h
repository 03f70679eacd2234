/* Inside of the bench command: what its stages share. A stage puts its figures into the JSON object; every rank takes
 * part in every stage. */
#ifndef GD_APP_BENCH_H
#define GD_APP_BENCH_H

#include <jansson.h>

#include "gendistill/train.h"

/* One op, or all ops of a kind, of a plan: what a GD step spends on it on this rank. */
typedef struct gd_bench_row {
  const char *kind, *name;
  gd_shape in, out; /* per image */
  int64_t n_parameters;
  double seconds[3]; /* a step: forward, backward by data, backward by weights */
  double flops[3];   /* a step */
} gd_bench_row;

typedef struct gd_bench_profile {
  int n;
  gd_bench_row *ops;   /* (n) in order of execution */
  double step_seconds; /* the whole GD step */
} gd_bench_profile;

typedef struct gd_bench {
  const gd_comm *comm;
  const gd_config *config;
  int repeats;
  bool wants_profile;
  gd_precision precision; /* what this machine computes in */
  gd_net *net;
  gd_trainer *trainer;
  json_t *json;

  double seconds_reduction;          /* of the training step that ran last: what this rank waited for the others */
  double matmul;                     /* flop/s of a rank, mean over the ranks */
  gd_bench_profile student, teacher; /* of the GD step, where wanted */

  char *folder;      /* for files, removed at the end */
  char *made_folder; /* the one above it, on rank 0; NULL where it was there before */
} gd_bench;

/* A stage's time over the repeats, all ranks starting and ending together. */
typedef struct gd_bench_times {
  double median, mean;     /* rank 0's */
  double median_reduction; /* of training steps: this rank's wait for the others */
} gd_bench_times;

/* Runs a stage once without counting it and then `repeats` times; `prepare` (may be NULL) before each, off the clock.
 * Collective. */
gd_err gd_bench_time(gd_bench *b, void (*prepare)(void *context), gd_err (*run)(void *context), void *context,
                     gd_bench_times *out);

/* Puts "STAGE_WHAT": value into the JSON object. */
void gd_bench_put(gd_bench *b, const char *stage, const char *what, double value);

/* Sum over the ranks. Collective. */
double gd_bench_sum(const gd_bench *b, double mine);

/* ---- Stages, all collective ---- */

gd_err gd_bench_network(gd_bench *b); /* forward, DDIM, training step, GD step; profiles */
gd_err gd_bench_arrays(gd_bench *b);  /* reduction, optimiser, checkpoint */

/* ---- Profile ---- */

/* Takes what a plan has spent since its last reset, over `repeats` steps. Local. */
void gd_bench_profile_take(gd_bench_profile *out, const gd_plan *plan, int repeats, double step_seconds);
void gd_bench_profile_clear(gd_bench_profile *profile);

/* The profiles as JSON, under "profile", and as tables on stderr. Local. */
void gd_bench_profile_put(gd_bench *b);
void gd_bench_profile_print(const gd_bench *b);

#endif
