/* HDF5 files from the fuzzer's bytes: raw, or made from a recipe (see fuzz_hdf5.h). */
#define _GNU_SOURCE  // memmem
#include "fuzz_hdf5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "small_table.h"
#include "store/features.h"
#include "store/hdf5_contents.h"

enum { N_BASES = 5, MAX_STEPS = 16, MAX_VALUES_NBYTES = 65536 };

typedef struct bytes {
  uint8_t *data;
  size_t nbytes;
} bytes;

/* ---- The project's own files ---- */

static void require(gd_err err) {
  if (err != GD_OK) gd_abort("%s", gd_error_message());
}

static void write_checkpoint(const char *path) {
  gd_param_table table = small_table();
  gd_checkpoint c = small_checkpoint(&table, true);
  require(gd_checkpoint_write(fuzz_comm, path, &table, &c));
  gd_checkpoint_clear(&c);
}

static void write_sample_set(const char *path) {
  static const uint8_t images[3 * 4 * 4] = {1, 2, 3};
  static const float x_0[3 * 4 * 4] = {0.5f};
  gd_sample_set set = {.n_global = 3, .h = 4, .w = 4, .c = 1, .sampler = "ddim", .steps = 2, .local = {0, 3}};
  set.images = images;
  set.x_0 = x_0;
  require(gd_sample_set_write(fuzz_comm, path, &set));
}

static void write_features(const char *path) {
  double values[12] = {1, 2, 3, 4, -1};
  gd_features f = {.n_global = 4, .width = 3, .local = {0, 4}, .values = values};
  require(gd_features_write(fuzz_comm, path, &f, "resnet18"));
}

static void write_statistics(const char *path) {
  double mean[3] = {1, 2, 3}, covariance[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  gd_statistics s = {.n = 7, .width = 3, .mean = mean, .covariance = covariance};
  require(gd_statistics_write(fuzz_comm, path, &s));
}

static void write_empty(const char *path) {
  gd_hdf5 *file;
  require(gd_hdf5_create(&file, fuzz_comm, path, 4096));
  require(gd_hdf5_commit(&file));
}

static bytes base_of(unsigned which) {
  static void (*const writers[N_BASES])(const char *) = {write_empty, write_checkpoint, write_sample_set,
                                                         write_features, write_statistics};
  static bytes kept[N_BASES];
  bytes *b = &kept[which % N_BASES];
  if (!b->data) {
    writers[which % N_BASES](fuzz_path("base.h5"));
    b->data = fuzz_read(fuzz_path("base.h5"), &b->nbytes);
  }
  return *b;
}

/* ---- Recipes ---- */

typedef struct recipe {
  const uint8_t *at, *end;
  hid_t file;
} recipe;

static unsigned take(recipe *r, unsigned n) {
  return r->at < r->end ? *r->at++ % n : 0;
}

static const char *take_name(recipe *r, const char *const *names, unsigned n) {
  return names[take(r, n)];
}
#define TAKE_NAME(r, names) take_name(r, names, sizeof(names) / sizeof *(names))

// Shapes that the readers expect, small ones, and claims of any size.
static int take_dims(recipe *r, hsize_t dims[6]) {
  int n = (int)take(r, 6);
  for (int i = 0; i < n; i++) {
    unsigned kind = take(r, 256);
    dims[i] = kind < 200 ? kind % 16 : (hsize_t)1 << kind % 64;
  }
  return n;
}

static hid_t take_space(recipe *r, hsize_t *count) {
  hsize_t dims[6] = {0};
  if (take(r, 32) == 31) {
    *count = 0;
    return H5Screate(H5S_NULL);
  }
  int n = take_dims(r, dims);
  *count = 1;
  for (int i = 0; i < n; i++)
    if (__builtin_mul_overflow(*count, dims[i], count)) *count = UINT64_MAX, i = n;
  return n ? H5Screate_simple(n, dims, NULL) : H5Screate(H5S_SCALAR);
}

static hid_t text_type(size_t nbytes) {
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, nbytes);
  return type;
}

static hid_t compound_type(void) {
  hid_t type = H5Tcreate(H5T_COMPOUND, 16);
  H5Tinsert(type, "a", 0, H5T_STD_I64LE);
  H5Tinsert(type, "b", 8, H5T_IEEE_F64LE);
  return type;
}

