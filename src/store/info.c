/* `gendistill info`: what is in an HDF5 file, and whether its checksums match. Files of other programs have no kind and
 * no checksums. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gendistill/store.h"
#include "store/hdf5_contents.h"
#include "store/sample_set.h"

// Results of the comparison of checksums.
typedef struct checksums {
  int n_matching;
  int n_failed;
  char *failed;  // names, separated by ", "; NULL for none
} checksums;

static void count_checksum(checksums *v, const char *name, bool matches) {
  if (matches) {
    v->n_matching++;
    return;
  }
  v->n_failed++;
  char *longer = v->failed ? gd_format("%s, %s", v->failed, name) : gd_strdup(name);
  gd_free(v->failed);
  v->failed = longer;
}

/* ---- Verify ---- */

static bool has_native_type(const gd_object *object, gd_hdf5_type *type) {
  if (strcmp(object->type, "float32") == 0)
    *type = GD_HDF5_FLOAT32;
  else if (strcmp(object->type, "float64") == 0)
    *type = GD_HDF5_FLOAT64;
  else if (strcmp(object->type, "uint8") == 0)
    *type = GD_HDF5_UINT8;
  else if (strcmp(object->type, "int64") == 0)
    *type = GD_HDF5_INT64;
  else
    return false;
  return object->n_dims >= 1 && object->n_dims <= 4;
}

// Each rank checks its part of a set of images or features; everything else is small enough for every rank.
static bool dataset_matches(gd_hdf5 *file, const gd_object *object, bool is_sharded) {
  gd_hdf5_shape shape = {.n_dims = object->n_dims};
  bool ok = has_native_type(object, &shape.type) && gd_contents_check_size(file, object) == GD_OK;
  if (!ok) return false;
  memcpy(shape.dims, object->dims, sizeof shape.dims);
  int64_t n = shape.dims[0];
  gd_range rows = is_sharded ? gd_range_block(n, file->comm->size, file->comm->rank) : (gd_range){0, n};
  size_t row_nbytes = n ? (size_t)(object->count / n) * object->value_nbytes : 0;
  uint8_t *values = gd_alloc_zero((size_t)(rows.end - rows.begin) * row_nbytes);
  gd_err err = is_sharded ? gd_comm_agree(file->comm, gd_hdf5_read_rows(file, object->name, shape, rows, values))
                          : gd_hdf5_read_whole(file, object->name, shape, values);
  if (err == GD_OK && is_sharded)
    ok = gd_sample_images_digest(file->comm, n, rows, values, row_nbytes) == object->digest;
  else
    ok = err == GD_OK && gd_digest(values, (size_t)n * row_nbytes, 0) == object->digest;
  gd_free(values);
  return ok;
}

static void verify_checksums(gd_hdf5 *file, const gd_contents *contents, checksums *out) {
  const gd_attribute *kind = gd_contents_attribute(contents, "kind");
  bool is_set = kind && (strcmp(kind->text, "sample_set") == 0 || strcmp(kind->text, "feature_set") == 0);
  for (int i = 0; i < contents->n_objects; i++) {
    const gd_object *object = &contents->objects[i];
    if (!object->has_digest) continue;
    bool is_sharded = is_set && (strcmp(object->name, "/images") == 0 || strcmp(object->name, "/x_0") == 0 ||
                                 strcmp(object->name, "/label") == 0 || strcmp(object->name, "/features") == 0);
    count_checksum(out, object->name, dataset_matches(file, object, is_sharded));
  }
  if (gd_contents_attribute(contents, "header_xxh3"))
    count_checksum(out, "header_xxh3", gd_contents_seal_matches(contents));
}

/* ---- Print ---- */

// Text from a file must not control the terminal.
static void print_file_text(const char *text, const char *indent) {
  for (; *text; text++) {
    unsigned char byte = (unsigned char)*text;
    if (byte == '\n')
      printf("\n%s", text[1] ? indent : "");
    else
      putchar((byte < 32 && byte != '\t') || byte == 127 ? '?' : byte);
  }
}

static void print_attributes(const gd_contents *contents) {
  const gd_attribute *kind = gd_contents_attribute(contents, "kind"), *config = NULL;
  printf("%-20s ", "kind");
  print_file_text(kind ? kind->text : "unknown", "");
  putchar('\n');
  for (int i = 0; i < contents->n_attributes; i++) {
    const gd_attribute *a = &contents->attributes[i];
    if (a == kind) continue;
    if (strcmp(a->name, "config") == 0) {
      config = a;
      continue;
    }
    printf("%-20s ", a->name);
    print_file_text(a->text, "                     ");
    putchar('\n');
  }
  if (!config) return;
  printf("config\n  ");
  print_file_text(config->text, "  ");
  putchar('\n');
}

static void print_group(const gd_contents *contents, const char *group) {
  size_t length = strlen(group);
  int64_t n_values = 0;
  int n = 0;
  for (int i = 0; i < contents->n_objects; i++) {
    const gd_object *object = &contents->objects[i];
    if (object->is_group || strncmp(object->name, group, length) != 0 || object->name[length] != '/') continue;
    if (__builtin_add_overflow(n_values, object->count, &n_values)) n_values = INT64_MAX;
    n++;
  }
  print_file_text(group, "");
  printf(": %d dataset%s, %" PRId64 " values\n", n, n == 1 ? "" : "s", n_values);
}

static void print_dataset(const gd_object *object) {
  printf("  ");
  print_file_text(object->name, "");
  printf(" %s (", object->type);
  for (int i = 0; i < object->n_dims; i++) printf(i ? ", %" PRId64 : "%" PRId64, object->dims[i]);
  printf(")\n");
}

static void print_info(const gd_hdf5 *file, const gd_contents *contents, const checksums *v) {
  printf("%-20s %s\n", "file", file->path);
  print_attributes(contents);
  for (int i = 0; i < contents->n_objects; i++)
    if (contents->objects[i].is_group) print_group(contents, contents->objects[i].name);
  printf("datasets\n");
  for (int i = 0; i < contents->n_objects; i++)
    if (!contents->objects[i].is_group) print_dataset(&contents->objects[i]);
  if (v->n_failed) {
    printf("checksums: %d of %d do NOT match: ", v->n_failed, v->n_failed + v->n_matching);
    print_file_text(v->failed, "");
    putchar('\n');
  } else if (v->n_matching) {
    printf("checksums: all %d match\n", v->n_matching);
  } else {
    printf("checksums: none in this file\n");
  }
  fflush(stdout);
}

gd_err gd_store_info(const gd_comm *comm, const char *path) {
  gd_hdf5 *file = NULL;
  gd_contents contents = {0};
  checksums v = {0};
  gd_err err;
  GD_TRY(gd_hdf5_open(&file, comm, path, GD_HDF5_ANY));
  GD_TRY(gd_contents_read(file, &contents));
  verify_checksums(file, &contents, &v);
  if (comm->rank == 0) print_info(file, &contents, &v);
  if (v.n_failed) err = gd_error(GD_ERR_INPUT, "%s: damaged: checksums do not match: %s", path, v.failed);
  err = gd_comm_agree(comm, err);
done:
  gd_free(v.failed);
  gd_contents_clear(&contents);
  gd_hdf5_close(&file);
  return err;
}
