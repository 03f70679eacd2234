/* What a solver learns besides the images of its task: generated images, as key solver.method says, or a method of
 * continual learning that needs no generator. */
#ifndef GD_EVAL_SOLVER_METHOD_H
#define GD_EVAL_SOLVER_METHOD_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/data.h"
#include "gendistill/learn.h"
#include "gendistill/strategy.h"

typedef struct gd_solver_method {
  const char *name;
  gd_data_scope scope;           /* of the real images; not of `generated`, which has that of the strategy */
  bool generates;                /* replays generated images */
  bool distils;                  /* keeps to the answers of the solver before for the real images (LwF) */
  gd_regulariser_id regulariser; /* keeps near the parameters of the solver before */
} gd_solver_method;

/* Of a configuration. Local. */
const gd_solver_method *gd_solver_method_of(const gd_config *config);

/* Indices of the real images of task `task` (from 0), as gd_task_indices. New array, gd_free. Local. */
uint32_t *gd_solver_images(const gd_config *config, const gd_dataset *train, const gd_task_split *split, int task,
                           int64_t *n);

/* ---- Learning without forgetting ----------------------------------------------------------------- */

/* The answers of the solver before for the images of a task. */
typedef struct gd_solver_answers {
  float *targets;                 /* (n, n_classes) probabilities of the earlier classes at solver.temperature */
  uint8_t active[GD_MAX_CLASSES]; /* whether a class is an earlier one */
} gd_solver_answers;

/* plan: of the solver before, inference, batch GD_IMAGE_CHUNK, of `net`. Collective on comm. */
void gd_solver_answers_make(gd_solver_answers *out, const gd_comm *comm, const gd_config *config,
                            const gd_dataset *train, const gd_task_split *split, int task, gd_plan *plan,
                            const gd_net *net);
void gd_solver_answers_clear(gd_solver_answers *answers);

/* Weight of the distillation loss beside the loss of the data at task i (from 1): lambda (i - 1)^2 / i, which is the
 * 0, 1/2, 4/3, 9/4, 16/5 of the reference. Local. */
double gd_solver_distillation_weight(const gd_config *config, int i);

/* ---- Regularisers --------------------------------------------------------------------------------- */

/* Settings of the regulariser: lambda is solver.lambda, the rest those of the keys of `strategy`. Local. */
gd_regulariser_settings gd_solver_regulariser_settings(const gd_config *config, int n_tasks);

/* Ends task `task` (from 0): the regulariser takes what it needs from single images of it (n). net, params: the solver,
 * without dropout. Collective on comm. Errors as gd_regularisation_end_task. */
gd_err gd_solver_end_task(gd_regularisation *regularisation, const gd_comm *comm, const gd_config *config,
                          const gd_dataset *train, const gd_net *net, const float *params, int task,
                          const uint32_t *images, int64_t n);

#endif
