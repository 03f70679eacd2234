/* What a solver replays: generated images of the earlier classes, and what the solver before makes of them. */
#ifndef GD_EVAL_SOLVER_REPLAY_H
#define GD_EVAL_SOLVER_REPLAY_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/data.h"
#include "gendistill/learn.h"
#include "gendistill/nn.h"

typedef struct gd_solver_replay_source gd_solver_replay_source;

typedef struct gd_solver_replay_setting {
  const gd_comm *comm;
  const gd_config *config;
  const gd_dataset *train; /* for the shape of the images, and the number of classes */
  gd_plan *plan;           /* of the solver before, inference, batch GD_IMAGE_CHUNK */
  const gd_net *net;       /* of the plan */
  int task;                /* from 1: the images are of the generator after the task before */
} gd_solver_replay_setting;

/* As key solver.replay says. Keeps what the setting points to. Collective. GD_ERR_INPUT or GD_ERR_FAILED naming the
 * file. */
gd_err gd_solver_replay_create(gd_solver_replay_source **out, const gd_solver_replay_setting *setting);
void gd_solver_replay_destroy(gd_solver_replay_source **source); /* local; accepts NULL */

/* What the images follow from, as a line of text: new string, gd_free. *n: how many there are; 0: new ones for each
 * step. Local. */
char *gd_solver_replay_describe(const gd_solver_replay_source *source, int64_t *n);

/* Begins step `step` of the task: the rows first .. first + n - 1 of all ranks' rows are generated images, of which
 * this rank fills those within `mine`. Local. GD_ERR_FAILED naming an image that is not finite. */
gd_err gd_solver_replay_begin_step(gd_solver_replay_source *source, uint32_t step, int64_t first, int64_t n,
                                   gd_range mine);

/* Image and target of row `row`; called by several threads at once. Local. */
void gd_solver_replay_fill(const gd_solver_replay_source *source, int64_t row, gd_classification_row *out);

#endif
