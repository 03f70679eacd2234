/* One byte changed at a time, all over a checkpoint and a sample set, and files cut off or zeroed from many positions
 * on: each file is refused with a message that names it, or the bytes are unused and it reads as it was written.
 *
 * Rank 0 prints the counts. GD_TEST_SEED chooses the random positions, GD_TEST_EVERY_BYTE=1 changes every byte. */
#define _GNU_SOURCE  // memmem
#include "hdf5_leaks.h"
#include "store_small.h"

enum { SUPERBLOCK = 48, N_IMAGES = 9, SIDE = 5, CHANNELS = 3, IMAGE = SIDE * SIDE * CHANNELS };

typedef struct fixture {
  char *folder, *path;
  uint8_t *bytes;  // of the undamaged file
  size_t nbytes;
  gd_range unread;  // the bytes of /x_0, which is not read back: not changed
  gd_param_table table;
  gd_checkpoint checkpoint;
  gd_sample_set set;
  uint8_t images[N_IMAGES * IMAGE];
  float x_0[N_IMAGES * IMAGE];
  uint8_t labels[N_IMAGES];
} fixture;

// Whether the file is refused by name. Fails the test if it is not and does not read as written. Collective.
typedef bool (*refused)(const fixture *f);

typedef struct figures {
  int n, n_refused;
} figures;

/* ---- The files ---- */

static fixture *fixture_new(void) {
  fixture *f = GD_NEW(fixture);
  f->folder = test_folder_create();
  return f;
}

// The configuration's text is longer than what HDF5 protects by a checksum by default.
static int set_up_checkpoint(void **state) {
  fixture *f = *state = fixture_new();
  f->table = small_table();
  f->checkpoint = small_checkpoint(&f->table, true);
  gd_free(f->checkpoint.config_text);
  f->checkpoint.config_text = gd_alloc_zero(5001);
  for (int i = 0; i < 5000; i++) f->checkpoint.config_text[i] = (char)(i % 61 == 60 ? '\n' : 'A' + i % 61);
  f->checkpoint.accuracy = 0.875;
  f->checkpoint.replay_seconds = 12.5;
  f->path = gd_checkpoint_path(f->folder, 1, 1234);
  gd_err err = gd_checkpoint_write(test_comm, f->path, &f->table, &f->checkpoint);
  if (err == GD_OK) f->bytes = file_bytes(f->path, &f->nbytes);
  return err;
}

static int set_up_sample_set(void **state) {
  fixture *f = *state = fixture_new();
  for (int i = 0; i < N_IMAGES * IMAGE; i++) {
    f->images[i] = (uint8_t)(i * 7 + i / 256);
    f->x_0[i] = (float)i / 3;
  }
  gd_range local = gd_range_images(test_comm, N_IMAGES);
  f->set = (gd_sample_set){.n_global = N_IMAGES, .h = SIDE, .w = SIDE, .c = CHANNELS, .sampler = "ddpm", .steps = 10};
  f->set.eta = 0.25;
  f->set.guidance = 1.5;
  f->set.evaluations = 40;
  strcpy(f->set.timesteps, "899, 499");
  for (int i = 0; i < N_IMAGES; i++) f->labels[i] = (uint8_t)(i % 7);
  f->set.labels = f->labels + local.begin;
  f->set.seed = 1714;
  f->set.checkpoint_digest = 0x0123456789abcdef;
  f->set.local = local;
  f->set.images = f->images + local.begin * IMAGE;
  f->set.x_0 = f->x_0 + local.begin * IMAGE;
  f->path = gd_format("%s/samples-task02.h5", f->folder);
  gd_err err = gd_sample_set_write(test_comm, f->path, &f->set);
  if (err != GD_OK) return err;
  f->bytes = file_bytes(f->path, &f->nbytes);
  const uint8_t *x_0 = memmem(f->bytes, f->nbytes, f->x_0, sizeof f->x_0);
  assert_non_null(x_0);
  f->unread = (gd_range){x_0 - f->bytes, x_0 - f->bytes + (int64_t)sizeof f->x_0};
  return 0;
}

