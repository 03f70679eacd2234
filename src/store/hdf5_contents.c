/* Walks through an HDF5 file: root attributes as text, groups and datasets in the order of their names.
 *
 * Files may come from other programs or be damaged, so every type and size is checked before it is used. Links to other
 * files and soft links are skipped: only what is in the file itself is read. */
#include "store/hdf5_contents.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OBJECTS = 100000, MAX_DEPTH = 16, MAX_VALUES = 64, MAX_ATTRIBUTE_NBYTES = 16 << 20 };

typedef struct walk {
  gd_hdf5 *file;
  gd_contents *contents;
  int object_room, attribute_room;
  const char *prefix;  // name of the current group
  int depth;
  gd_err err;
} walk;

// Makes room for one more element; if there is none, in a zeroed copy twice as long.
static void *grow_list(void *array, int n, int *room, size_t nbytes) {
  if (n < *room) return array;
  *room = *room ? 2 * *room : 32;
  char *longer = gd_alloc_zero((size_t)*room * nbytes);
  if (n) memcpy(longer, array, (size_t)n * nbytes);
  gd_free(array);
  return longer;
}

/* ---- Attributes ---- */

static char *join_items(char *list, char *item) {
  if (!list) return item;
  char *longer = gd_format("%s, %s", list, item);
  gd_free(list);
  gd_free(item);
  return longer;
}

static char *text_of_numbers(hid_t attribute, hid_t type, int n, gd_attribute_type kind) {
  bool is_signed = kind == GD_ATTRIBUTE_INTEGER && H5Tget_sign(type) == H5T_SGN_2;
  uint64_t values[MAX_VALUES] = {0};  // 8 bytes each for all three types
  hid_t memory = kind == GD_ATTRIBUTE_REAL ? H5T_NATIVE_DOUBLE : is_signed ? H5T_NATIVE_INT64 : H5T_NATIVE_UINT64;
  if (H5Aread(attribute, memory, values) < 0) return NULL;
  char *list = NULL;
  for (int i = 0; i < n; i++) {
    double real;
    memcpy(&real, &values[i], sizeof real);
    list = join_items(list, kind == GD_ATTRIBUTE_REAL ? gd_format("%.17g", real)
                            : is_signed               ? gd_format("%" PRId64, (int64_t)values[i])
                                                      : gd_format("%" PRIu64, values[i]));
  }
  return list;
}

static char *text_of_fixed(hid_t attribute, hid_t type, int n) {
  size_t nbytes = H5Tget_size(type);
  char *values = gd_alloc_zero((size_t)n * nbytes + 1), *list = NULL;
  if (H5Aread(attribute, type, values) >= 0)
    for (int i = 0; i < n; i++)
      list = join_items(
          list, gd_format("%.*s", (int)strnlen(values + (size_t)i * nbytes, nbytes), values + (size_t)i * nbytes));
  gd_free(values);
  return list;
}

// NULL if HDF5 cannot read the value. Text of variable length is not read: it is in a heap without a checksum, where
// HDF5 1.10 follows damaged addresses until it crashes. Our own files have none.
static char *text_of_value(hid_t attribute, hid_t type, hid_t space, gd_attribute_type *kind) {
  hssize_t n = H5Sget_simple_extent_npoints(space);
  size_t nbytes = H5Tget_size(type);
  H5T_class_t value_class = H5Tget_class(type);
  *kind = GD_ATTRIBUTE_OTHER;
  if (n < 0 || nbytes == 0) return NULL;
  if (n == 0 || n > MAX_VALUES || nbytes > MAX_ATTRIBUTE_NBYTES / (size_t)n)
    return gd_format("(%lld values)", (long long)n);
  if (value_class == H5T_INTEGER && nbytes <= 8)
    return text_of_numbers(attribute, type, (int)n, *kind = GD_ATTRIBUTE_INTEGER);
  if (value_class == H5T_FLOAT && nbytes <= 8)
    return text_of_numbers(attribute, type, (int)n, *kind = GD_ATTRIBUTE_REAL);
  if (value_class != H5T_STRING) return gd_strdup("(neither number nor text)");
  if (H5Tis_variable_str(type) != 0) return gd_strdup("(text of variable length)");
  *kind = GD_ATTRIBUTE_TEXT;
  return text_of_fixed(attribute, type, (int)n);
}

static char *attribute_text(hid_t object, const char *name, gd_attribute_type *kind) {
  char *text = NULL;
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return NULL;
  hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
  if (type >= 0 && space >= 0) text = text_of_value(attribute, type, space, kind);
  if (type >= 0) H5Tclose(type);
  if (space >= 0) H5Sclose(space);
  H5Aclose(attribute);
  return text;
}

