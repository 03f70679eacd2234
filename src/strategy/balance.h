/* The choice of images for a balanced pool. */
#ifndef GD_STRATEGY_BALANCE_H
#define GD_STRATEGY_BALANCE_H

#include "strategy/pool.h"

/* Images of which some are to be chosen. */
typedef struct gd_balance {
  int64_t n;
  gd_range local;        /* gd_range_images(comm, n) */
  const uint8_t *images; /* (local, H, W, C) */
} gd_balance;

/* Chooses n_chosen <= of->n images, equally many of each earlier class as far as there are, the first of each class, in
 * ascending order: chosen (n_chosen), the same on all ranks. The labels are those of the solver after the task before,
 * from the run's folder. Collective on the request's comm. GD_ERR_INPUT or GD_ERR_FAILED naming the file. */
gd_err gd_balance_choose(const gd_pool_request *request, const gd_balance *of, int64_t n_chosen, uint32_t *chosen);

/* The same from the images' labels (n). Local. */
void gd_balance_pick(const uint8_t *labels, int64_t n, int64_t n_chosen, uint32_t *chosen);

#endif
