/* What a regulariser is made of. */
#ifndef GD_STRATEGY_REGULARISER_H
#define GD_STRATEGY_REGULARISER_H

#include "gendistill/strategy.h"
#include "strategy/image_gradients.h"

enum { GD_MAX_REGULARISER_ARRAYS = 4 };

/* A penalty that keeps parameters near those of earlier tasks. Functions may be NULL where there is nothing to do. */
struct gd_regulariser {
  const char *arrays[GD_MAX_REGULARISER_ARRAYS]; /* names of its arrays of state; zeros at first */
  const char *of_task; /* with the task's number behind it: name of one more array for each finished task; NULL: none */
  void (*begin_task)(gd_regularisation *r, const float *params);
  double (*penalty)(gd_regularisation *r, const float *params, float *gradient); /* from the second task on */
  /* The step has moved the parameters by params - r->before along r->gradient, that of the loss without penalty. */
  void (*after_step)(gd_regularisation *r, const float *params);
  /* As gd_regularisation_end_task, but not called at the end of the last task. */
  gd_err (*end_task)(gd_regularisation *r, const gd_image_gradients *gradients, int64_t *n);
};

struct gd_regularisation {
  const gd_regulariser *kind;
  gd_regulariser_settings settings;
  int64_t total; /* parameters */
  int task;
  int n_arrays;
  gd_named_array arrays[GD_MAX_REGULARISER_ARRAYS + GD_MAX_CLASSES]; /* those of the kind, then those of the tasks */
  int n_numbers;
  double numbers[GD_MAX_CLASSES];
  float *before, *gradient; /* (total) of the present step; NULL where after_step is */
};

/* The first array of a task (from 0). Local. */
float *gd_regularisation_of_task(gd_regularisation *r, int task);

/* factor sum strength (params - anchor)^2 over n parameters; adds its gradient to `gradient`. Local. */
double gd_regulariser_spring(int64_t n, double factor, const float *strength, const float *anchor, const float *params,
                             float *gradient);

/* a.b of n numbers each. Local. */
double gd_regulariser_product(int64_t n, const float *a, const float *b);

#endif
