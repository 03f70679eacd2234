/* Finds and checks what hdf5_contents.c has read: attributes by type and range, datasets by shape, and the seal, a
 * digest over all attributes and datasets (through the datasets' own digests). */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/hdf5_contents.h"

const gd_attribute *gd_contents_attribute(const gd_contents *contents, const char *name) {
  for (int i = 0; i < contents->n_attributes; i++)
    if (strcmp(contents->attributes[i].name, name) == 0) return &contents->attributes[i];
  return NULL;
}

const gd_object *gd_contents_object(const gd_contents *contents, const char *name) {
  for (int i = 0; i < contents->n_objects; i++)
    if (strcmp(contents->objects[i].name, name) == 0) return &contents->objects[i];
  return NULL;
}

/* ---- Attributes ---- */

static gd_err find_attribute(const gd_hdf5 *file, const gd_contents *contents, const char *name, gd_attribute_type type,
                             const char **text) {
  static const char *const types[] = {"an integer", "a real number", "text", "other"};
  const gd_attribute *attribute = gd_contents_attribute(contents, name);
  if (!attribute) return gd_error(GD_ERR_INPUT, "%s: attribute '%s' is missing", file->path, name);
  if (attribute->type != type)
    return gd_error(GD_ERR_INPUT, "%s: attribute '%s' is not %s", file->path, name, types[type]);
  *text = attribute->text;
  return GD_OK;
}

gd_err gd_contents_int(const gd_hdf5 *file, const gd_contents *contents, const char *name, int64_t min, int64_t max,
                       int64_t *value) {
  const char *text;
  gd_err err = find_attribute(file, contents, name, GD_ATTRIBUTE_INTEGER, &text);
  if (err != GD_OK) return err;
  char *end;
  errno = 0;
  *value = strtoll(text, &end, 10);
  if (errno || *end || *value < min || *value > max)
    return gd_error(GD_ERR_INPUT, "%s: attribute '%s' is %s, must be from %" PRId64 " to %" PRId64, file->path, name,
                    text, min, max);
  return GD_OK;
}

gd_err gd_contents_uint(const gd_hdf5 *file, const gd_contents *contents, const char *name, uint64_t *value) {
  const char *text;
  gd_err err = find_attribute(file, contents, name, GD_ATTRIBUTE_INTEGER, &text);
  if (err != GD_OK) return err;
  char *end;
  errno = 0;
  *value = strtoull(text, &end, 10);
  if (errno || *end || text[0] == '-')
    return gd_error(GD_ERR_INPUT, "%s: attribute '%s' is %s, must not be negative", file->path, name, text);
  return GD_OK;
}

gd_err gd_contents_double(const gd_hdf5 *file, const gd_contents *contents, const char *name, double *value) {
  const char *text;
  gd_err err = find_attribute(file, contents, name, GD_ATTRIBUTE_REAL, &text);
  if (err != GD_OK) return err;
  char *end;
  *value = strtod(text, &end);
  if (*end || !isfinite(*value))
    return gd_error(GD_ERR_INPUT, "%s: attribute '%s' is %s, not a finite number", file->path, name, text);
  return GD_OK;
}

gd_err gd_contents_text(const gd_hdf5 *file, const gd_contents *contents, const char *name, const char **text) {
  return find_attribute(file, contents, name, GD_ATTRIBUTE_TEXT, text);
}

gd_err gd_contents_digest(const gd_hdf5 *file, const gd_contents *contents, const char *name, uint64_t *digest) {
  const char *text;
  gd_err err = find_attribute(file, contents, name, GD_ATTRIBUTE_TEXT, &text);
  if (err != GD_OK) return err;
  if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
    return gd_error(GD_ERR_INPUT, "%s: attribute '%s' is not a digest of 16 digits", file->path, name);
  *digest = strtoull(text, NULL, 16);
  return GD_OK;
}

/* ---- Seal ---- */

static uint64_t digest_line(char *line, uint64_t digest) {
  digest = gd_digest(line, strlen(line), digest);
  gd_free(line);
  return digest;
}

// With the lengths, different files cannot give the same text.
static uint64_t digest_object(const gd_object *object, uint64_t digest) {
  const char *kind = object->is_group ? "group" : "dataset";
  digest = digest_line(gd_format("%s %zu %s\n", kind, strlen(object->name), object->name), digest);
  if (object->is_group) return digest;
  digest = digest_line(gd_format("%s %d", object->type, object->n_dims), digest);
  for (int i = 0; i < object->n_dims; i++) digest = digest_line(gd_format(" %" PRId64, object->dims[i]), digest);
  return digest_line(gd_format(" %d %016" PRIx64 "\n", object->has_digest, object->digest), digest);
}

static uint64_t seal_of(const gd_contents *contents) {
  uint64_t digest = 0;
  for (int i = 0; i < contents->n_attributes; i++) {
    const gd_attribute *a = &contents->attributes[i];
    if (strcmp(a->name, "header_xxh3") == 0) continue;
    char *line = gd_format("attribute %zu %s %d %zu %s\n", strlen(a->name), a->name, a->type, strlen(a->text), a->text);
    digest = digest_line(line, digest);
  }
  for (int i = 0; i < contents->n_objects; i++) digest = digest_object(&contents->objects[i], digest);
  return digest;
}

