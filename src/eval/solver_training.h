/* The solver over the tasks: a classifier trained continually, with generated images of the earlier classes. */
#ifndef GD_EVAL_SOLVER_TRAINING_H
#define GD_EVAL_SOLVER_TRAINING_H

#include <jansson.h>

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/data.h"

typedef struct gd_solver_training gd_solver_training;

/* Keeps all its arguments. Collective on comm. GD_ERR_INPUT where the images are too small for the network. */
gd_err gd_solver_training_create(gd_solver_training **out, const gd_comm *comm, const gd_config *config,
                                 gd_dataset *train, const gd_dataset *test, const gd_task_split *split);
void gd_solver_training_destroy(gd_solver_training **solver);

/* Brings the solver to the end of task `task` (from 0): tasks that it has not been through are read from
 * output.directory/solver, where they were made from the same images, or trained and stored there. From the second task
 * on its batches are half generated: images of the sample set after the task before, labelled by the solver of the task
 * before (not for strategies that train on the earlier tasks' real images). Source: the paper's reference
 * implementation. Collective on comm; tasks come in ascending order. */
gd_err gd_solver_training_reach(gd_solver_training *solver, int task);

/* Settings, accuracy on the test images of each task so far, their mean, and forgetting; null where there are no test
 * images, the mean and forgetting over the other tasks. New reference. Local. */
json_t *gd_solver_training_json(const gd_solver_training *solver);

#endif
