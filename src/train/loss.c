/* The weighted squared errors of the current and the replay images, and their gradient by the network's output. */
#include "train/loss.h"

#include <string.h>

gd_loss_weights gd_loss_weigh(int task, bool replays, const gd_config *config) {
  double lambda = config->strategy.lambda;
  if (!replays) return (gd_loss_weights){.data_divisor = 1, .replay = 0};
  if (config->strategy.weighting == GD_WEIGHTING_NONE) return (gd_loss_weights){.data_divisor = 1, .replay = lambda};
  return (gd_loss_weights){.data_divisor = task, .replay = (1.0 - 1.0 / task) * lambda};
}

double gd_loss_total(gd_loss_weights weights, double loss_data, double loss_replay) {
  return loss_data / weights.data_divisor + weights.replay * loss_replay;
}

// Adds factor d(sum of squares)/d(output) of the part's rows, which begin at output and gradient; the sum is taken row
// by row in a fixed order.
static void add_part(gd_loss_part *part, int n_timesteps, const float *output, float *gradient) {
  const gd_batch *batch = part->batch;
  int64_t n_elements = batch->n_elements;
  double *sums = GD_NEW_ARRAY(double, batch->n);
#pragma omp parallel for
  for (int i = 0; i < batch->n; i++) {
    float slope = (float)(2.0 * part->factor * batch->weights[i]);
    for (int64_t j = i * n_elements; j < (i + 1) * n_elements; j++) {
      float difference = output[j] - batch->target[j];
      sums[i] += (double)difference * difference;
      gradient[j] += slope * difference;
    }
  }
  part->squares = 0;
  part->bins = (gd_loss_bins){0};
  for (int i = 0; i < batch->n; i++) {
    int bin = (int)((int64_t)batch->timesteps[i] * GD_LOSS_BINS / n_timesteps);
    part->squares += batch->weights[i] * sums[i];
    part->bins.squares[bin] += sums[i];
    part->bins.images[bin]++;
  }
  gd_free(sums);
}

void gd_loss_gradient(int n_parts, gd_loss_part *parts, int n_timesteps, const float *output, int n_rows,
                      float *gradient) {
  int64_t n_elements = parts[0].batch->n_elements;
  memset(gradient, 0, (size_t)n_rows * (size_t)n_elements * sizeof(float));
  for (int i = 0; i < n_parts; i++) {
    int64_t at = parts[i].first_row * n_elements;
    add_part(&parts[i], n_timesteps, output + at, gradient + at);
  }
}
