/* What all HDF5 files of gendistill share: collective opening and atomic writing, attributes of the root group,
 * datasets split along their first dimension.
 *
 * Functions marked collective end with an agreement on the status, so a failed write is an error on all ranks
 * (write_errors.h). The put functions are HDF5 calls that every rank makes with the same arguments. */
#ifndef GD_STORE_HDF5_FILE_H
#define GD_STORE_HDF5_FILE_H

#include <hdf5.h>

#include "gendistill/comm.h"

typedef struct gd_hdf5 {
  const gd_comm *comm;
  hid_t id;
  char *path;      // for messages and for the final name
  char *tmp;       // path of the file while it is written; NULL for a file that is read
  int tmp_fd;      // of that file, on rank 0; otherwise -1
  int64_t nbytes;  // size of a file that is read
  // The metadata has checksums, so that collective calls fail on all ranks or on none. False for files in the old
  // format, which every rank reads independently.
  bool has_checksums;
} gd_hdf5;

typedef enum gd_hdf5_type { GD_HDF5_FLOAT32, GD_HDF5_FLOAT64, GD_HDF5_UINT8, GD_HDF5_INT64 } gd_hdf5_type;

typedef struct gd_hdf5_shape {
  gd_hdf5_type type;
  int n_dims;  // from 1 to 4
  int64_t dims[4];
} gd_hdf5_shape;

size_t gd_hdf5_type_size(gd_hdf5_type type);

/* Maximum size of a dataset in the file besides its values, for estimates. */
enum { GD_HDF5_DATASET_NBYTES = 4096 };

/* Creates PATH.tmp and reserves disk space for `nbytes` bytes, an upper estimate of its size. Collective on comm, which
 * must outlive the file. GD_ERR_FAILED naming the file. */
gd_err gd_hdf5_create(gd_hdf5 **out, const gd_comm *comm, const char *path, int64_t nbytes);

/* Flushes and closes a created file and gives it its final name; frees `*file` and sets NULL, also after an error.
 * Collective. GD_ERR_FAILED naming the file, which is then removed. Ends all ranks if HDF5 itself fails, like
 * gd_hdf5_close. */
gd_err gd_hdf5_commit(gd_hdf5 **file);

typedef enum gd_hdf5_origin { GD_HDF5_OURS, GD_HDF5_ANY } gd_hdf5_origin;

/* Opens a file for reading. GD_HDF5_OURS: only a file in the format of gd_hdf5_create. Collective on comm, which must
 * outlive the file. GD_ERR_INPUT naming the file. */
gd_err gd_hdf5_open(gd_hdf5 **out, const gd_comm *comm, const char *path, gd_hdf5_origin origin);

/* Closes a file that was read, or abandons one that is being written and removes PATH.tmp. Accepts NULL, sets NULL.
 * Collective. If an HDF5 call has failed on a file that is written, all ranks end with the recorded message, because
 * HDF5 hangs when it closes or drops such a file. A full disk does not lead to this. */
void gd_hdf5_close(gd_hdf5 **file);

/* Records "PATH: MESSAGE: REASON" with HDF5's innermost reason; to be called before any other HDF5 call. Returns
 * GD_ERR_FAILED for a file that is written, GD_ERR_INPUT for one that is read. Local. */
gd_err gd_hdf5_error(const gd_hdf5 *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Attributes of the root group. */
gd_err gd_hdf5_put_int(gd_hdf5 *file, const char *name, int64_t value);
gd_err gd_hdf5_put_uint(gd_hdf5 *file, const char *name, uint64_t value);
gd_err gd_hdf5_put_double(gd_hdf5 *file, const char *name, double value);
gd_err gd_hdf5_put_text(gd_hdf5 *file, const char *name, const char *text);
gd_err gd_hdf5_put_digest(gd_hdf5 *file, const char *name, uint64_t digest);  // 16 hexadecimal digits

gd_err gd_hdf5_put_group(gd_hdf5 *file, const char *name);

/* Writes a dataset, whose rows `rows` (of dims[0]) are at `data` on this rank, with its digest as the attribute `xxh3`.
 * Collective. */
gd_err gd_hdf5_write(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, gd_range rows, const void *data,
                     uint64_t digest);

/* Reads the rows `rows` of the dataset `name`, which is known to have `shape`, converted to shape.type. Every rank
 * calls it, and agrees on the status afterwards. */
gd_err gd_hdf5_read_rows(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, gd_range rows, void *data);

/* Reads a complete dataset into `data` on every rank: a part from the file, the rest from other ranks. Collective. */
gd_err gd_hdf5_read_whole(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, void *data);

#endif
