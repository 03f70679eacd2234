/* The pool of source `pool`. */
#ifndef GD_STRATEGY_POOL_H
#define GD_STRATEGY_POOL_H

#include "gendistill/strategy.h"

typedef struct gd_pool gd_pool;

/* What a pool is made from. */
typedef struct gd_pool_request {
  const gd_comm *comm;
  const gd_config *config;
  gd_generator *teacher; /* with a batch of GD_IMAGE_CHUNK */
  gd_shape shape;
  int task;        /* from 0 */
  uint64_t digest; /* of the teacher's parameters */
  gd_label_cycle labels;
} gd_pool_request;

/* Takes the pool of a task from the sample set at `path` if that is the one wanted, or else generates it there:
 * gd_replay_pool_candidates, or as many as gd_replay_pool_seconds allow. Each rank holds its chunks as bytes. *cost:
 * what generating took, on the slowest rank; seconds 0 where the pool was there. Keeps comm. Collective on comm.
 * GD_STOPPED between two images where a rank was asked to stop; GD_ERR_FAILED naming the file. */
gd_err gd_pool_create(gd_pool **out, const gd_pool_request *request, const char *path, gd_replay_cost *cost);
void gd_pool_destroy(gd_pool **pool);

/* "pool-task02.h5" (task from 1) in `folder`; new string, gd_free. Local. */
char *gd_pool_path(const char *folder, int task);

/* Memory of this rank's part of a pool, whether it is there already or not; without a limit of time. Local. */
size_t gd_pool_nbytes(const gd_comm *comm, const gd_config *config, gd_shape shape);

/* Brings the images to epoch `epoch` (from 0): those that have come to their turn by then are made anew, all ranks
 * together, and the targets with them where the pool keeps targets. The file stays as it is. *cost: the images and
 * evaluations of the task so far, the seconds of this. Collective on comm. Errors as gd_sample_images. */
gd_err gd_pool_refresh(gd_pool *pool, const gd_pool_request *request, const gd_schedule *schedule, int epoch,
                       gd_replay_cost *cost);

/* Asks the teacher, with a batch of GD_IMAGE_CHUNK, for the target of each image at the image's own timestep and noise.
 * Local.
 */
void gd_pool_keep_targets(gd_pool *pool, gd_generator *teacher, const gd_schedule *schedule);

/* Draws number first .. first + n - 1 of the task; this rank gets those of its range, as bytes (range, H, W, C), and
 * their numbers in the pool (range) and, where the pool keeps them, their targets (range, H, W, C). Each pass over the
 * pool has an order of its own, which follows from the seed, so that what is drawn does not depend on
 * ranks. `ranges` (size): each rank's part of 0 .. n-1, in ascending order. Collective on comm: images travel from the
 * ranks that hold them. */
void gd_pool_draw(gd_pool *pool, int64_t first, int n, const gd_range *ranges, uint8_t *out, int64_t *numbers,
                  float *targets);

/* From images of the pool as bytes (n, H, W, C) and their numbers (n): the rows of a batch at the images' own timesteps
 * and noise, but for the teacher's targets. Local. */
void gd_pool_place(const gd_pool *pool, const gd_schedule *schedule, const uint8_t *images, const int64_t *numbers,
                   gd_batch *batch);

/* Of an image of the pool, by its number: its class, where the network is conditional; the noise x_T (H, W, C) that it
 * was generated from, where no limit in seconds has left images out. Local. */
int gd_pool_label(const gd_pool *pool, int64_t number);
void gd_pool_noise(const gd_pool *pool, int64_t number, float *out);

#endif