static hid_t enum_type(void) {
  hid_t type = H5Tenum_create(H5T_STD_I32LE);
  int one = 1;
  H5Tenum_insert(type, "one", &one);
  return type;
}

static hid_t odd_float(recipe *r) {
  hid_t type = H5Tcopy(H5T_IEEE_F64LE);
  size_t mantissa = 1 + take(r, 30);
  H5Tset_fields(type, mantissa + 8, mantissa, 8, 0, mantissa);
  H5Tset_precision(type, mantissa + 9);
  H5Tset_size(type, 1 + take(r, 16));
  return type;
}

static hid_t odd_integer(recipe *r) {
  hid_t type = H5Tcopy(H5T_STD_I64LE);
  H5Tset_precision(type, 1 + take(r, 64));
  H5Tset_size(type, 1 + take(r, 32));
  return type;
}

static hid_t take_type(recipe *r) {
  const hsize_t two = 2;
  const hid_t plain[] = {H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_U8LE,   H5T_STD_I64LE, H5T_STD_U64LE,  H5T_STD_I32LE,
                         H5T_STD_I8LE,   H5T_STD_B32LE,  H5T_IEEE_F32BE, H5T_STD_I64BE, H5T_STD_REF_OBJ};
  unsigned kind = take(r, 20);
  if (kind < sizeof plain / sizeof *plain) return H5Tcopy(plain[kind]);
  switch (kind) {
    case 11:
      return text_type(1 + take(r, 32));
    case 12:
      return text_type(17);
    case 13:
      return text_type(H5T_VARIABLE);
    case 14:
      return compound_type();
    case 15:
      return enum_type();
    case 16:
      return H5Tarray_create2(H5T_IEEE_F32LE, 1, &two);
    case 17:
      return H5Tvlen_create(H5T_STD_I32LE);
    case 18:
      return odd_float(r);
    default:
      return odd_integer(r);
  }
}

// Values from the input, repeated; none that HDF5 would take for an address.
static void *take_values(recipe *r, hid_t type, hsize_t count) {
  size_t nbytes = H5Tget_size(type);
  bool plain = H5Tget_class(type) != H5T_VLEN && H5Tis_variable_str(type) <= 0 && H5Tget_class(type) != H5T_REFERENCE;
  if (!plain || nbytes == 0 || count > MAX_VALUES_NBYTES / nbytes) return NULL;
  uint8_t *values = gd_alloc_zero(count * nbytes + 1);
  unsigned n = take(r, 24);
  for (size_t i = 0; i < count * nbytes && n; i++)
    values[i] = r->at < r->end ? r->at[i % n % (size_t)(r->end - r->at)] : 0;
  for (unsigned i = 0; i < n && r->at < r->end; i++) r->at++;
  return values;
}

static void put_attribute(recipe *r, hid_t object, const char *name) {
  static const char *const texts[] = {"checkpoint",       "sample_set", "feature_set",
                                      "statistics",       "ddim",       "a name too long for a sampler",
                                      "0123456789abcdef", "seed: 1\n",  ""};
  hsize_t count = 1;
  bool named = take(r, 2);
  const char *text = named ? TAKE_NAME(r, texts) : NULL;
  hid_t type = text ? text_type(strlen(text) + 1) : take_type(r);
  hid_t space = text ? H5Screate(H5S_SCALAR) : take_space(r, &count);
  void *values = text ? NULL : take_values(r, type, count);
  if (H5Aexists(object, name) > 0) H5Adelete(object, name);
  hid_t attribute = count * H5Tget_size(type) <= MAX_VALUES_NBYTES
                        ? H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT)
                        : H5I_INVALID_HID;
  if (attribute >= 0) {
    if (text || values) H5Awrite(attribute, type, text ? (const void *)text : values);
    H5Aclose(attribute);
  }
  gd_free(values);
  H5Sclose(space);
  H5Tclose(type);
}

static hid_t take_storage(recipe *r, hid_t space) {
  hid_t properties = H5Pcreate(H5P_DATASET_CREATE);
  hsize_t dims[H5S_MAX_RANK];
  int n = H5Sget_simple_extent_dims(space, dims, NULL);
  unsigned kind = take(r, 5);
  if (kind == 1) H5Pset_layout(properties, H5D_COMPACT);
  if (kind >= 2 && n > 0) {
    for (int i = 0; i < n; i++)
      if (dims[i] > 8 || dims[i] == 0) dims[i] = 1 + take(r, 8);
    H5Pset_chunk(properties, n, dims);
    if (kind >= 3) H5Pset_deflate(properties, 1);
    if (kind >= 4) H5Pset_shuffle(properties);
  }
  return properties;
}

