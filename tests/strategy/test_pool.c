/* The pool of replay images: the same images and the same draws on any number of ranks, each image once per pass, and a
 * file that is reused only if it matches. */
#include <stdio.h>
#include <string.h>

#include "hdf5_leaks.h"
#include "strategy/pool.h"
#include "support.h"

enum { SIDE = 8, N_ELEMENTS = SIDE * SIDE, N_POOL = 75, DIGEST = 17 };

static const char text[] =
    "dataset: {image_size: 8}\n"
    "model: {block_out_channels: [8, 16], layers_per_block: 1, attention: [false, false], norm_num_groups: 4}\n"
    "replay: {steps: 2, eta: 0.5, source: pool, pool_images: 75}\n";

typedef struct gd_fixture {
  gd_config *config;
  gd_net *net;
  gd_schedule *schedule;
  gd_generator *teacher;
  float *params;
  char *folder, *path;
} gd_fixture;

static void open_fixture_with(gd_fixture *f, int n_sets, const char *const *sets) {
  *f = (gd_fixture){.folder = test_folder_create()};
  assert_ok(gd_config_create_from_text(&f->config, "test", text, n_sets, sets));
  gd_model_create(&f->net, f->config);
  gd_schedule_create(&f->schedule, &f->config->diffusion);
  f->params = GD_NEW_ARRAY(float, gd_net_params(f->net)->total);
  gd_param_table_initialise(gd_net_params(f->net), 3, f->params);
  assert_ok(gd_generator_create(&f->teacher, f->net, f->schedule, GD_IMAGE_CHUNK, GD_FLOAT32));
  gd_generator_load(f->teacher, f->params);
  f->path = gd_pool_path(f->folder, 1);
}

static void open_fixture(gd_fixture *f, const char *set) {
  open_fixture_with(f, set != NULL, &set);
}

static void close_fixture(gd_fixture *f) {
  test_folder_remove(f->folder);
  gd_generator_destroy(&f->teacher);
  gd_schedule_destroy(&f->schedule);
  gd_net_destroy(&f->net);
  gd_config_destroy(&f->config);
  gd_free(f->params);
  gd_free(f->path);
}

static gd_pool_request request_of(const gd_fixture *f, const gd_comm *comm, uint64_t digest) {
  return (gd_pool_request){.comm = comm,
                           .config = f->config,
                           .teacher = f->teacher,
                           .shape = {.h = SIDE, .w = SIDE, .c = 1},
                           .task = 1,
                           .digest = digest};
}

static gd_pool *make_pool(gd_fixture *f, const gd_comm *comm, uint64_t digest, const char *path, gd_replay_cost *cost) {
  gd_pool *pool;
  gd_pool_request request = request_of(f, comm, digest);
  assert_ok(gd_pool_create(&pool, &request, path, cost));
  return pool;
}

// Draws first .. first + n - 1, in ranges of unequal lengths; returns all of them on every rank.
static uint8_t *draw(gd_pool *pool, const gd_comm *comm, int64_t first, int n) {
  gd_range *ranges = GD_NEW_ARRAY(gd_range, comm->size);
  for (int r = 0; r < comm->size; r++) ranges[r] = gd_range_chunks(n, 3, comm->size, r);
  gd_range mine = ranges[comm->rank];
  uint8_t *all = gd_alloc_zero((size_t)n * N_ELEMENTS);
  int64_t *numbers = GD_NEW_ARRAY(int64_t, n);
  gd_pool_draw(pool, first, n, ranges, all + mine.begin * N_ELEMENTS, numbers, NULL);
  gd_free(numbers);
  MPI_Allreduce(MPI_IN_PLACE, all, n * N_ELEMENTS, MPI_BYTE, MPI_BOR, comm->mpi);
  gd_free(ranges);
  return all;
}

