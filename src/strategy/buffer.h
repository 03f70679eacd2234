/* The buffer of real images that experience replay keeps. */
#ifndef GD_STRATEGY_BUFFER_H
#define GD_STRATEGY_BUFFER_H

#include "gendistill/strategy.h"

/* Indices of the images kept of the tasks before `task` (from 1), ascending: of each of their classes equally many,
 * those with the smallest random numbers, so that a class that keeps fewer images keeps some of those it had. All of a
 * class that has too few. New array, gd_free. Local. */
uint32_t *gd_buffer_choose(const gd_config *config, const gd_dataset *dataset, int task, uint32_t *n);

#endif