static herr_t add_attribute(hid_t object, const char *name, const H5A_info_t *info, void *data) {
  (void)info;
  walk *w = data;
  gd_contents *c = w->contents;
  gd_attribute_type kind = GD_ATTRIBUTE_OTHER;
  char *text = attribute_text(object, name, &kind);
  if (!text) {
    w->err = gd_hdf5_error(w->file, "attribute '%s' cannot be read", name);
    return -1;
  }
  c->attributes = grow_list(c->attributes, c->n_attributes, &w->attribute_room, sizeof *c->attributes);
  c->attributes[c->n_attributes++] = (gd_attribute){.name = gd_strdup(name), .type = kind, .text = text};
  return 0;
}

/* ---- Groups and datasets ---- */

static void describe_type(hid_t type, gd_object *out) {
  out->value_class = H5Tget_class(type);
  out->value_nbytes = H5Tget_size(type);
  int bits = (int)(out->value_nbytes * 8);
  if (out->value_class == H5T_FLOAT)
    snprintf(out->type, sizeof out->type, "float%d", bits);
  else if (out->value_class == H5T_INTEGER)
    snprintf(out->type, sizeof out->type, "%sint%d", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
  else
    snprintf(out->type, sizeof out->type, "%s", out->value_class == H5T_STRING ? "text" : "other");
}

static bool describe_space(hid_t space, gd_object *out) {
  hsize_t dims[H5S_MAX_RANK];
  out->n_dims = H5Sget_simple_extent_dims(space, dims, NULL);
  hssize_t count = H5Sget_simple_extent_npoints(space);
  if (out->n_dims < 0 || count < 0) return false;
  out->count = count;
  for (int i = 0; i < out->n_dims; i++) {
    if (dims[i] > INT64_MAX) return false;
    out->dims[i] = (int64_t)dims[i];
  }
  return true;
}

static void describe_filters(hid_t properties, int n_filters, gd_object *out) {
  for (int i = 0; i < n_filters; i++) {
    unsigned flags;
    size_t n_values = 0;
    char name[24] = "";
    H5Z_filter_t filter = H5Pget_filter2(properties, (unsigned)i, &flags, &n_values, NULL, sizeof name, name, NULL);
    if (filter < 0 || H5Zfilter_avail(filter) > 0) continue;
    name[sizeof name - 1] = 0;
    snprintf(out->no_filter, sizeof out->no_filter, name[0] ? "%d (%s)" : "%d", (int)filter, name);
  }
}

static bool describe_storage(hid_t dataset, gd_object *out) {
  hid_t properties = H5Dget_create_plist(dataset);
  if (properties < 0) return false;
  int n_filters = H5Pget_nfilters(properties), n_external = H5Pget_external_count(properties);
  hsize_t nbytes = H5Dget_storage_size(dataset);
  out->is_packed = n_filters > 0;
  describe_filters(properties, n_filters, out);
  out->is_elsewhere = n_external > 0 || H5Pget_layout(properties) == H5D_VIRTUAL;
  out->stored_nbytes = nbytes > INT64_MAX ? INT64_MAX : (int64_t)nbytes;
  H5Pclose(properties);
  return n_filters >= 0 && n_external >= 0;
}

static bool parse_digest(const char *text, uint64_t *digest) {
  char *end;
  *digest = strtoull(text, &end, 16);
  return strlen(text) == 16 && *end == 0 && strspn(text, "0123456789abcdef") == 16;
}

static bool describe_digest(hid_t dataset, gd_object *out) {
  htri_t there = H5Aexists(dataset, "xxh3");
  if (there <= 0) return there == 0;
  gd_attribute_type kind = GD_ATTRIBUTE_OTHER;
  char *text = attribute_text(dataset, "xxh3", &kind);
  out->has_digest = text && kind == GD_ATTRIBUTE_TEXT && parse_digest(text, &out->digest);
  gd_free(text);
  return out->has_digest;
}

static bool describe_dataset(hid_t dataset, gd_object *out) {
  bool ok = false;
  hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
  if (type >= 0 && space >= 0) {
    describe_type(type, out);
    ok = describe_space(space, out) && describe_storage(dataset, out) && describe_digest(dataset, out);
  }
  if (type >= 0) H5Tclose(type);
  if (space >= 0) H5Sclose(space);
  return ok;
}

gd_err gd_contents_dataset(const gd_hdf5 *file, const char *name, gd_object *out) {
  *out = (gd_object){0};
  hid_t dataset = H5Dopen2(file->id, name, H5P_DEFAULT);
  if (dataset < 0) return gd_error(GD_ERR_INPUT, "%s: dataset '%s' is missing or damaged", file->path, name);
  gd_err err = describe_dataset(dataset, out) ? GD_OK : gd_hdf5_error(file, "dataset '%s' cannot be read", name);
  H5Dclose(dataset);
  out->name = gd_strdup(name);
  return err;
}

static herr_t walk_group(hid_t group, walk *w);

static herr_t walk_child(hid_t group, const char *name, walk *w) {
  const char *prefix = w->prefix;
  w->prefix = name;
  w->depth++;
  herr_t status = walk_group(group, w);
  w->depth--;
  w->prefix = prefix;
  return status;
}

static herr_t add_object(hid_t group, const char *link, const H5L_info_t *info, void *data) {
  walk *w = data;
  gd_contents *c = w->contents;
  if (info->type != H5L_TYPE_HARD) return 0;
  if (c->n_objects >= MAX_OBJECTS || w->depth > MAX_DEPTH) {
    w->err = gd_error(GD_ERR_INPUT, "%s: more than %d objects, or groups too deep", w->file->path, MAX_OBJECTS);
    return -1;
  }
  gd_object object = {.name = gd_format("%s/%s", w->prefix, link)};
  char *name = object.name;  // owned by the list from here on
  herr_t status = 0;
  hid_t id = H5Oopen(group, link, H5P_DEFAULT);
  H5I_type_t kind = id >= 0 ? H5Iget_type(id) : H5I_BADID;
  object.is_group = kind == H5I_GROUP;
  if (id < 0 || (kind == H5I_DATASET && !describe_dataset(id, &object))) {
    w->err = gd_hdf5_error(w->file, "'%s' cannot be read", name);
    status = -1;
  }
  c->objects = grow_list(c->objects, c->n_objects, &w->object_room, sizeof *c->objects);
  if (kind == H5I_GROUP || kind == H5I_DATASET)
    c->objects[c->n_objects++] = object;
  else
    gd_free(name);
  if (status == 0 && object.is_group) status = walk_child(id, name, w);
  if (id >= 0) H5Oclose(id);
  return status;
}

static herr_t walk_group(hid_t group, walk *w) {
  herr_t status = H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, add_object, w);
  if (status < 0 && w->err == GD_OK)
    w->err = gd_hdf5_error(w->file, "group '%s' cannot be read", w->prefix[0] ? w->prefix : "/");
  return status;
}

