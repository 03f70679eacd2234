/* Mean squared errors of the data half and the replay half, and their gradient by the network's output. */
#include <string.h>

#include "gendistill/train.h"

gd_loss_weights gd_loss_weigh(int task, bool replays, double lambda) {
  if (!replays) return (gd_loss_weights){.data_divisor = 1, .replay = 0};
  return (gd_loss_weights){.data_divisor = task, .replay = (1.0 - 1.0 / task) * lambda};
}

double gd_loss_total(gd_loss_weights weights, double loss_data, double loss_replay) {
  return loss_data / weights.data_divisor + weights.replay * loss_replay;
}

// Adds weight d(sum of squares)/d(output) of n rows; returns the sum of squares, row by row in a fixed order.
static double add_rows(const float *output, const float *target, int n, int64_t n_elements, double weight,
                       float *gradient) {
  double total = 0;
  double *sums = GD_NEW_ARRAY(double, n);
#pragma omp parallel for
  for (int i = 0; i < n; i++) {
    for (int64_t j = i * n_elements; j < (i + 1) * n_elements; j++) {
      float difference = output[j] - target[j];
      sums[i] += (double)difference * difference;
      gradient[j] += (float)(2.0 * weight) * difference;
    }
  }
  for (int i = 0; i < n; i++) total += sums[i];
  gd_free(sums);
  return total;
}

void gd_loss_gradient(const gd_loss_rows *rows, const float *output, float *gradient, double *squares_current,
                      double *squares_replay) {
  int64_t offset = rows->replay_row * rows->n_elements;
  memset(gradient, 0, (size_t)rows->n_rows * (size_t)rows->n_elements * sizeof(float));
  *squares_current =
      add_rows(output, rows->target_current, rows->n_current, rows->n_elements, rows->weight_current, gradient);
  *squares_replay = add_rows(output + offset, rows->target_replay, rows->n_replay, rows->n_elements,
                             rows->weight_replay, gradient + offset);
}
