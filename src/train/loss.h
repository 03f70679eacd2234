/* The loss of a training step. */
#ifndef GD_TRAIN_LOSS_H
#define GD_TRAIN_LOSS_H

#include "gendistill/strategy.h"

/* L = L_data / data_divisor + replay L_replay. */
typedef struct gd_loss_weights {
  double data_divisor, replay;
} gd_loss_weights;

/* At task `task` (from 1) L = L_data / task + (1 - 1 / task) lambda L_replay (Masip et al. 2024), or with
 * GD_WEIGHTING_NONE L = L_data + lambda L_replay; L = L_data where nothing is replayed. Local. */
gd_loss_weights gd_loss_weigh(int task, bool replays, const gd_config *config);
double gd_loss_total(gd_loss_weights weights, double loss_data, double loss_replay);

enum { GD_LOSS_BINS = 20 }; /* equal parts of the timesteps */

/* Squared errors by timestep, not weighted. */
typedef struct gd_loss_bins {
  double squares[GD_LOSS_BINS]; /* sums over images and elements */
  double images[GD_LOSS_BINS];
} gd_loss_bins;

/* A batch in the rows first_row .. first_row + n - 1 of the network's output. Two parts may share rows. */
typedef struct gd_loss_part {
  const gd_batch *batch;
  int first_row;
  double factor;     /* of the sum of squared errors in the loss */
  double squares;    /* that sum, each image's times its weight: set by gd_loss_gradient */
  gd_loss_bins bins; /* likewise */
} gd_loss_part;

/* Writes d loss / d output (n_rows, H, W, C), zero in rows of no part, and the parts' sums; the timesteps are below
 * n_timesteps. Local. */
void gd_loss_gradient(int n_parts, gd_loss_part *parts, int n_timesteps, const float *output, int n_rows,
                      float *gradient);

#endif
