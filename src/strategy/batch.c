/* Rows of a network's input with what it should answer. */
#include "strategy/source.h"

gd_batch gd_batch_make(int max_n, int64_t n_elements) {
  return (gd_batch){.n_elements = n_elements,
                    .timesteps = GD_NEW_ARRAY(int, max_n),
                    .weights = GD_NEW_ARRAY(double, max_n),
                    .target = GD_NEW_ARRAY(float, max_n *n_elements)};
}

void gd_batch_clear(gd_batch *batch) {
  gd_free(batch->timesteps);
  gd_free(batch->weights);
  gd_free(batch->target);
  *batch = (gd_batch){0};
}

void gd_batch_set_times(gd_batch *batch, const gd_schedule *schedule) {
  for (int i = 0; i < batch->n; i++) {
    batch->t[i] = gd_schedule_level(schedule, batch->timesteps[i]).time;
    batch->weights[i] = gd_schedule_loss_weight(schedule, batch->timesteps[i]);
  }
}

void gd_batch_drop_labels(gd_batch *batch, const gd_config *config, gd_random key, int64_t first) {
  const uint32_t whole = 1u << 30;
  for (int i = 0; batch->label && i < batch->n; i++)
    if (gd_random_below(key, (uint64_t)(first + i), whole) < config->training.label_dropout * whole)
      batch->label[i] = (float)config->model.n_classes;
}

void gd_batch_add_noise(gd_batch *batch, const gd_schedule *schedule) {
  int64_t n = batch->n_elements;
#pragma omp parallel for
  for (int i = 0; i < batch->n; i++)
    gd_schedule_noise(schedule, batch->timesteps[i], n, batch->x + i * n, batch->target + i * n);
  gd_batch_set_times(batch, schedule);
}