static void put_digest(recipe *r, hid_t dataset, const void *values, size_t nbytes) {
  unsigned kind = take(r, 4);
  if (kind == 3) put_attribute(r, dataset, "xxh3");
  if (kind == 0 || kind == 3) return;
  char text[17];
  snprintf(text, sizeof text, "%016llx", kind == 1 ? (unsigned long long)gd_digest(values, nbytes, 0) : 1ull);
  hid_t type = text_type(sizeof text), space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(dataset, "xxh3", type, space, H5P_DEFAULT, H5P_DEFAULT);
  if (attribute >= 0) {
    H5Awrite(attribute, type, text);
    H5Aclose(attribute);
  }
  H5Sclose(space);
  H5Tclose(type);
}

static const char *const objects[] = {"/images",          "/index",  "/x_0",         "/features",    "/mean",
                                      "/covariance",      "/x_T",    "/model/scale", "/model/cube",  "/optimizer/m",
                                      "/optimizer/v",     "/other",  "/ema/scale",   "/model/other", "/model",
                                      "/teacher/scale",   "/ema",    "/optimizer",   "/a",           "/a/b",
                                      "/model/norm.bias", "/teacher"};

static void put_dataset(recipe *r) {
  const char *name = TAKE_NAME(r, objects);
  hsize_t count;
  hid_t type = take_type(r), space = take_space(r, &count), storage = take_storage(r, space);
  hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  H5Ldelete(r->file, name, H5P_DEFAULT);
  hid_t dataset = H5Dcreate2(r->file, name, type, space, links, storage, H5P_DEFAULT);
  void *values = dataset >= 0 ? take_values(r, type, count) : NULL;
  if (values && take(r, 8)) H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  if (dataset >= 0) {
    put_digest(r, dataset, values ? values : "", values ? count * H5Tget_size(type) : 0);
    H5Dclose(dataset);
  }
  gd_free(values);
  H5Pclose(links);
  H5Pclose(storage);
  H5Sclose(space);
  H5Tclose(type);
}

static void put_link(recipe *r) {
  const char *name = TAKE_NAME(r, objects), *target = TAKE_NAME(r, objects);
  unsigned kind = take(r, 2);
  if (kind == 0) H5Lcreate_soft(target, r->file, name, H5P_DEFAULT, H5P_DEFAULT);
  if (kind == 1) H5Lcreate_external("base.h5", target, r->file, name, H5P_DEFAULT, H5P_DEFAULT);
}

static void put_something(recipe *r) {
  static const char *const names[] = {"kind",        "format_version",   "task",          "epoch",          "step",
                                      "global_step", "task_done",        "seed",          "config",         "n",
                                      "sampler",     "parameter_digest", "test_accuracy", "replay_seconds", "steps",
                                      "eta",         "code_version",     "extractor",     "header_xxh3",    "other",
                                      "xxh3",        "checkpoint_digest"};
  hid_t group;
  switch (take(r, 6)) {
    case 0:
    case 1:
      put_attribute(r, r->file, TAKE_NAME(r, names));
      break;
    case 2:
    case 3:
      put_dataset(r);
      break;
    case 4:
      put_link(r);
      break;
    default:
      if (take(r, 2)) {
        H5Ldelete(r->file, TAKE_NAME(r, objects), H5P_DEFAULT);
      } else if ((group = H5Gcreate2(r->file, TAKE_NAME(r, objects), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)) >= 0) {
        H5Gclose(group);
      }
  }
}

// Links back to the root, made last: HDF5 1.10 miscounts the links of groups that are changed through them.
static void put_circles(hid_t id, int n) {
  static const char *const names[] = {"/circle", "/model/circle", "/another"};
  for (int i = 0; i < n; i++) H5Lcreate_hard(id, "/", id, names[i], H5P_DEFAULT, H5P_DEFAULT);
}