static void draws_do_not_depend_on_the_ranks(void **state) {
  (void)state;
  gd_fixture f;
  gd_comm *alone;
  gd_replay_cost cost;
  open_fixture(&f, NULL);
  gd_comm_create(&alone, MPI_COMM_SELF);
  char *own_path = gd_format("%s/alone-%d.h5", f.folder, test_comm->rank);
  gd_pool *pool = make_pool(&f, test_comm, DIGEST, f.path, &cost);
  gd_pool *whole = make_pool(&f, alone, DIGEST, own_path, &cost);
  assert_int_equal(cost.images, N_POOL);
  assert_int_equal(cost.evaluations, 2 * N_POOL);
  assert_true(cost.seconds > 0);
  static const int64_t firsts[] = {0, 10, N_POOL - 4, 7 * N_POOL + 3};  // the third crosses from one pass into the next
  for (int i = 0; i < 4; i++) {
    uint8_t *together = draw(pool, test_comm, firsts[i], 10), *one = draw(whole, alone, firsts[i], 10);
    assert_memory_equal(together, one, 10 * N_ELEMENTS);
    gd_free(together);
    gd_free(one);
  }
  gd_pool_destroy(&pool);
  gd_pool_destroy(&whole);
  gd_comm_destroy(&alone);
  gd_free(own_path);
  close_fixture(&f);
}

// Counts how often each of the N_POOL images of `set` was drawn; all images differ.
static void count_images(const uint8_t *set, const uint8_t *drawn, int n, int counts[N_POOL]) {
  memset(counts, 0, N_POOL * sizeof *counts);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < N_POOL; k++) counts[k] += memcmp(set + k * N_ELEMENTS, drawn + i * N_ELEMENTS, N_ELEMENTS) == 0;
}

static void a_pass_draws_each_image_once(void **state) {
  (void)state;
  gd_fixture f;
  gd_comm *alone;
  gd_replay_cost cost;
  gd_sample_set set;
  uint8_t *images;
  int counts[N_POOL];
  open_fixture(&f, NULL);
  gd_comm_create(&alone, MPI_COMM_SELF);
  gd_pool *pool = make_pool(&f, test_comm, DIGEST, f.path, &cost);
  assert_ok(gd_sample_set_read(alone, f.path, &set, &images));
  uint8_t *first = draw(pool, test_comm, 0, N_POOL), *second = draw(pool, test_comm, N_POOL, N_POOL);
  count_images(images, first, N_POOL, counts);
  for (int k = 0; k < N_POOL; k++) assert_int_equal(counts[k], 1);
  count_images(images, second, N_POOL, counts);
  for (int k = 0; k < N_POOL; k++) assert_int_equal(counts[k], 1);
  assert_memory_not_equal(first, second, N_POOL * N_ELEMENTS);  // in another order
  gd_free(first);
  gd_free(second);
  gd_free(images);
  gd_pool_destroy(&pool);
  gd_comm_destroy(&alone);
  close_fixture(&f);
}

// The numbers of what is drawn are those of the images in the set, on any number of ranks.
static void numbers_belong_to_the_images(void **state) {
  (void)state;
  gd_fixture f;
  gd_comm *alone;
  gd_replay_cost cost;
  gd_sample_set set;
  uint8_t *images, drawn[N_POOL * N_ELEMENTS];
  int64_t numbers[N_POOL];
  open_fixture(&f, NULL);
  gd_comm_create(&alone, MPI_COMM_SELF);
  gd_pool *pool = make_pool(&f, test_comm, DIGEST, f.path, &cost);
  assert_ok(gd_sample_set_read(alone, f.path, &set, &images));
  gd_range *ranges = GD_NEW_ARRAY(gd_range, test_comm->size);
  for (int r = 0; r < test_comm->size; r++) ranges[r] = gd_range_block(N_POOL, test_comm->size, r);
  gd_range mine = ranges[test_comm->rank];
  gd_pool_draw(pool, 0, N_POOL, ranges, drawn, numbers, NULL);
  for (int64_t i = 0; i < mine.end - mine.begin; i++)
    assert_memory_equal(drawn + i * N_ELEMENTS, images + numbers[i] * N_ELEMENTS, N_ELEMENTS);
  gd_free(ranges);
  gd_free(images);
  gd_pool_destroy(&pool);
  gd_comm_destroy(&alone);
  close_fixture(&f);
}

