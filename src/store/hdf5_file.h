/* What all gendistill HDF5 files share: collective opening and atomic writing, attributes of the root
 * group, datasets split along their first dimension.
 *
 * A write that fails is an error on all ranks, found by the agreement that ends each collective function:
 * write_errors.h.
 *
 * Functions marked collective end in an agreement. The put functions are calls of HDF5 that every rank makes
 * with the same arguments. */
#ifndef GD_STORE_HDF5_FILE_H
#define GD_STORE_HDF5_FILE_H

#include <hdf5.h>

#include "gendistill/comm.h"

typedef struct gd_hdf5 {
  const gd_comm *comm;
  hid_t id;
  char *path;      // for messages and for the final name
  char *tmp;       // the file while it is written; NULL for a file that is read
  int tmp_fd;      // of that file, on rank 0; otherwise -1
  int64_t nbytes;  // size of a file that is read
  // Metadata carries checksums, so that all collective calls fail on all ranks or on none; false for files in the
  // format of old, which every rank reads for itself.
  bool has_checksums;
} gd_hdf5;

typedef enum gd_hdf5_type { GD_HDF5_FLOAT32, GD_HDF5_FLOAT64, GD_HDF5_UINT8, GD_HDF5_INT64 } gd_hdf5_type;

typedef struct gd_hdf5_shape {
  gd_hdf5_type type;
  int n_dims;  // from 1 to 4
  int64_t dims[4];
} gd_hdf5_shape;

size_t gd_hdf5_type_size(gd_hdf5_type type);

/* What a dataset takes in the file beside its values, at most; for estimates. */
enum { GD_HDF5_DATASET_NBYTES = 4096 };

/* Creates PATH.tmp and reserves disk space for `nbytes`, an upper estimate of its size. Collective on comm (kept).
 * GD_ERR_FAILED naming the file. */
gd_err gd_hdf5_create(gd_hdf5 **out, const gd_comm *comm, const char *path, int64_t nbytes);

/* Flushes and closes a created file and gives it its final name; frees `*file` and sets NULL whatever happens.
 * Collective. GD_ERR_FAILED naming the file, which is removed then. Ends all ranks where HDF5 itself fails, like
 * gd_hdf5_close. */
gd_err gd_hdf5_commit(gd_hdf5 **file);

typedef enum gd_hdf5_origin { GD_HDF5_OURS, GD_HDF5_ANY } gd_hdf5_origin;

/* Opens for reading. GD_HDF5_OURS: only a file in the format that gd_hdf5_create gives. Collective on comm (kept).
 * GD_ERR_INPUT naming the file. */
gd_err gd_hdf5_open(gd_hdf5 **out, const gd_comm *comm, const char *path, gd_hdf5_origin origin);

/* Closes a file that was read, or gives up one that is still being written: PATH.tmp is removed. Accepts NULL, sets
 * NULL. Collective. Where a call of HDF5 has failed on a file that is written, all ranks end with the recorded message,
 * since HDF5 can neither close such a file nor let go of it without hanging. A full disk does not come to this. */
void gd_hdf5_close(gd_hdf5 **file);

/* Records "PATH: MESSAGE: reason", the reason being HDF5's innermost; call it before any other HDF5 call.
 * Returns GD_ERR_FAILED for a file that is written, GD_ERR_INPUT for one that is read. Local. */
gd_err gd_hdf5_error(const gd_hdf5 *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Attributes of the root group. */
gd_err gd_hdf5_put_int(gd_hdf5 *file, const char *name, int64_t value);
gd_err gd_hdf5_put_uint(gd_hdf5 *file, const char *name, uint64_t value);
gd_err gd_hdf5_put_double(gd_hdf5 *file, const char *name, double value);
gd_err gd_hdf5_put_text(gd_hdf5 *file, const char *name, const char *text);
gd_err gd_hdf5_put_digest(gd_hdf5 *file, const char *name, uint64_t digest);  // 16 hexadecimal digits

gd_err gd_hdf5_put_group(gd_hdf5 *file, const char *name);

/* Writes a dataset whose rows `rows` (of dims[0]) stand at `data` on this rank, with its digest as attribute
 * `xxh3`. Collective. */
gd_err gd_hdf5_write(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, gd_range rows, const void *data,
                     uint64_t digest);

/* Reads the rows `rows` of the dataset `name`, which is known to have `shape`, converted to shape.type. Every rank
 * makes this call, and an agreement after it. */
gd_err gd_hdf5_read_rows(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, gd_range rows, void *data);

/* Reads a whole dataset into `data` on every rank: a part from the file, the rest from the other ranks. Collective. */
gd_err gd_hdf5_read_whole(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, void *data);

#endif