static int tear_down(void **state) {
  fixture *f = *state;
  gd_checkpoint_clear(&f->checkpoint);
  test_folder_remove(f->folder);
  gd_free(f->path);
  gd_free(f->bytes);
  gd_free(f);
  return 0;
}

/* ---- Reading them again ---- */

static bool checkpoint_refused(const fixture *f) {
  gd_checkpoint header, all;
  if (gd_checkpoint_read_header(test_comm, f->path, &header) == GD_OK) {
    small_assert_same_header(&header, &f->checkpoint);
    gd_checkpoint_clear(&header);
  } else {
    assert_message(f->path);
  }
  gd_err err = gd_checkpoint_read(test_comm, f->path, &f->table, &all);
  if (err == GD_OK) {
    small_assert_same(&f->table, &all, &f->checkpoint);
    gd_checkpoint_clear(&all);
    return false;
  }
  assert_int_equal(err, GD_ERR_INPUT);
  assert_message(f->path);
  assert_int_equal(all.n_arrays, 0);
  return true;
}

// /index is not read back: changes in it have no effect here.
static bool labels_refused(const fixture *f) {
  uint8_t *labels;
  gd_err err = gd_sample_set_read_labels(test_comm, f->path, &labels);
  if (err != GD_OK) {
    assert_int_equal(err, GD_ERR_INPUT);
    assert_message(f->path);
    assert_null(labels);
    return true;
  }
  assert_memory_equal(labels, f->labels, sizeof f->labels);
  gd_free(labels);
  return false;
}

static bool sample_set_refused(const fixture *f) {
  gd_sample_set set;
  uint8_t *images;
  gd_err err = gd_sample_set_read(test_comm, f->path, &set, &images);
  if (err != GD_OK) {
    assert_int_equal(err, GD_ERR_INPUT);
    assert_message(f->path);
    assert_null(images);
    return true;
  }
  const gd_sample_set *w = &f->set;
  assert_true(set.n_global == w->n_global && set.h == w->h && set.w == w->w && set.c == w->c);
  assert_string_equal(set.sampler, w->sampler);
  assert_true(set.steps == w->steps && set.eta == w->eta && set.seed == w->seed);
  assert_true(set.checkpoint_digest == w->checkpoint_digest);
  if (set.local.end > set.local.begin)
    assert_memory_equal(images, f->images + set.local.begin * IMAGE, (size_t)(set.local.end - set.local.begin) * IMAGE);
  assert_true(set.guidance == w->guidance && set.evaluations == w->evaluations);
  assert_string_equal(set.timesteps, w->timesteps);
  gd_free(images);
  return labels_refused(f);
}

/* ---- Damage ---- */

static uint64_t random_seed(void) {
  const char *text = getenv("GD_TEST_SEED");
  uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)(gd_seconds() * 1e6);
  MPI_Bcast(&seed, 1, MPI_UINT64_T, 0, test_comm->mpi);
  return seed;
}

static uint32_t draw(uint64_t seed, uint64_t index, size_t below) {
  return gd_random_below((gd_random){seed, GD_RANDOM_SUBSET, 0, 0}, index, (uint32_t)below);
}

static void note(figures *counted, bool was_refused) {
  counted->n++;
  counted->n_refused += was_refused;
}

// `how`: 0..7 flips that bit; 8 flips all bits; 9 sets the byte to 0, 10 to 1, in many positions the number of an older
// version.
static void change_byte(const fixture *f, refused read, size_t position, unsigned how, figures *counted) {
  if ((int64_t)position >= f->unread.begin && (int64_t)position < f->unread.end) return;
  unsigned good = f->bytes[position], bad = how < 8 ? good ^ 1u << how : how == 8 ? good ^ 0xff : how - 9;
  if (bad == good) bad = good ^ 0x80;
  f->bytes[position] = (uint8_t)bad;
  file_write(f->path, f->bytes, f->nbytes);
  f->bytes[position] = (uint8_t)good;
  note(counted, read(f));
}

