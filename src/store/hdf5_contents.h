/* Everything in an HDF5 file except the values of its datasets, read once: attributes of the root group as text, groups
 * and datasets in the order of their names; and the seal over all of it, the attribute header_xxh3. */
#ifndef GD_STORE_HDF5_CONTENTS_H
#define GD_STORE_HDF5_CONTENTS_H

#include "store/hdf5_file.h"

typedef enum gd_attribute_type {
  GD_ATTRIBUTE_INTEGER,
  GD_ATTRIBUTE_REAL,
  GD_ATTRIBUTE_TEXT,
  GD_ATTRIBUTE_OTHER
} gd_attribute_type;

typedef struct gd_attribute {
  char *name;
  gd_attribute_type type;
  char *text;  // of an array: its elements, separated by ", "
} gd_attribute;

typedef struct gd_object {
  char *name;  // with its groups: "/model/conv_in.weight"
  bool is_group;
  // of a dataset only:
  H5T_class_t value_class;
  size_t value_nbytes;
  char type[24];  // "float32", "uint8", "text", "other"
  int n_dims;
  int64_t dims[H5S_MAX_RANK];
  int64_t count;
  int64_t stored_nbytes;  // size of the values in the file, according to the file
  bool is_packed;         // stored through a filter, in fewer bytes than in memory
  char no_filter[40];     // a filter that is needed to read the values and not installed; "": none
  bool is_elsewhere;      // in other files
  bool has_digest;
  uint64_t digest;
} gd_object;

typedef struct gd_contents {
  gd_attribute *attributes;
  int n_attributes;
  gd_object *objects;
  int n_objects;
} gd_contents;

/* Reads the contents of a file. Collective. GD_ERR_INPUT naming the file and what is damaged in it. */
gd_err gd_contents_read(gd_hdf5 *file, gd_contents *out);
void gd_contents_clear(gd_contents *contents);

/* Describes one dataset without reading the rest of the file; gd_free(out->name) also after an error. Every rank calls
 * it, and agrees on the status afterwards. */
gd_err gd_contents_dataset(const gd_hdf5 *file, const char *name, gd_object *out);

/* By name; NULL if there is none. Local, like all functions below except gd_hdf5_put_seal. */
const gd_attribute *gd_contents_attribute(const gd_contents *contents, const char *name);
const gd_object *gd_contents_object(const gd_contents *contents, const char *name);

/* The value of an attribute. GD_ERR_INPUT: missing, of another type or out of range. */
gd_err gd_contents_int(const gd_hdf5 *file, const gd_contents *contents, const char *name, int64_t min, int64_t max,
                       int64_t *value);
gd_err gd_contents_uint(const gd_hdf5 *file, const gd_contents *contents, const char *name, uint64_t *value);
gd_err gd_contents_double(const gd_hdf5 *file, const gd_contents *contents, const char *name, double *value);
gd_err gd_contents_text(const gd_hdf5 *file, const gd_contents *contents, const char *name, const char **text);
gd_err gd_contents_digest(const gd_hdf5 *file, const gd_contents *contents, const char *name, uint64_t *digest);

/* Checks the attributes kind and format_version, then the seal. */
gd_err gd_contents_check(const gd_hdf5 *file, const gd_contents *contents, const char *kind, int version);
bool gd_contents_seal_matches(const gd_contents *contents);

/* Writes header_xxh3 over everything in the file, so it must be put last. Collective. */
gd_err gd_hdf5_put_seal(gd_hdf5 *file);

/* The dataset `name`, which must exist with this shape (a dimension of -1: any) and have a checksum. */
gd_err gd_contents_expect(const gd_hdf5 *file, const gd_contents *contents, const char *name, gd_hdf5_shape shape,
                          const gd_object **object);

/* Checks that a dataset of this size can be in this file, before memory is allocated for it. */
gd_err gd_contents_check_size(const gd_hdf5 *file, const gd_object *object);

#endif
