/* metrics.jsonl and the progress that a person sees. */
#ifndef GD_TRAIN_METRICS_H
#define GD_TRAIN_METRICS_H

#include "train/trainer.h"

typedef struct gd_metrics gd_metrics;

/* Opens DIRECTORY/metrics.jsonl on rank 0, dropping lines after `global_step` (those of steps that a resumed run
 * repeats). total_steps: of the whole run, for the time left. Collective on comm. GD_ERR_FAILED naming the file. */
gd_err gd_metrics_create(gd_metrics **out, const gd_comm *comm, const char *directory, int64_t global_step,
                         int64_t total_steps);
void gd_metrics_destroy(gd_metrics **metrics);

/* One line for one step; seconds_io: spent on files since the step before. Local; rank 0 writes.
 * A failed write is kept and comes out of gd_metrics_flush. */
void gd_metrics_step(gd_metrics *metrics, const gd_position *position, int n_images, const gd_step_metrics *step,
                     double seconds_io);

/* Writes out what is buffered. Collective on comm. GD_ERR_FAILED if any write failed. */
gd_err gd_metrics_flush(gd_metrics *metrics);

#endif
