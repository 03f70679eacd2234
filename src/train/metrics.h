/* metrics.jsonl and the progress that a person sees. */
#ifndef GD_TRAIN_METRICS_H
#define GD_TRAIN_METRICS_H

#include "train/trainer.h"

typedef struct gd_metrics gd_metrics;

/* Opens DIRECTORY/metrics.jsonl on rank 0, dropping lines of what a run resumed at `position` repeats: later steps, and
 * evaluations of tasks (from 0) that are not finished or that is_outdated marks. total_steps: of the whole run, for the
 * time left. Collective on comm. GD_ERR_FAILED naming the file. */
gd_err gd_metrics_create(gd_metrics **out, const gd_comm *comm, const char *directory, const gd_position *position,
                         const bool *is_outdated, int64_t total_steps);
void gd_metrics_destroy(gd_metrics **metrics);

/* The last task (from 1) in a file of metrics; 0: it holds none, or there is no file. Local. */
int gd_metrics_reach(const char *path);

/* One line for one step; seconds_io: spent on files since the step before. Local; rank 0 writes.
 * A failed write is kept and comes out of gd_metrics_flush. */
void gd_metrics_step(gd_metrics *metrics, const gd_position *position, int n_images, const gd_step_metrics *step,
                     double seconds_io);

/* One line for the gradients of n single images at the end of a task. Local; rank 0 writes. A failed write is kept
 * likewise. */
void gd_metrics_gradients(gd_metrics *metrics, const gd_position *position, int64_t n, double seconds);

/* One line for the pool of a task's replay images, taken or made. Local; rank 0 writes. A failed write is kept
 * likewise. */
void gd_metrics_pool(gd_metrics *metrics, const gd_position *position, const gd_replay_cost *pool);

/* One line with the mean squared error by timestep, for the images of the trainer's last steps. Local; rank 0 writes. A
 * failed write is kept likewise. */
void gd_metrics_bins(gd_metrics *metrics, const gd_position *position, const gd_trainer *trainer);

/* One line as it is. Local; rank 0 writes. A failed write is kept likewise. */
void gd_metrics_line(gd_metrics *metrics, const char *line);

/* Writes out what is buffered. Collective on comm. GD_ERR_FAILED if any write failed. */
gd_err gd_metrics_flush(gd_metrics *metrics);

#endif