// Every byte of the superblock in three ways, then every `stride`th byte, then `n_random`.
static figures change_bytes(const fixture *f, refused read, size_t n_systematic, size_t n_random, uint64_t seed) {
  figures counted = {0};
  size_t stride = getenv("GD_TEST_EVERY_BYTE") ? 1 : f->nbytes / n_systematic;
  for (size_t i = 0; i < SUPERBLOCK; i++)
    for (unsigned k = 0; k < 3; k++) change_byte(f, read, i, k == 0 ? (unsigned)i % 8 : 8 + k, &counted);
  for (size_t i = SUPERBLOCK; i < f->nbytes; i += stride) change_byte(f, read, i, draw(seed + 1, i, 11), &counted);
  for (size_t i = 0; i < n_random; i++) change_byte(f, read, draw(seed, i, f->nbytes), draw(seed + 2, i, 11), &counted);
  return counted;
}

// Truncated files, and (`zeroed`) files whose end was never written.
static figures cut_off(const fixture *f, refused read, size_t n, uint64_t seed, bool zeroed) {
  figures counted = {0};
  uint8_t *bytes = gd_alloc(f->nbytes);
  for (size_t i = 0; i <= n + n / 2; i++) {
    size_t length = i < n ? i * f->nbytes / n : i == n ? f->nbytes - 1 : draw(seed + 3, i, f->nbytes);
    memcpy(bytes, f->bytes, length);
    memset(bytes + length, 0, f->nbytes - length);
    file_write(f->path, bytes, zeroed ? f->nbytes : length);
    bool was_refused = read(f);
    if (!zeroed) assert_true(was_refused);
    note(&counted, was_refused);
  }
  gd_free(bytes);
  return counted;
}

static void damage(const fixture *f, const char *what, refused read, size_t n_bytes, size_t n_lengths) {
  uint64_t seed = random_seed();
  if (test_comm->rank == 0)
    print_message("%s: %zu bytes, GD_TEST_SEED=%llu\n", what, f->nbytes, (unsigned long long)seed);
  assert_false(read(f));
  figures changed = change_bytes(f, read, n_bytes, n_bytes / 2, seed);
  figures cut = cut_off(f, read, n_lengths, seed, false), zeroed = cut_off(f, read, n_lengths, seed, true);
  if (test_comm->rank == 0)
    print_message(
        "%s, %d ranks: %d bytes changed: %d refused, %d harmless; cut off at %d lengths: %d refused; "
        "zeroed from %d places on: %d refused\n",
        what, test_comm->size, changed.n, changed.n_refused, changed.n - changed.n_refused, cut.n, cut.n_refused,
        zeroed.n, zeroed.n_refused);
  assert_true(changed.n_refused > changed.n * 3 / 4);
  assert_true(zeroed.n_refused > zeroed.n * 3 / 4);
}

static void test_checkpoint(void **state) {
  damage(*state, "checkpoint", checkpoint_refused, 400, 60);
}

// HDF5 trusts the sizes of attributes without a checksum: here each byte of the name, type and size of a long attribute
// is changed in each way.
static void test_long_attribute(void **state) {
  enum { HEAD = 9 + sizeof "config" + 8 + 4 };  // sizes, name, type, space
  const fixture *f = *state;
  figures counted = {0};
  const uint8_t *text = memmem(f->bytes, f->nbytes, f->checkpoint.config_text, 61);
  assert_non_null(text);
  size_t end = (size_t)(text - f->bytes);
  assert_memory_equal(text - HEAD + 9, "config", sizeof "config");
  for (size_t i = end - HEAD; i < end; i++)
    for (unsigned how = 0; how < 11; how++) change_byte(f, checkpoint_refused, i, how, &counted);
  assert_int_equal(counted.n_refused, counted.n);
}

static void test_sample_set(void **state) {
  damage(*state, "sample set", sample_set_refused, 240, 30);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_checkpoint, set_up_checkpoint, tear_down),
      cmocka_unit_test_setup_teardown(test_long_attribute, set_up_checkpoint, tear_down),
      cmocka_unit_test_setup_teardown(test_sample_set, set_up_sample_set, tear_down),
  };
  return GD_TEST_MAIN(tests);
}