static void seal(hid_t id, const char *path) {
  gd_hdf5 file = {.comm = fuzz_comm, .id = id, .path = gd_strdup(path), .has_checksums = true};
  if (H5Aexists(id, "header_xxh3") > 0) H5Adelete(id, "header_xxh3");
  (void)gd_hdf5_put_seal(&file);  // a file that cannot be sealed stays unsealed
  gd_free(file.path);
}

static void follow(const char *path, const uint8_t *data, size_t nbytes) {
  bytes base = base_of(data[0] & 7);
  fuzz_write("a.h5", base.data, base.nbytes);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  recipe r = {.at = data + 1, .end = data + nbytes, .file = H5Fopen(path, H5F_ACC_RDWR, access)};
  if (r.file < 0) gd_abort("%s: cannot open", path);
  for (int i = 0; i < MAX_STEPS && r.at < r.end; i++) put_something(&r);
  put_circles(r.file, data[0] >> 4 & 3);
  if (!(data[0] & 8)) seal(r.file, path);
  if (H5Fclose(r.file) < 0) gd_abort("%s: cannot close", path);
  H5Pclose(access);
}

const char *fuzz_hdf5_make(const uint8_t *data, size_t nbytes) {
  static const uint8_t signature[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  if (nbytes < 1) return NULL;
  if (data[0] == 'R') {
    const uint8_t *found = memmem(data + 1, nbytes - 1, signature, sizeof signature);
    bool old = found && (found + 8 == data + nbytes || found[8] < 2);
    if (old && !getenv("GD_FUZZ_OLD_HDF5")) return NULL;
    fuzz_write("a.h5", data + 1, nbytes - 1);
  } else {
    char *path = gd_strdup(fuzz_path("a.h5"));
    follow(path, data, nbytes);
    gd_free(path);
  }
  return fuzz_path("a.h5");
}

/* ---- Seeds ---- */

static void seed_raw(const char *name, bytes file) {
  uint8_t *seed = gd_alloc(file.nbytes + 1);
  seed[0] = 'R';
  memcpy(seed + 1, file.data, file.nbytes);
  fuzz_seed(name, seed, file.nbytes + 1);
  gd_free(seed);
}

// In the older file format, as h5py writes it.
static void seed_old(void) {
  float values[24] = {1, 2, 3};
  hsize_t dims[2] = {4, 6}, four[4] = {2, 1, 3, 4}, chunk[4] = {1, 1, 3, 2};
  hid_t file = H5Fcreate(fuzz_path("old.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), plain = H5P_DEFAULT;
  hid_t packed = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(2, dims, NULL);
  hid_t space_four = H5Screate_simple(4, four, NULL), scalar = H5Screate(H5S_SCALAR);
  H5Pset_chunk(packed, 4, chunk);
  H5Pset_deflate(packed, 1);
  hid_t features = H5Dcreate2(file, "/features", H5T_IEEE_F32LE, space, plain, plain, plain);
  hid_t noise = H5Dcreate2(file, "/x_T", H5T_IEEE_F32LE, space_four, plain, packed, plain);
  H5Dwrite(features, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, plain, values);
  H5Dwrite(noise, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, plain, values);
  hid_t attribute = H5Acreate2(file, "about", H5T_STD_I64LE, scalar, plain, plain);
  H5Aclose(attribute);
  H5Dclose(features);
  H5Dclose(noise);
  H5Fclose(file);
  bytes old;
  old.data = fuzz_read(fuzz_path("old.h5"), &old.nbytes);
  seed_raw("old", old);
  gd_free(old.data);
}

void fuzz_hdf5_seeds(void) {
  for (uint8_t i = 0; i < N_BASES; i++) {
    char name[32];
    snprintf(name, sizeof name, "base-%d", i);
    seed_raw(name, base_of(i));
    for (uint8_t unsealed = 0; unsealed < 2; unsealed++) {
      // one valid attribute and one valid dataset more
      uint8_t made[] = {
          (uint8_t)(i | unsealed << 3), 0, 19, 0, 1, 0, 1, 3, 2, 5, 7, 2, 12, 0, 0, 2, 3, 4, 0, 4, 1, 2, 3, 4, 1, 1};
      snprintf(name, sizeof name, "recipe-%d-%d", i, unsealed);
      fuzz_seed(name, made, sizeof made);
    }
  }
  if (getenv("GD_FUZZ_OLD_HDF5")) seed_old();
}
