/* Replay images generated once, before a task: kept in a sample set, held in memory by all ranks together, drawn in an
 * order that does not depend on ranks. */
#include <string.h>
#include <unistd.h>

#include "gendistill/replay.h"

struct gd_pool {
  const gd_comm *comm;
  int64_t n;
  size_t image_nbytes;
  gd_range local;
  uint8_t *images;  // (local, H, W, C)
  gd_random key;    // of the order; step: the pass
  uint32_t *order;  // (n) of the pass in key.step
};

char *gd_pool_path(const char *folder, int task) {
  return gd_format("%s/pool-task%02d.h5", folder, task + 1);
}

/* ---- Make ---- */

// Where seconds limit a pool, any number of images may have been made.
static bool is_wanted(const gd_config *config, const gd_sample_set *set, const gd_sample_set *wanted) {
  bool enough = config->replay.limit_seconds > 0 ? set->n_global <= wanted->n_global && set->n_global > 0
                                                 : set->n_global == wanted->n_global;
  return enough && gd_sample_set_is_like(set, wanted);
}

// Reads this rank's chunks, if the file is there and whole and what is wanted. Collective on comm.
static bool find(gd_pool *pool, const gd_config *config, const gd_sample_set *wanted, const char *path) {
  int there = pool->comm->rank == 0 && access(path, F_OK) == 0;
  MPI_Bcast(&there, 1, MPI_INT, 0, pool->comm->mpi);
  if (!there) return false;
  gd_sample_set set;
  if (gd_sample_set_read(pool->comm, path, &set, &pool->images) != GD_OK) {
    gd_log(GD_LOG_WARN, "%s; generating the replay pool again", gd_error_message());
    return false;
  }
  pool->n = set.n_global;
  pool->local = set.local;
  if (is_wanted(config, &set, wanted)) return true;
  gd_free(pool->images);
  pool->images = NULL;
  return false;
}

// The ranks' images one after the other, whatever number each has made.
static void number_images(const gd_comm *comm, int64_t n_local, gd_sample_set *set) {
  int64_t before = 0;
  MPI_Exscan(&n_local, &before, 1, MPI_INT64_T, MPI_SUM, comm->mpi);
  if (comm->rank == 0) before = 0;
  set->local = (gd_range){before, before + n_local};
  MPI_Allreduce(&n_local, &set->n_global, 1, MPI_INT64_T, MPI_SUM, comm->mpi);
}

static gd_err generate(const gd_comm *comm, const gd_config *config, gd_generator *teacher, int task,
                       gd_sample_set *set, const char *path, double *seconds) {
  gd_err err;
  double start = gd_seconds();
  gd_random key = {.seed = config->seed, .purpose = GD_RANDOM_POOL_START, .task = (uint32_t)task}, noise = key;
  noise.purpose = GD_RANDOM_POOL_NOISE;
  gd_sample_request request = {.sampling = &config->replay.sampling,
                               .shape = {.h = set->h, .w = set->w, .c = set->c},
                               .start = key,
                               .noise = noise,
                               .n_global = set->n_global,
                               .seconds = gd_replay_pool_seconds(config)};
  gd_range local = gd_range_images(comm, set->n_global);
  int64_t n_done;
  uint8_t *images = gd_alloc((size_t)(local.end - local.begin) * (size_t)set->h * (size_t)set->w * (size_t)set->c + 1);
  GD_TRY(gd_sample_images(comm, teacher, &request, images, NULL, &n_done));
  *seconds = gd_seconds() - start;
  MPI_Allreduce(MPI_IN_PLACE, seconds, 1, MPI_DOUBLE, MPI_MAX, comm->mpi);
  set->images = images;
  number_images(comm, n_done, set);
  GD_TRY(gd_sample_set_write(comm, path, set));
  gd_log(GD_LOG_INFO, "task %d: %lld replay images in %s (%.1f s)", task + 1, (long long)set->n_global, path, *seconds);
done:
  gd_free(images);
  return err;
}

gd_err gd_pool_create(gd_pool **out, const gd_comm *comm, const gd_config *config, gd_generator *teacher,
                      gd_shape shape, int task, uint64_t digest, const char *path, gd_replay_cost *cost) {
  gd_err err = GD_OK;
  gd_pool *pool = GD_NEW(gd_pool);
  gd_sample_set set =
      gd_sample_set_describe(&config->replay.sampling, shape, gd_replay_pool_images(config), config->seed, digest);
  *out = NULL;
  *cost = (gd_replay_cost){0};
  pool->comm = comm;
  pool->image_nbytes = (size_t)shape.h * (size_t)shape.w * (size_t)shape.c;
  if (!find(pool, config, &set, path)) {
    GD_TRY(generate(comm, config, teacher, task, &set, path, &cost->seconds));
    GD_TRY(gd_sample_set_read(comm, path, &set, &pool->images));  // each rank's chunks, as after a restart
    pool->n = set.n_global;
    pool->local = set.local;
  }
  cost->images = pool->n;
  cost->evaluations = pool->n * config->replay.sampling.steps;
  pool->key = (gd_random){.seed = config->seed, .purpose = GD_RANDOM_POOL_ORDER, .task = (uint32_t)task};
  pool->order = GD_NEW_ARRAY(uint32_t, pool->n);
  gd_random_permutation(pool->key, (uint32_t)pool->n, pool->order);
  *out = pool;
  pool = NULL;
done:
  gd_pool_destroy(&pool);
  return err;
}

