/* Source `pool`: what steps draw from a pool of the task. */
#include <string.h>

#include "gendistill/learn.h"
#include "strategy/pool.h"
#include "strategy/source.h"

typedef struct pool_replay {
  gd_pool *pool;
  uint8_t *drawn;    // (this rank's images of the step, H, W, C)
  int64_t *numbers;  // (this rank's images)
  float *targets;    // (this rank's images, H, W, C); NULL: the pool keeps none
  gd_range mine;
} pool_replay;

static gd_range rank_images(const gd_replay *replay, int rank, int64_t n) {
  return gd_rank_rows(replay->of.comm->size, rank, replay->of.config->training.slots, n);
}

// With a generator, which gd_generator_destroy frees. Collective on comm.
static gd_err open_request(const gd_replay *replay, gd_pool_request *request) {
  const gd_replay_setting *of = &replay->of;
  *request = (gd_pool_request){.comm = of->comm,
                               .config = of->config,
                               .shape = replay->shape,
                               .task = of->task,
                               .labels = replay->labels,
                               .digest = gd_param_table_digest(gd_net_params(of->net), of->teacher)};
  gd_err err = gd_generator_create(&request->teacher, of->net, of->schedule, GD_IMAGE_CHUNK, of->precision);
  err = gd_comm_agree(of->comm, err);
  if (err == GD_OK) gd_generator_load(request->teacher, of->teacher);
  return err;
}

static gd_err pool_prepare(gd_replay *replay, const char *folder, gd_replay_cost *cost) {
  const gd_replay_setting *of = &replay->of;
  gd_err err;
  gd_pool_request request;
  gd_range mine = rank_images(replay, of->comm->rank, gd_replay_max_images(of->config, of->task, of->n_steps));
  pool_replay *own = replay->own = GD_NEW(pool_replay);
  char *path = gd_pool_path(folder, of->task);
  int64_t n_elements = (int64_t)replay->shape.h * replay->shape.w * replay->shape.c;
  GD_TRY(open_request(replay, &request));
  GD_TRY(gd_pool_create(&own->pool, &request, path, cost));
  own->drawn = gd_alloc((size_t)((mine.end - mine.begin) * n_elements) + 1);
  own->numbers = GD_NEW_ARRAY(int64_t, mine.end - mine.begin + 1);
  if (of->config->replay.pool_targets) {
    gd_pool_keep_targets(own->pool, request.teacher, of->schedule);
    own->targets = GD_NEW_ARRAY(float, (mine.end - mine.begin) * n_elements + 1);
  }
done:
  gd_generator_destroy(&request.teacher);
  gd_free(path);
  return err;
}

static gd_err pool_begin_epoch(gd_replay *replay, int epoch, gd_replay_cost *cost) {
  pool_replay *own = replay->own;
  gd_pool_request request;
  if (replay->of.config->replay.pool_refresh == 0 || epoch == 0) return GD_OK;
  gd_err err = open_request(replay, &request);
  if (err == GD_OK) err = gd_pool_refresh(own->pool, &request, replay->of.schedule, epoch, cost);
  gd_generator_destroy(&request.teacher);
  return err;
}

static void pool_begin_step(gd_replay *replay) {
  pool_replay *own = replay->own;
  const gd_comm *comm = replay->of.comm;
  gd_range *ranges = GD_NEW_ARRAY(gd_range, comm->size);
  for (int r = 0; r < comm->size; r++) ranges[r] = rank_images(replay, r, replay->n_images);
  own->mine = ranges[comm->rank];
  gd_pool_draw(own->pool, ((int64_t)replay->key.step - 1) * replay->n_images, replay->n_images, ranges, own->drawn,
               own->numbers, own->targets);
  gd_free(ranges);
}

static void pool_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  const pool_replay *own = replay->own;
  int64_t at = images.begin - own->mine.begin;
  const uint8_t *first = own->drawn + at * batch->n_elements;
  if (own->targets) {
    gd_pool_place(own->pool, replay->of.schedule, first, own->numbers + at, batch);
    memcpy(batch->target, own->targets + at * batch->n_elements,
           (size_t)(batch->n * batch->n_elements) * sizeof(float));
    return;
  }
  gd_pixels_normalise(first, batch->n * batch->n_elements, batch->x);
  const int64_t *numbers = own->numbers + at;
  for (int row = 0; row < batch->n; row++) {
    if (batch->label) batch->label[row] = (float)gd_pool_label(own->pool, numbers[row]);
    if (replay->of.config->replay.coupled)
      gd_pool_noise(own->pool, numbers[row], batch->target + row * batch->n_elements);
  }
  gd_replay_draw_timesteps(replay, images, batch);
  gd_replay_draw_noise(replay, images, batch);
}

static size_t pool_replay_nbytes(const gd_replay *replay) {
  return gd_pool_nbytes(replay->of.comm, replay->of.config, replay->shape);
}

static void pool_release(gd_replay *replay) {
  pool_replay *own = replay->own;
  gd_pool_destroy(&own->pool);
  gd_free(own->drawn);
  gd_free(own->numbers);
  gd_free(own->targets);
  gd_free(own);
}

const gd_replay_source gd_source_pool = {.generates = true,
                                         .folder = "pools",
                                         .prepare = pool_prepare,
                                         .begin_epoch = pool_begin_epoch,
                                         .begin_step = pool_begin_step,
                                         .fill = pool_fill,
                                         .nbytes = pool_replay_nbytes,
                                         .release = pool_release};
