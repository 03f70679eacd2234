/* Everything in an HDF5 file but the values of its datasets, read once: attributes of the root group as text,
 * groups and datasets in the order of their names; and the seal over all of it, the attribute header_xxh3. */
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
  int64_t stored_nbytes;  // what the values take in the file, as it says
  bool is_packed;         // by a filter: in fewer bytes than in memory
  char no_filter[40];     // a filter that reading the values needs and HDF5 does not have; "": none
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

/* Collective. GD_ERR_INPUT naming the file and what in it is damaged. */
gd_err gd_contents_read(gd_hdf5 *file, gd_contents *out);
void gd_contents_clear(gd_contents *contents);

/* Describes one dataset without looking at the rest of the file; gd_free(out->name) whatever happens. Every rank makes
 * this call, and an agreement after it. */
gd_err gd_contents_dataset(const gd_hdf5 *file, const char *name, gd_object *out);

/* NULL where there is none. Local, like all below except for gd_hdf5_put_seal. */
const gd_attribute *gd_contents_attribute(const gd_contents *contents, const char *name);
const gd_object *gd_contents_object(const gd_contents *contents, const char *name);

/* Attributes by name; GD_ERR_INPUT where missing, of another type or out of range. */
gd_err gd_contents_int(const gd_hdf5 *file, const gd_contents *contents, const char *name, int64_t least, int64_t most,
                       int64_t *value);
gd_err gd_contents_uint(const gd_hdf5 *file, const gd_contents *contents, const char *name, uint64_t *value);
gd_err gd_contents_double(const gd_hdf5 *file, const gd_contents *contents, const char *name, double *value);
gd_err gd_contents_text(const gd_hdf5 *file, const gd_contents *contents, const char *name, const char **text);
gd_err gd_contents_digest(const gd_hdf5 *file, const gd_contents *contents, const char *name, uint64_t *digest);

/* Checks the attributes kind and format_version, then the seal. */
gd_err gd_contents_check(const gd_hdf5 *file, const gd_contents *contents, const char *kind, int version);
bool gd_contents_seal_holds(const gd_contents *contents);

/* Writes header_xxh3 over all that the file holds so far: the last thing to be put. Collective. */
gd_err gd_hdf5_put_seal(gd_hdf5 *file);

/* The dataset `name`, which must be there with this very shape (a dimension of -1: any) and a checksum. */
gd_err gd_contents_expect(const gd_hdf5 *file, const gd_contents *contents, const char *name, gd_hdf5_shape shape,
                          const gd_object **object);

/* Whether a dataset of this size can be in this file at all: asked before memory is taken for it. */
gd_err gd_contents_check_size(const gd_hdf5 *file, const gd_object *object);

#endif