void gd_pool_destroy(gd_pool **pool) {
  if (!*pool) return;
  gd_free((*pool)->images);
  gd_free((*pool)->order);
  gd_free(*pool);
  *pool = NULL;
}

size_t gd_pool_nbytes(const gd_pool *pool) {
  return (size_t)(pool->local.end - pool->local.begin) * pool->image_nbytes + (size_t)pool->n * sizeof *pool->order;
}

/* ---- Draw ---- */

// The image that draw number `draw` of the task takes.
static int64_t drawn(gd_pool *pool, int64_t draw) {
  uint32_t pass = (uint32_t)(draw / pool->n);
  if (pass != pool->key.step) {
    pool->key.step = pass;
    gd_random_permutation(pool->key, (uint32_t)pool->n, pool->order);
  }
  return pool->order[draw % pool->n];
}

// Who hands which image to whom; counts and offsets are images, one a rank.
typedef struct exchange {
  int *to, *to_at, *from, *from_at;
  int64_t *given;  // (n_given) images that this rank hands out, in the order of the ranks that get them
  int n_given;
  int *holder;  // (n_mine) of each image that this rank gets
} exchange;

// Sums of what comes before each rank's part.
static void offsets_of(int size, const int *counts, int *offsets) {
  for (int r = 1; r < size; r++) offsets[r] = offsets[r - 1] + counts[r - 1];
}

static exchange plan_exchange(gd_pool *pool, int64_t first, int n, const gd_range *ranges) {
  int size = pool->comm->size, rank = pool->comm->rank;
  int64_t block = gd_range_chunks(pool->n, GD_IMAGE_CHUNK, size, 0).end;  // images a rank, but for the last ones
  int *counts = GD_NEW_ARRAY(int, 4 * size);
  exchange e = {counts, counts + size, counts + 2 * size, counts + 3 * size, GD_NEW_ARRAY(int64_t, n), 0, NULL};
  e.holder = GD_NEW_ARRAY(int, ranges[rank].end - ranges[rank].begin);
  for (int r = 0; r < size; r++) {
    for (int64_t i = ranges[r].begin; i < ranges[r].end; i++) {
      int64_t image = drawn(pool, first + i);
      int holder = (int)(image / block);
      if (holder == rank) e.given[e.n_given++] = image;
      if (holder == rank) e.to[r]++;
      if (r == rank) e.holder[i - ranges[r].begin] = holder;
      if (r == rank) e.from[holder]++;
    }
  }
  offsets_of(size, e.to, e.to_at);
  offsets_of(size, e.from, e.from_at);
  return e;
}

void gd_pool_draw(gd_pool *pool, int64_t first, int n, const gd_range *ranges, uint8_t *out) {
  size_t nbytes = pool->image_nbytes;
  int64_t n_mine = ranges[pool->comm->rank].end - ranges[pool->comm->rank].begin;
  exchange e = plan_exchange(pool, first, n, ranges);
  uint8_t *outgoing = gd_alloc((size_t)e.n_given * nbytes + 1), *incoming = gd_alloc((size_t)n_mine * nbytes + 1);
  for (int i = 0; i < e.n_given; i++)
    memcpy(outgoing + (size_t)i * nbytes, pool->images + (size_t)(e.given[i] - pool->local.begin) * nbytes, nbytes);
  MPI_Datatype image;  // counts are ints: a batch may have more bytes
  MPI_Type_contiguous((int)nbytes, MPI_BYTE, &image);
  MPI_Type_commit(&image);
  MPI_Alltoallv(outgoing, e.to, e.to_at, image, incoming, e.from, e.from_at, image, pool->comm->mpi);
  MPI_Type_free(&image);
  for (int64_t i = 0; i < n_mine; i++) {  // a holder's images come in the order of the draws
    int at = e.from_at[e.holder[i]]++;
    memcpy(out + (size_t)i * nbytes, incoming + (size_t)at * nbytes, nbytes);
  }
  gd_free(outgoing);
  gd_free(incoming);
  gd_free(e.given);
  gd_free(e.holder);
  gd_free(e.to);
}