// What a pool keeps for an image is what the teacher answers at the image's own timestep and noise, whoever draws it.
static void kept_targets_are_the_teacher_s(void **state) {
  (void)state;
  gd_fixture f;
  gd_replay_cost cost;
  uint8_t drawn[N_POOL * N_ELEMENTS];
  int64_t numbers[N_POOL];
  float targets[N_POOL * N_ELEMENTS], t[1], seen[N_POOL];
  const char *sets[] = {"replay.pool_targets=true", "replay.pool_refresh=0.3334"};
  open_fixture_with(&f, 2, sets);
  gd_pool *pool = make_pool(&f, test_comm, DIGEST, f.path, &cost);
  assert_int_equal(cost.evaluations, 3 * N_POOL);  // two steps and the target
  gd_pool_keep_targets(pool, f.teacher, f.schedule);
  gd_pool_request request = request_of(&f, test_comm, DIGEST);
  assert_ok(gd_pool_refresh(pool, &request, f.schedule, 1, &cost));
  assert_int_equal(cost.evaluations, 3 * (N_POOL + N_POOL / 3));
  gd_range *ranges = GD_NEW_ARRAY(gd_range, test_comm->size);
  for (int r = 0; r < test_comm->size; r++) ranges[r] = gd_range_block(N_POOL, test_comm->size, r);
  gd_range mine = ranges[test_comm->rank];
  gd_pool_draw(pool, 0, N_POOL, ranges, drawn, numbers, targets);
  gd_batch one = gd_batch_make(1, N_ELEMENTS);
  float x[N_ELEMENTS];
  one.n = 1;
  one.x = x;
  one.t = t;
  for (int64_t i = 0; i < mine.end - mine.begin; i++) {
    gd_pool_place(pool, f.schedule, drawn + i * N_ELEMENTS, numbers + i, &one);
    gd_generator_input in = {.n = 1, .x = one.x};
    const float *answer = gd_generator_predict(f.teacher, &in, one.t);
    double error = relative_error(targets + i * N_ELEMENTS, answer, N_ELEMENTS);
    if (!(error < 1e-5)) fail_msg("image %d differs by %g", (int)numbers[i], error);
    seen[i] = one.t[0];
  }
  int n_other = 0;  // each image has a timestep of its own
  for (int64_t i = 1; i < mine.end - mine.begin; i++) n_other += seen[i] != seen[0];
  assert_true(n_other > 0);
  gd_batch_clear(&one);
  gd_free(ranges);
  gd_pool_destroy(&pool);
  close_fixture(&f);
}

static int n_different(const uint8_t *a, const uint8_t *b) {
  int n = 0;
  for (int k = 0; k < N_POOL; k++) n += memcmp(a + k * N_ELEMENTS, b + k * N_ELEMENTS, N_ELEMENTS) != 0;
  return n;
}

// Every rank: the images of the pool in the order of their places.
static uint8_t *all_images(gd_pool *pool, const gd_comm *comm) {
  gd_range *ranges = GD_NEW_ARRAY(gd_range, comm->size);
  for (int r = 0; r < comm->size; r++) ranges[r] = gd_range_block(N_POOL, comm->size, r);
  uint8_t drawn[N_POOL * N_ELEMENTS], *all = gd_alloc_zero(N_POOL * N_ELEMENTS);
  int64_t numbers[N_POOL];
  gd_pool_draw(pool, 0, N_POOL, ranges, drawn, numbers, NULL);
  for (int64_t i = 0; i < ranges[comm->rank].end - ranges[comm->rank].begin; i++)
    memcpy(all + numbers[i] % N_POOL * N_ELEMENTS, drawn + i * N_ELEMENTS, N_ELEMENTS);
  MPI_Allreduce(MPI_IN_PLACE, all, N_POOL * N_ELEMENTS, MPI_BYTE, MPI_BOR, comm->mpi);
  gd_free(ranges);
  return all;
}

// Each epoch makes its share of the images anew, in turn, on any number of ranks, whether the epochs come one by one or
// at once as after a resume.
static void each_epoch_makes_a_share_anew(void **state) {
  (void)state;
  gd_fixture f;
  gd_comm *alone;
  gd_replay_cost cost;
  open_fixture(&f, "replay.pool_refresh=0.4");
  gd_comm_create(&alone, MPI_COMM_SELF);
  char *own_path = gd_format("%s/alone-%d.h5", f.folder, test_comm->rank);
  gd_pool *pool = make_pool(&f, test_comm, DIGEST, f.path, &cost);
  gd_pool *whole = make_pool(&f, alone, DIGEST, own_path, &cost);
  gd_pool_request together = request_of(&f, test_comm, DIGEST), one = request_of(&f, alone, DIGEST);
  uint8_t *first = all_images(pool, test_comm), *before = all_images(pool, test_comm);
  for (int epoch = 1; epoch <= 6; epoch++) {
    assert_ok(gd_pool_refresh(pool, &together, f.schedule, epoch, &cost));
    assert_int_equal(cost.images, N_POOL + 30 * epoch);
    assert_int_equal(cost.evaluations, 2 * cost.images);
    uint8_t *now = all_images(pool, test_comm);
    assert_int_equal(n_different(before, now), 30);
    assert_int_equal(n_different(first, now), 30 * epoch < N_POOL ? 30 * epoch : N_POOL);
    gd_free(before);
    before = now;
  }
  assert_ok(gd_pool_refresh(whole, &one, f.schedule, 6, &cost));
  uint8_t *at_once = all_images(whole, alone);
  assert_memory_equal(before, at_once, N_POOL * N_ELEMENTS);
  gd_free(at_once);
  gd_free(first);
  gd_free(before);
  gd_pool_destroy(&pool);
  gd_pool_destroy(&whole);
  gd_comm_destroy(&alone);
  gd_free(own_path);
  close_fixture(&f);
}

