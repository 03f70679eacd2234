/* A pool of replay images: generated once, before a task, and kept in a sample set. All ranks together hold it in
 * memory. Images are drawn in an order that does not depend on ranks. */
#include "strategy/pool.h"

#include <string.h>
#include <unistd.h>

#include "strategy/balance.h"
#include "strategy/source.h"

struct gd_pool {
  const gd_comm *comm;
  int64_t n;
  size_t image_nbytes;
  gd_range local;
  uint8_t *images;    // (local, H, W, C)
  uint8_t *labels;    // (n) of a conditional network, otherwise NULL
  int64_t stride;     // scatters the order in which images are made anew over the ranks
  int64_t refreshed;  // images made anew so far
  float *targets;     // (local, H, W, C) the teacher's answers; NULL: not kept
  bool coupled;       // an image's own noise is that which it was generated from
  gd_random start;    // key of x_T
  gd_random key;      // of the order; step: the pass
  int64_t n_drawn;    // images that a pass draws
  uint32_t *chosen;   // (n_drawn) which those are; NULL: all n
  uint32_t *order;    // (n_drawn) of the pass in key.step
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
static bool pool_take(gd_pool *pool, const gd_config *config, const gd_sample_set *wanted, const char *path) {
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

static gd_random start_key(const gd_pool_request *request) {
  return (gd_random){.seed = request->config->seed, .purpose = GD_RANDOM_POOL_START, .task = (uint32_t)request->task};
}

static gd_sample_request images_wanted(const gd_pool_request *request, int64_t n) {
  gd_random x_T = start_key(request), noise = x_T;
  noise.purpose = GD_RANDOM_POOL_NOISE;
  return (gd_sample_request){.sampling = &request->config->replay.sampling,
                             .shape = request->shape,
                             .start = x_T,
                             .noise = noise,
                             .labels = &request->labels,
                             .n_global = n};
}

static gd_err pool_generate(const gd_pool_request *request, gd_sample_set *set, const char *path, double *seconds) {
  gd_err err;
  double start = gd_seconds();
  const gd_comm *comm = request->comm;
  gd_sample_request samples = images_wanted(request, set->n_global);
  samples.seconds = gd_replay_pool_seconds(request->config);
  gd_range local = gd_range_images(comm, set->n_global);
  int64_t n_done;
  uint8_t *images = gd_alloc((size_t)(local.end - local.begin) * (size_t)set->h * (size_t)set->w * (size_t)set->c + 1);
  uint8_t *labels = NULL;
  GD_TRY(gd_sample_images(comm, request->teacher, &samples, images, NULL, &n_done));
  *seconds = gd_seconds() - start;
  MPI_Allreduce(MPI_IN_PLACE, seconds, 1, MPI_DOUBLE, MPI_MAX, comm->mpi);
  set->images = images;
  set->labels = labels = gd_label_images(&request->labels, local);
  number_images(comm, n_done, set);
  GD_TRY(gd_sample_set_write(comm, path, set));
  gd_log(GD_LOG_INFO, "task %d: %lld replay images in %s (%.1f s)", request->task + 1, (long long)set->n_global, path,
         *seconds);
done:
  gd_free(images);
  gd_free(labels);
  return err;
}

static int64_t common_divisor(int64_t a, int64_t b) {
  return b == 0 ? a : common_divisor(b, a % b);
}

// A number without a common divisor with n, near n times the golden ratio: its multiples are spread evenly over n.
static int64_t scattering_stride(int64_t n) {
  int64_t stride = (int64_t)(0.618 * (double)n) + 1;
  while (common_divisor(n, stride) != 1) stride++;
  return stride;
}

static gd_err choose_images(gd_pool *pool, const gd_pool_request *request) {
  gd_balance all = {.n = pool->n, .local = pool->local, .images = pool->images};
  pool->n_drawn = pool->n;
  if (request->config->replay.pool_balance == GD_BALANCE_NONE) return GD_OK;
  int64_t wanted = gd_replay_pool_images(request->config);  // there may be fewer where time limits the pool
  if (wanted < pool->n_drawn) pool->n_drawn = wanted;
  pool->chosen = GD_NEW_ARRAY(uint32_t, pool->n_drawn);
  return gd_balance_choose(request, &all, pool->n_drawn, pool->chosen);
}

gd_err gd_pool_create(gd_pool **out, const gd_pool_request *request, const char *path, gd_replay_cost *cost) {
  gd_err err = GD_OK;
  const gd_config *config = request->config;
  gd_shape shape = request->shape;
  gd_pool *pool = GD_NEW(gd_pool);
  gd_sample_set set = gd_sample_set_describe(&config->replay.sampling, shape, gd_replay_pool_candidates(config),
                                             config->seed, request->digest);
  *out = NULL;
  *cost = (gd_replay_cost){0};
  pool->comm = request->comm;
  pool->image_nbytes = (size_t)shape.h * (size_t)shape.w * (size_t)shape.c;
  if (!pool_take(pool, config, &set, path)) {
    GD_TRY(pool_generate(request, &set, path, &cost->seconds));
    GD_TRY(gd_sample_set_read(pool->comm, path, &set, &pool->images));  // each rank's chunks, as after a restart
    pool->n = set.n_global;
    pool->local = set.local;
  }
  if (request->labels.n > 0) GD_TRY(gd_sample_set_read_labels(pool->comm, path, &pool->labels));
  if (request->labels.n > 0 && !pool->labels) GD_TRY(gd_error(GD_ERR_INPUT, "%s: holds no labels", path));
  cost->images = pool->n;
  cost->evaluations = pool->n * gd_replay_pool_evaluations(config);
  GD_TRY(choose_images(pool, request));
  pool->stride = scattering_stride(pool->n);
  pool->start = start_key(request);
  pool->coupled = config->replay.coupled;
  pool->key = (gd_random){.seed = config->seed, .purpose = GD_RANDOM_POOL_ORDER, .task = (uint32_t)request->task};
  pool->order = GD_NEW_ARRAY(uint32_t, pool->n_drawn);
  gd_random_permutation(pool->key, (uint32_t)pool->n_drawn, pool->order);
  *out = pool;
  pool = NULL;
done:
  gd_pool_destroy(&pool);
  return err;
}

void gd_pool_destroy(gd_pool **pool) {
  if (!*pool) return;
  gd_free((*pool)->images);
  gd_free((*pool)->labels);
  gd_free((*pool)->targets);
  gd_free((*pool)->chosen);
  gd_free((*pool)->order);
  gd_free(*pool);
  *pool = NULL;
}

size_t gd_pool_nbytes(const gd_comm *comm, const gd_config *config, gd_shape shape) {
  int64_t n = gd_replay_pool_candidates(config), n_drawn = gd_replay_pool_images(config);
  gd_range local = gd_range_images(comm, n);
  size_t per_element = 1 + (config->replay.pool_targets ? sizeof(float) : 0);
  size_t lists = 1 + (config->replay.pool_balance != GD_BALANCE_NONE);  // the order, and which are chosen
  return (size_t)(local.end - local.begin) * (size_t)shape.h * (size_t)shape.w * (size_t)shape.c * per_element +
         (size_t)n_drawn * lists * sizeof(uint32_t) + (config->model.conditional ? (size_t)n : 0);
}

/* ---- Targets ---- */

// The number of the image at a place of the pool, once so many have been made anew: place, place + n, place + 2 n, ...
static int64_t image_number(const gd_pool *pool, int64_t place, int64_t refreshed) {
  int64_t turn = place * pool->stride % pool->n;
  return place + (refreshed + turn) / pool->n * pool->n;
}

static gd_random own_key(const gd_pool *pool, gd_purpose purpose) {
  gd_random key = pool->start;
  key.purpose = purpose;
  return key;
}

void gd_pool_place(const gd_pool *pool, const gd_schedule *schedule, const uint8_t *images, const int64_t *numbers,
                   gd_batch *batch) {
  int64_t n_elements = batch->n_elements;
  gd_pixels_normalise(images, batch->n * n_elements, batch->x);
  for (int row = 0; row < batch->n; row++) {
    uint64_t number = (uint64_t)numbers[row];
    float *eps = batch->target + row * n_elements;
    if (pool->coupled)
      gd_pool_noise(pool, numbers[row], eps);
    else
      gd_random_normal(own_key(pool, GD_RANDOM_POOL_EPS), number, (size_t)n_elements, eps);
    batch->timesteps[row] =
        (int)gd_random_below(own_key(pool, GD_RANDOM_POOL_TIMESTEP), number, (uint32_t)schedule->timesteps);
  }
  gd_batch_add_noise(batch, schedule);
}

// Images whose targets are asked for together.
typedef struct target_chunk {
  int64_t places[GD_IMAGE_CHUNK], numbers[GD_IMAGE_CHUNK];  // among this rank's, and in all
  uint8_t *images;                                          // (GD_IMAGE_CHUNK, H, W, C)
  gd_batch batch;
} target_chunk;

static void ask_for_targets(gd_pool *pool, gd_generator *teacher, const gd_schedule *schedule, target_chunk *chunk) {
  int64_t n_elements = chunk->batch.n_elements;
  gd_progress(NULL);
  gd_pool_place(pool, schedule, chunk->images, chunk->numbers, &chunk->batch);
  gd_generator_input in = {.n = chunk->batch.n, .x = chunk->batch.x};
  const float *answers = gd_generator_predict(teacher, &in, chunk->batch.t);
  for (int i = 0; i < chunk->batch.n; i++)
    memcpy(pool->targets + chunk->places[i] * n_elements, answers + i * n_elements, (size_t)n_elements * sizeof(float));
  chunk->batch.n = 0;
}

// Asks for the targets of this rank's images, except those that keep theirs.
static void make_targets(gd_pool *pool, gd_generator *teacher, const gd_schedule *schedule, const uint8_t *keep) {
  int64_t n = pool->local.end - pool->local.begin, n_elements = (int64_t)pool->image_nbytes;
  float t[GD_IMAGE_CHUNK];
  target_chunk chunk = {.images = gd_alloc(GD_IMAGE_CHUNK * pool->image_nbytes),
                        .batch = gd_batch_make(GD_IMAGE_CHUNK, n_elements)};
  chunk.batch.x = GD_NEW_ARRAY(float, GD_IMAGE_CHUNK *n_elements);
  chunk.batch.t = t;
  for (int64_t place = 0; place < n; place++) {
    if (keep && keep[place]) continue;
    int row = chunk.batch.n++;
    chunk.places[row] = place;
    chunk.numbers[row] = image_number(pool, pool->local.begin + place, pool->refreshed);
    memcpy(chunk.images + row * n_elements, pool->images + place * n_elements, pool->image_nbytes);
    if (chunk.batch.n == GD_IMAGE_CHUNK) ask_for_targets(pool, teacher, schedule, &chunk);
  }
  if (chunk.batch.n > 0) ask_for_targets(pool, teacher, schedule, &chunk);
  gd_free(chunk.batch.x);
  gd_free(chunk.images);
  gd_batch_clear(&chunk.batch);
}

void gd_pool_keep_targets(gd_pool *pool, gd_generator *teacher, const gd_schedule *schedule) {
  pool->targets = GD_NEW_ARRAY(float, (pool->local.end - pool->local.begin) * (int64_t)pool->image_nbytes + 1);
  make_targets(pool, teacher, schedule, NULL);
}

/* ---- Refresh ---- */

// Which of this rank's images do not become number place + first; whether any on some rank does.
static bool find_kept(const gd_pool *pool, int64_t first, int64_t refreshed, uint8_t *keep) {
  bool some = false;
  for (int64_t place = 0; place < pool->n; place++) {
    int64_t number = image_number(pool, place, refreshed);
    bool is_new = number == place + first && number != image_number(pool, place, pool->refreshed);
    if (is_new) some = true;
    if (place >= pool->local.begin && place < pool->local.end) keep[place - pool->local.begin] = !is_new;
  }
  return some;
}

// Which of this rank's images stay what they are.
static void find_unchanged(const gd_pool *pool, int64_t refreshed, uint8_t *keep) {
  for (int64_t place = pool->local.begin; place < pool->local.end; place++)
    keep[place - pool->local.begin] =
        image_number(pool, place, refreshed) == image_number(pool, place, pool->refreshed);
}

static void relabel(gd_pool *pool, const gd_label_cycle *labels, int64_t refreshed) {
  for (int64_t place = 0; pool->labels && place < pool->n; place++)
    pool->labels[place] = (uint8_t)gd_label_at(labels, image_number(pool, place, refreshed));
}

gd_err gd_pool_refresh(gd_pool *pool, const gd_pool_request *request, const gd_schedule *schedule, int epoch,
                       gd_replay_cost *cost) {
  gd_err err = GD_OK;
  int64_t n_done, wanted = gd_replay_pool_refreshed(request->config, pool->n, epoch);
  double start = gd_seconds();
  uint8_t *keep = gd_alloc((size_t)(pool->local.end - pool->local.begin) + 1);
  gd_sample_request samples = images_wanted(request, pool->n);
  samples.keep = keep;
  for (samples.first = pool->refreshed / pool->n * pool->n; samples.first < wanted + pool->n; samples.first += pool->n)
    if (find_kept(pool, samples.first, wanted, keep))
      GD_TRY(gd_sample_images(pool->comm, request->teacher, &samples, pool->images, NULL, &n_done));
  relabel(pool, &request->labels, wanted);
  find_unchanged(pool, wanted, keep);
  pool->refreshed = wanted;
  if (pool->targets) make_targets(pool, request->teacher, schedule, keep);
  *cost = (gd_replay_cost){.images = pool->n + wanted, .seconds = gd_seconds() - start};
  cost->evaluations = cost->images * gd_replay_pool_evaluations(request->config);
done:
  gd_free(keep);
  return err;
}

/* ---- Draw ---- */

// The place of the image that draw number `draw` of the task takes.
static int64_t drawn_place(gd_pool *pool, int64_t draw) {
  uint32_t pass = (uint32_t)(draw / pool->n_drawn);
  if (pass != pool->key.step) {
    pool->key.step = pass;
    gd_random_permutation(pool->key, (uint32_t)pool->n_drawn, pool->order);
  }
  uint32_t drawn = pool->order[draw % pool->n_drawn];
  return pool->chosen ? pool->chosen[drawn] : drawn;
}

// An image on its way from the rank that holds it to the rank that wants it.
typedef struct pool_move {
  int64_t place;
  int from, to;
} pool_move;

// All draws of all ranks, in the order of the ranks that want them: the same list on every rank.
static pool_move *list_moves(gd_pool *pool, int64_t first, int n, const gd_range *ranges) {
  int64_t block = gd_range_chunks(pool->n, GD_IMAGE_CHUNK, pool->comm->size, 0).end;  // images per rank
  pool_move *moves = GD_NEW_ARRAY(pool_move, n), *move = moves;
  for (int to = 0; to < pool->comm->size; to++)
    for (int64_t draw = ranges[to].begin; draw < ranges[to].end; draw++) {
      int64_t place = drawn_place(pool, first + draw);
      *move++ = (pool_move){.place = place, .from = (int)(place / block), .to = to};
    }
  return moves;
}

// Counts and offsets of MPI_Alltoallv, in images, one per rank.
typedef struct pool_counts {
  int *sent, *sent_at, *received, *received_at;
  int n_sent, n_received;
} pool_counts;

static pool_counts count_moves(const gd_comm *comm, const pool_move *moves, int n) {
  int *room = GD_NEW_ARRAY(int, 4 * comm->size);
  pool_counts c = {room, room + comm->size, room + 2 * comm->size, room + 3 * comm->size, 0, 0};
  for (int i = 0; i < n; i++) {
    if (moves[i].from == comm->rank) c.sent[moves[i].to]++;
    if (moves[i].to == comm->rank) c.received[moves[i].from]++;
  }
  for (int r = 0; r < comm->size; r++) {
    c.sent_at[r] = c.n_sent;
    c.received_at[r] = c.n_received;
    c.n_sent += c.sent[r];
    c.n_received += c.received[r];
  }
  return c;
}

// Rows of `nbytes` from the ranks that hold them, in the order of the moves, to `out` on those that want them.
static void exchange_rows(const gd_pool *pool, const pool_move *moves, int n, const void *held, size_t nbytes,
                          void *out) {
  int rank = pool->comm->rank;
  pool_counts c = count_moves(pool->comm, moves, n);
  uint8_t *outgoing = gd_alloc((size_t)c.n_sent * nbytes + 1), *next = outgoing, *place = out;
  uint8_t *incoming = gd_alloc((size_t)c.n_received * nbytes + 1);
  for (int i = 0; i < n; i++) {
    if (moves[i].from != rank) continue;
    memcpy(next, (const uint8_t *)held + (size_t)(moves[i].place - pool->local.begin) * nbytes, nbytes);
    next += nbytes;
  }
  MPI_Datatype row;  // counts are ints: a batch may have more bytes
  MPI_Type_contiguous((int)nbytes, MPI_BYTE, &row);
  MPI_Type_commit(&row);
  MPI_Alltoallv(outgoing, c.sent, c.sent_at, row, incoming, c.received, c.received_at, row, pool->comm->mpi);
  MPI_Type_free(&row);
  for (int i = 0; i < n; i++) {  // rows of one rank arrive in the order of the draws
    if (moves[i].to != rank) continue;
    memcpy(place, incoming + (size_t)c.received_at[moves[i].from]++ * nbytes, nbytes);
    place += nbytes;
  }
  gd_free(outgoing);
  gd_free(incoming);
  gd_free(c.sent);
}

void gd_pool_draw(gd_pool *pool, int64_t first, int n, const gd_range *ranges, uint8_t *out, int64_t *numbers,
                  float *targets) {
  pool_move *moves = list_moves(pool, first, n, ranges);
  exchange_rows(pool, moves, n, pool->images, pool->image_nbytes, out);
  if (targets) exchange_rows(pool, moves, n, pool->targets, pool->image_nbytes * sizeof *targets, targets);
  for (int i = 0; i < n; i++)
    if (moves[i].to == pool->comm->rank) *numbers++ = image_number(pool, moves[i].place, pool->refreshed);
  gd_free(moves);
}

int gd_pool_label(const gd_pool *pool, int64_t number) {
  return pool->labels[number % pool->n];
}

void gd_pool_noise(const gd_pool *pool, int64_t number, float *out) {
  gd_random_normal(pool->start, (uint64_t)number, pool->image_nbytes, out);
}