static int by_attribute_name(const void *a, const void *b) {
  return strcmp(((const gd_attribute *)a)->name, ((const gd_attribute *)b)->name);
}

static int by_object_name(const void *a, const void *b) {
  return strcmp(((const gd_object *)a)->name, ((const gd_object *)b)->name);
}

// Not by HDF5's own ordered walk: where the index of a large group is damaged, 1.10 frees an uninitialised pointer.
static void sort_contents(gd_contents *c) {
  if (c->n_attributes) qsort(c->attributes, (size_t)c->n_attributes, sizeof *c->attributes, by_attribute_name);
  if (c->n_objects) qsort(c->objects, (size_t)c->n_objects, sizeof *c->objects, by_object_name);
}

gd_err gd_contents_read(gd_hdf5 *file, gd_contents *out) {
  *out = (gd_contents){0};
  walk w = {.file = file, .contents = out, .prefix = ""};
  hid_t root = H5Gopen2(file->id, "/", H5P_DEFAULT);
  if (root < 0) {
    w.err = gd_hdf5_error(file, "the root group cannot be read");
  } else {
    if (H5Aiterate2(root, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, add_attribute, &w) < 0 && w.err == GD_OK)
      w.err = gd_hdf5_error(file, "the attributes cannot be read");
    if (w.err == GD_OK) walk_group(root, &w);
    H5Gclose(root);
  }
  sort_contents(out);
  return gd_comm_agree(file->comm, w.err);
}

void gd_contents_clear(gd_contents *contents) {
  for (int i = 0; i < contents->n_attributes; i++) {
    gd_free(contents->attributes[i].name);
    gd_free(contents->attributes[i].text);
  }
  for (int i = 0; i < contents->n_objects; i++) gd_free(contents->objects[i].name);
  gd_free(contents->attributes);
  gd_free(contents->objects);
  *contents = (gd_contents){0};
}