static bool was_made(gd_fixture *f, uint64_t digest) {
  gd_replay_cost cost;
  gd_pool *pool = make_pool(f, test_comm, digest, f->path, &cost);
  gd_pool_destroy(&pool);
  assert_int_equal(cost.evaluations, 2 * cost.images);  // counted in both cases
  return cost.seconds > 0;
}

// Inverts the bytes of the second half.
static void damage(const char *path) {
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  long end = ftell(file);
  for (long at = end / 2; at < end; at++) {
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 0xff, file), byte ^ 0xff);
  }
  assert_int_equal(fclose(file), 0);
}

static void the_pool_on_disk_is_reused_if_it_matches(void **state) {
  (void)state;
  gd_fixture f;
  open_fixture(&f, NULL);
  assert_true(was_made(&f, DIGEST));
  assert_false(was_made(&f, DIGEST));
  assert_true(was_made(&f, DIGEST + 1));  // of another teacher
  f.config->replay.pool_images = 60;
  assert_true(was_made(&f, DIGEST + 1));
  f.config->replay.sampling.eta = 0;
  assert_true(was_made(&f, DIGEST + 1));
  assert_false(was_made(&f, DIGEST + 1));
  if (test_comm->rank == 0) damage(f.path);
  MPI_Barrier(test_comm->mpi);
  gd_log_setup(test_comm->rank, GD_LOG_ERROR);  // the warning is expected
  assert_true(was_made(&f, DIGEST + 1));
  gd_log_setup(test_comm->rank, GD_LOG_WARN);
  close_fixture(&f);
}

// As many images as the time allows, at least one chunk per rank, numbered without gaps.
static void seconds_limit_the_generation(void **state) {
  (void)state;
  gd_fixture f;
  gd_replay_cost cost;
  open_fixture(&f, "replay.pool_images=1000000");
  f.config->replay.limit_seconds = 0.2;
  gd_pool *pool = make_pool(&f, test_comm, DIGEST, f.path, &cost);
  assert_true(cost.images >= GD_IMAGE_CHUNK * test_comm->size && cost.images < 1000000);
  assert_true(cost.seconds >= 0.1);
  uint8_t *images = draw(pool, test_comm, cost.images - 5, 10);
  gd_free(images);
  gd_pool_destroy(&pool);
  assert_false(was_made(&f, DIGEST));
  close_fixture(&f);
}

// The last test: a request to stop cannot be withdrawn.
static void a_stop_ends_the_generation_on_all_ranks(void **state) {
  (void)state;
  gd_fixture f;
  gd_replay_cost cost;
  gd_pool *pool;
  open_fixture(&f, "replay.pool_images=1000000");
  gd_pool_request request = request_of(&f, test_comm, DIGEST);
  if (test_comm->rank == test_comm->size - 1) gd_stop_in(0.1);
  gd_err err = gd_pool_create(&pool, &request, f.path, &cost);
  assert_int_equal(err, GD_STOPPED);
  assert_string_equal(gd_error_message(), "the time limit is near");
  assert_null(pool);
  assert_null(fopen(f.path, "r"));
  close_fixture(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(draws_do_not_depend_on_the_ranks), cmocka_unit_test(a_pass_draws_each_image_once),
      cmocka_unit_test(numbers_belong_to_the_images),     cmocka_unit_test(each_epoch_makes_a_share_anew),
      cmocka_unit_test(kept_targets_are_the_teacher_s),   cmocka_unit_test(the_pool_on_disk_is_reused_if_it_matches),
      cmocka_unit_test(seconds_limit_the_generation),     cmocka_unit_test(a_stop_ends_the_generation_on_all_ranks),
  };
  return GD_TEST_MAIN(tests);
}