bool gd_contents_seal_matches(const gd_contents *contents) {
  const gd_attribute *seal = gd_contents_attribute(contents, "header_xxh3");
  char expected[17];
  snprintf(expected, sizeof expected, "%016" PRIx64, seal_of(contents));
  return seal && strcmp(seal->text, expected) == 0;
}

gd_err gd_hdf5_put_seal(gd_hdf5 *file) {
  gd_contents contents;
  gd_err err = gd_contents_read(file, &contents);
  if (err == GD_OK) err = gd_hdf5_put_digest(file, "header_xxh3", seal_of(&contents));
  gd_contents_clear(&contents);
  return gd_comm_agree(file->comm, err);
}

gd_err gd_contents_check(const gd_hdf5 *file, const gd_contents *contents, const char *kind, int version) {
  const gd_attribute *found = gd_contents_attribute(contents, "kind");
  if (!found) return gd_error(GD_ERR_INPUT, "%s: not a file of gendistill: attribute 'kind' is missing", file->path);
  if (found->type != GD_ATTRIBUTE_TEXT || strcmp(found->text, kind) != 0)
    return gd_error(GD_ERR_INPUT, "%s: kind is '%s', must be '%s'", file->path, found->text, kind);
  int64_t found_version;
  gd_err err = gd_contents_int(file, contents, "format_version", 1, version, &found_version);
  if (err != GD_OK) return gd_error_context(err, "this program knows format versions up to %d", version);
  if (!gd_contents_seal_matches(contents))
    return gd_error(GD_ERR_INPUT, "%s: damaged: the digest header_xxh3 does not match attributes and datasets",
                    file->path);
  return GD_OK;
}

/* ---- Datasets ---- */

static bool has_type(const gd_object *object, gd_hdf5_type type) {
  H5T_class_t value_class = type == GD_HDF5_FLOAT32 || type == GD_HDF5_FLOAT64 ? H5T_FLOAT : H5T_INTEGER;
  return object->value_class == value_class && object->value_nbytes == gd_hdf5_type_size(type);
}

gd_err gd_contents_expect(const gd_hdf5 *file, const gd_contents *contents, const char *name, gd_hdf5_shape shape,
                          const gd_object **out) {
  static const char *const types[] = {[GD_HDF5_FLOAT32] = "float32",
                                      [GD_HDF5_FLOAT64] = "float64",
                                      [GD_HDF5_UINT8] = "uint8",
                                      [GD_HDF5_INT64] = "int64"};
  const gd_object *object = gd_contents_object(contents, name);
  if (!object || object->is_group) return gd_error(GD_ERR_INPUT, "%s: dataset '%s' is missing", file->path, name);
  bool fits = object->n_dims == shape.n_dims && has_type(object, shape.type);
  for (int i = 0; fits && i < shape.n_dims; i++) fits = shape.dims[i] < 0 || object->dims[i] == shape.dims[i];
  if (!fits) {
    char text[128] = "";
    for (int i = 0, n = 0; i < shape.n_dims; i++)
      n += snprintf(text + n, sizeof text - (size_t)n, i ? ", %" PRId64 : "%" PRId64, shape.dims[i]);
    return gd_error(GD_ERR_INPUT, "%s: dataset '%s' has another shape or type than %s (%s)", file->path, name,
                    types[shape.type], text);
  }
  if (!object->has_digest) return gd_error(GD_ERR_INPUT, "%s: dataset '%s' has no checksum", file->path, name);
  *out = object;
  return gd_contents_check_size(file, object);
}

// HDF5 returns zeros for values that were never written, in any number. So a dataset must not be larger than its part
// of the file; compressed, it can be 1,000 times as large.
gd_err gd_contents_check_size(const gd_hdf5 *file, const gd_object *object) {
  if (object->is_elsewhere)
    return gd_error(GD_ERR_INPUT, "%s: the values of dataset '%s' are in other files: copy them into this one",
                    file->path, object->name);
  if (object->no_filter[0])
    return gd_error(
        GD_ERR_INPUT,
        "%s: dataset '%s' is compressed by the filter %s, which is not installed: store the dataset without it, or "
        "set HDF5_PLUGIN_PATH to the filter's folder",
        file->path, object->name, object->no_filter);
  int64_t max_nbytes = object->stored_nbytes < file->nbytes ? object->stored_nbytes : file->nbytes;
  if (object->is_packed) max_nbytes = max_nbytes > INT64_MAX / 1100 ? INT64_MAX : max_nbytes * 1100;
  int64_t nbytes = (int64_t)object->value_nbytes;
  for (int i = 0; i < object->n_dims; i++) {
    if (object->dims[i] == 0) return GD_OK;
    if (nbytes > max_nbytes / object->dims[i])
      return gd_error(GD_ERR_INPUT, "%s: dataset '%s' is larger than its part of the file (%" PRId64 " bytes)",
                      file->path, object->name, object->stored_nbytes);
    nbytes *= object->dims[i];
  }
  return GD_OK;
}
