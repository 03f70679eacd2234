/* Collective opening, atomic writing and the transfers of HDF5 files; what a file means is left to checkpoint.c,
 * sample_set.c and features.c.
 *
 * Files are written in the newest format, because its metadata has checksums: HDF5 then reports a damaged structure
 * instead of following it. Time stamps are off, so that equal content gives equal files. Ranks write their rows
 * independently, because collective writes of MPI-IO lose errors (write_errors.h). HDF5 passes MPI-IO the number of
 * bytes as an int, so long transfers are done in pieces. */
#include "store/hdf5_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/atomic_file.h"
#include "store/hints.h"
#include "store/write_errors.h"

// Compact attributes, up to 64 KiB each, are covered by the checksum of their object. By default HDF5 moves all of them
// to a heap if there are more than 8, where one of more than 4 KiB has no checksum: damaged sizes would be followed.
enum { MAX_COMPACT_ATTRIBUTES = 64 };

// A row is transferred in one piece; in the file its values may be twice as long.
enum { MAX_ROW_NBYTES = INT_MAX / 2 };

/* ---- Errors ---- */

typedef struct hdf5_reason {
  char text[256];
  bool is_memory;
} hdf5_reason;

// "Address overflowed" is of the same class, but means a damaged size: HDF5 reports it before it allocates.
static herr_t keep_innermost(unsigned n, const H5E_error2_t *error, void *out) {
  hdf5_reason *reason = out;
  if (n > 0) return 0;
  if (error->desc) snprintf(reason->text, sizeof reason->text, "%s", error->desc);
  reason->is_memory = error->maj_num == H5E_RESOURCE && error->min_num != H5E_OVERFLOW;
  return 0;
}

gd_err gd_hdf5_error(const gd_hdf5 *file, const char *format, ...) {
  hdf5_reason reason = {0};
  char what[512];
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &reason);
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  gd_err err = file->tmp ? GD_ERR_FAILED : GD_ERR_INPUT;
  if (reason.is_memory) gd_out_of_memory("%s: %s: %s", file->path, what, reason.text);
  if (!reason.text[0]) return gd_error(err, "%s: %s", file->path, what);
  return gd_error(err, "%s: %s: %s", file->path, what, reason.text);
}

/* ---- Open and close ---- */

static gd_hdf5 *file_new(const gd_comm *comm, const char *path) {
  gd_hdf5 *file = GD_NEW(gd_hdf5);
  file->comm = comm;
  file->id = H5I_INVALID_HID;
  file->tmp_fd = -1;
  file->path = gd_strdup(path);
  return file;
}

static void file_free(gd_hdf5 **file) {
  if ((*file)->tmp) gd_write_errors_end();
  if ((*file)->tmp_fd >= 0) close((*file)->tmp_fd);
  gd_free((*file)->path);
  gd_free((*file)->tmp);
  gd_free(*file);
  *file = NULL;
}

// Metadata is written independently, each piece by one rank: write_errors.h.
static hid_t access_properties(const gd_comm *comm, bool collective) {
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  MPI_Info hints = gd_hints_create();
  bool ok = access >= 0 && H5Pset_fapl_mpio(access, comm->mpi, hints) >= 0 &&
            H5Pset_all_coll_metadata_ops(access, collective) >= 0 && H5Pset_coll_metadata_write(access, false) >= 0 &&
            H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST) >= 0 &&
            H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) >= 0 && H5Pset_meta_block_size(access, 0) >= 0 &&
            H5Pset_small_data_block_size(access, 0) >= 0;
  if (!ok) gd_abort("HDF5 has no MPI-IO access properties");
  gd_hints_free(&hints);
  return access;
}

static gd_err open_error(const gd_hdf5 *file, int reason) {
  if (file->tmp) return gd_file_error(GD_ERR_FAILED, file->path, "cannot create the file", reason);
  return gd_file_error(GD_ERR_INPUT, file->path, "cannot read the file", reason);
}

// A file that only some ranks have opened cannot be closed by them alone. So that they do not hang, all ranks end.
static gd_err agree_on_open(const gd_hdf5 *file, const char *what) {
  gd_err err = GD_OK;
  if (file->id < 0) err = gd_open_reason() ? open_error(file, gd_open_reason()) : gd_hdf5_error(file, "%s", what);
  int is_open = file->id >= 0, any_open = 0;
  MPI_Allreduce(&is_open, &any_open, 1, MPI_INT, MPI_MAX, file->comm->mpi);
  if (any_open && !is_open) gd_abort("%s (other ranks could)", gd_error_message());
  return gd_comm_agree(file->comm, err);
}

// Before MPI-IO, because the system's own reasons are clearer.
static gd_err probe_file(gd_hdf5 *file, const char *name, int flags) {
  int fd = open(name, flags | O_CLOEXEC, 0666);
  if (fd < 0) return open_error(file, errno);
  struct stat status = {0};
  int reason = fstat(fd, &status) == 0 ? 0 : errno;
  close(fd);
  if (reason) return open_error(file, reason);
  if (!S_ISREG(status.st_mode))
    return gd_error(file->tmp ? GD_ERR_FAILED : GD_ERR_INPUT, "%s: not a regular file", file->path);
  file->nbytes = status.st_size;
  return GD_OK;
}

static hid_t untimed_properties(hid_t class_id) {
  hid_t properties = H5Pcreate(class_id);
  if (properties < 0 || H5Pset_obj_track_times(properties, false) < 0) gd_abort("HDF5 has no creation properties");
  return properties;
}

// For a file of which HDF5 has seen no error on any rank.
static void discard_file(gd_hdf5 *file) {
  if (file->id >= 0) H5Fclose(file->id);
  gd_tmp_remove(file->tmp, file->tmp_fd);
  MPI_Barrier(file->comm->mpi);  // removed before any rank continues
}

// After an HDF5 call has failed on some ranks their metadata differ, so H5Fclose waits forever, now or in MPI_Finalize:
// all ranks end. Write errors, which HDF5 does not see, are no such failure.
static void abandon_file(gd_hdf5 *file) {
  int mine = gd_write_errors_noted(), any = 0;
  MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, file->comm->mpi);
  if (any) {
    discard_file(file);
    return;
  }
  if (file->comm->rank == 0) {
    gd_tmp_remove(file->tmp, file->tmp_fd);
    gd_abort("%s", gd_error_message());
  }
  MPI_Barrier(file->comm->mpi);  // until rank 0 has ended all ranks: one message is enough
}

// A file gets its stripes when it is created, so that is left to MPI-IO where there are hints. On rank 0.
static gd_err create_tmp(gd_hdf5 *file) {
  MPI_Info hints = gd_hints_create();
  MPI_File created;
  if (hints == MPI_INFO_NULL) return gd_tmp_create(file->tmp, file->path, &file->tmp_fd);
  unlink(file->tmp);  // of a run that was killed
  int mode = MPI_MODE_CREATE | MPI_MODE_EXCL | MPI_MODE_RDWR;
  bool ok = MPI_File_open(MPI_COMM_SELF, file->tmp, mode, hints, &created) == MPI_SUCCESS;
  if (ok) MPI_File_close(&created);
  gd_hints_free(&hints);
  if (ok) file->tmp_fd = open(file->tmp, O_RDWR | O_CLOEXEC);
  return file->tmp_fd < 0 ? open_error(file, ok ? errno : gd_open_reason()) : GD_OK;
}

static void log_hints(const gd_hdf5 *file) {
  void *handle = NULL;
  if (H5Fget_vfd_handle(file->id, H5P_DEFAULT, &handle) >= 0 && handle) gd_hints_log(file->path, *(MPI_File *)handle);
}

// Disk space is reserved after HDF5 has truncated the file.
gd_err gd_hdf5_create(gd_hdf5 **out, const gd_comm *comm, const char *path, int64_t nbytes) {
  gd_hdf5 *file = file_new(comm, path);
  file->tmp = gd_tmp_name(path);
  gd_err err;
  GD_TRY(gd_comm_agree(comm, comm->rank == 0 ? create_tmp(file) : GD_OK));
  GD_TRY(gd_comm_agree(comm, probe_file(file, file->tmp, O_RDWR)));
  file->has_checksums = true;
  gd_write_errors_begin();
  hid_t access = access_properties(comm, true), creation = untimed_properties(H5P_FILE_CREATE);
  if (H5Pset_attr_phase_change(creation, MAX_COMPACT_ATTRIBUTES, 0) < 0) gd_abort("HDF5 has no compact attributes");
  file->id = H5Fcreate(file->tmp, H5F_ACC_TRUNC, creation, access);
  err = agree_on_open(file, "cannot create the file");
  H5Pclose(creation);
  H5Pclose(access);
  GD_TRY(err);
  log_hints(file);
  if (comm->rank == 0) err = gd_tmp_reserve(file->tmp, path, nbytes);
  err = gd_comm_agree(comm, err);
done:
  if (err != GD_OK) {
    discard_file(file);
    file_free(&file);
  }
  *out = file;
  return err;
}

static gd_err refuse_hdf5_lfs_pointer(const gd_hdf5 *file) {
  char bytes[64];
  int fd = open(file->path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : 0;
  if (fd >= 0) close(fd);
  return gd_refuse_lfs_pointer(file->path, bytes, n > 0 ? (size_t)n : 0);
}

// Version of the superblock, which is at the start of the file or after a user block of 512, 1024, 2048 ... bytes; -1:
// there is none.
static int superblock_version(const gd_hdf5 *file) {
  static const uint8_t signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
  uint8_t bytes[sizeof signature + 1];
  int version = -1, fd = open(file->path, O_RDONLY | O_CLOEXEC);
  for (off_t at = 0; fd >= 0 && at < file->nbytes && version < 0; at = at ? 2 * at : 512)
    if (pread(fd, bytes, sizeof bytes, at) == sizeof bytes && memcmp(bytes, signature, sizeof signature) == 0)
      version = bytes[sizeof signature];
  if (fd >= 0) close(fd);
  return version;
}

// From version 2 on, the superblock and all other metadata have checksums, which HDF5 verifies before it follows the
// metadata. Without them it follows damaged addresses. Our own files have them, others are refused as GD_HDF5_OURS.
static gd_err check_for_checksums(gd_hdf5 *file, gd_hdf5_origin origin) {
  int version = file->comm->rank == 0 ? superblock_version(file) : 0;
  MPI_Bcast(&version, 1, MPI_INT, 0, file->comm->mpi);
  file->has_checksums = version >= 2;
  if (version < 0) return gd_error(GD_ERR_INPUT, "%s: not an HDF5 file, or damaged", file->path);
  if (origin == GD_HDF5_OURS && !file->has_checksums)
    return gd_error(GD_ERR_INPUT,
                    "%s: not a file of gendistill, or damaged: its HDF5 superblock has version %d, not 2 or 3",
                    file->path, version);
  return GD_OK;
}

gd_err gd_hdf5_open(gd_hdf5 **out, const gd_comm *comm, const char *path, gd_hdf5_origin origin) {
  gd_hdf5 *file = file_new(comm, path);
  gd_err err;
  GD_TRY(gd_comm_agree(comm, probe_file(file, path, O_RDONLY)));
  GD_TRY(gd_comm_agree(comm, comm->rank == 0 ? refuse_hdf5_lfs_pointer(file) : GD_OK));
  GD_TRY(check_for_checksums(file, origin));
  hid_t access = access_properties(comm, file->has_checksums);
  file->id = H5Fopen(path, H5F_ACC_RDONLY, access);
  err = agree_on_open(file, "not an HDF5 file, or damaged");
  H5Pclose(access);
done:
  if (err != GD_OK) file_free(&file);
  *out = file;
  return err;
}

void gd_hdf5_close(gd_hdf5 **file) {
  if (!*file) return;
  if ((*file)->tmp)
    abandon_file(*file);
  else
    H5Fclose((*file)->id);
  file_free(file);
}

static gd_err agree_on_writes(const gd_hdf5 *file, gd_err err) {
  return gd_comm_agree(file->comm, err == GD_OK ? gd_write_errors_check(file->path) : err);
}

gd_err gd_hdf5_commit(gd_hdf5 **in) {
  gd_hdf5 *file = *in;
  gd_err err = H5Fflush(file->id, H5F_SCOPE_GLOBAL) < 0 ? gd_hdf5_error(file, "cannot write the file") : GD_OK;
  GD_TRY(agree_on_writes(file, err));
  err = H5Fclose(file->id) < 0 ? gd_hdf5_error(file, "cannot close the file") : GD_OK;
  file->id = H5I_INVALID_HID;
  GD_TRY(agree_on_writes(file, err));
  if (file->comm->rank == 0) err = gd_tmp_commit(file->tmp, file->path, file->tmp_fd);
  err = gd_comm_agree(file->comm, err);
  file_free(in);
done:
  gd_hdf5_close(in);
  return err;
}

/* ---- Attributes and groups ---- */

static gd_err put_attribute(gd_hdf5 *file, hid_t object, const char *name, hid_t file_type, hid_t memory_type,
                            const void *value) {
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attribute = H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
  bool ok = attribute >= 0 && H5Awrite(attribute, memory_type, value) >= 0;
  gd_err err = ok ? GD_OK : gd_hdf5_error(file, "cannot write attribute '%s'", name);
  if (attribute >= 0) H5Aclose(attribute);
  H5Sclose(space);
  return err;
}

// Of fixed length: strings of variable length would be in a heap without a checksum.
static gd_err put_text_at(gd_hdf5 *file, hid_t object, const char *name, const char *text) {
  hid_t type = H5Tcopy(H5T_C_S1);
  if (H5Tset_size(type, strlen(text) + 1) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)
    gd_abort("HDF5 has no string of %zu bytes", strlen(text) + 1);
  gd_err err = put_attribute(file, object, name, type, type, text);
  H5Tclose(type);
  return err;
}

gd_err gd_hdf5_put_int(gd_hdf5 *file, const char *name, int64_t value) {
  return put_attribute(file, file->id, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

gd_err gd_hdf5_put_uint(gd_hdf5 *file, const char *name, uint64_t value) {
  return put_attribute(file, file->id, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, &value);
}

gd_err gd_hdf5_put_double(gd_hdf5 *file, const char *name, double value) {
  return put_attribute(file, file->id, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

gd_err gd_hdf5_put_text(gd_hdf5 *file, const char *name, const char *text) {
  return put_text_at(file, file->id, name, text);
}

static gd_err put_digest_at(gd_hdf5 *file, hid_t object, const char *name, uint64_t digest) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, digest);
  return put_text_at(file, object, name, text);
}

gd_err gd_hdf5_put_digest(gd_hdf5 *file, const char *name, uint64_t digest) {
  return put_digest_at(file, file->id, name, digest);
}

gd_err gd_hdf5_put_group(gd_hdf5 *file, const char *name) {
  hid_t properties = untimed_properties(H5P_GROUP_CREATE);
  hid_t group = H5Gcreate2(file->id, name, H5P_DEFAULT, properties, H5P_DEFAULT);
  gd_err err = group < 0 ? gd_hdf5_error(file, "cannot write group '%s'", name) : GD_OK;
  if (group >= 0) H5Gclose(group);
  H5Pclose(properties);
  return err;
}

/* ---- Datasets ---- */

typedef struct type_traits {
  size_t nbytes;
  hid_t in_memory, in_file;
} type_traits;

static type_traits traits_of(gd_hdf5_type type) {
  switch (type) {
    case GD_HDF5_FLOAT32:
      return (type_traits){4, H5T_NATIVE_FLOAT, H5T_IEEE_F32LE};
    case GD_HDF5_FLOAT64:
      return (type_traits){8, H5T_NATIVE_DOUBLE, H5T_IEEE_F64LE};
    case GD_HDF5_UINT8:
      return (type_traits){1, H5T_NATIVE_UINT8, H5T_STD_U8LE};
    case GD_HDF5_INT64:
      return (type_traits){8, H5T_NATIVE_INT64, H5T_STD_I64LE};
  }
  gd_abort("no HDF5 type %d", (int)type);
}

size_t gd_hdf5_type_size(gd_hdf5_type type) {
  return traits_of(type).nbytes;
}

static hid_t create_dataspace(gd_hdf5_shape shape) {
  hsize_t dims[4] = {0};
  for (int i = 0; i < shape.n_dims; i++) dims[i] = (hsize_t)shape.dims[i];
  hid_t space = H5Screate_simple(shape.n_dims, dims, NULL);
  if (space < 0) gd_abort("HDF5 has no dataspace of %d dimensions", shape.n_dims);
  return space;
}

// HDF5 reports an error for the transfer of an empty dataset.
static bool is_empty(gd_hdf5_shape shape) {
  for (int i = 0; i < shape.n_dims; i++)
    if (shape.dims[i] == 0) return true;
  return false;
}

// Selects `rows` in the dataset's space and returns the space of the memory that they fill.
static hid_t select_dataset_rows(hid_t space, gd_hdf5_shape shape, gd_range rows) {
  hsize_t begin[4] = {0}, count[4] = {0};
  for (int i = 0; i < shape.n_dims; i++) count[i] = (hsize_t)shape.dims[i];
  begin[0] = (hsize_t)rows.begin;
  count[0] = (hsize_t)(rows.end - rows.begin);
  shape.dims[0] = rows.end - rows.begin;
  hid_t memory = create_dataspace(shape);
  if (H5Sselect_hyperslab(space, H5S_SELECT_SET, begin, NULL, count, NULL) < 0)
    H5Sselect_none(memory);  // so that the transfer reports a mismatch
  return memory;
}

static size_t row_size(gd_hdf5_shape shape) {
  size_t nbytes = gd_hdf5_type_size(shape.type);
  for (int i = 1; i < shape.n_dims; i++) nbytes *= (size_t)shape.dims[i];
  return nbytes;
}

// The rows begin .. begin+n-1 that are among `rows`.
static gd_range rows_from(gd_range rows, int64_t begin, int64_t n) {
  gd_range part = {begin, begin + n};
  if (part.begin > rows.end) part.begin = rows.end;
  if (part.end > rows.end) part.end = rows.end;
  return part;
}

static hid_t create_dataset(gd_hdf5 *file, const char *name, gd_hdf5_shape shape) {
  hid_t properties = untimed_properties(H5P_DATASET_CREATE), space = create_dataspace(shape);
  H5Pset_fill_time(properties, H5D_FILL_TIME_NEVER);  // every element will be written
  hid_t dataset =
      H5Dcreate2(file->id, name, traits_of(shape.type).in_file, space, H5P_DEFAULT, properties, H5P_DEFAULT);
  H5Sclose(space);
  H5Pclose(properties);
  return dataset;
}

static gd_err write_rows(gd_hdf5 *file, hid_t dataset, const char *name, gd_hdf5_shape shape, gd_range rows,
                         const char *data) {
  gd_err err = GD_OK;
  int64_t piece = gd_transfer_piece(row_size(shape));
  hid_t space = H5Dget_space(dataset);
  for (int64_t at = rows.begin; at < rows.end && err == GD_OK; at += piece) {
    hid_t memory = select_dataset_rows(space, shape, rows_from(rows, at, piece));
    const char *from = data + (size_t)(at - rows.begin) * row_size(shape);
    if (H5Dwrite(dataset, traits_of(shape.type).in_memory, memory, space, H5P_DEFAULT, from) < 0)
      err = gd_hdf5_error(file, "cannot write dataset '%s'", name);
    H5Sclose(memory);
  }
  H5Sclose(space);
  return err;
}

gd_err gd_hdf5_write(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, gd_range rows, const void *data,
                     uint64_t digest) {
  hid_t dataset = create_dataset(file, name, shape);
  gd_err err = dataset < 0 ? gd_hdf5_error(file, "cannot create dataset '%s'", name) : GD_OK;
  if (err == GD_OK && !is_empty(shape)) err = write_rows(file, dataset, name, shape, rows, data);
  err = agree_on_writes(file, err);
  if (err == GD_OK) err = put_digest_at(file, dataset, "xxh3", digest);
  if (dataset >= 0) H5Dclose(dataset);
  return agree_on_writes(file, err);
}

// Each rank reads by itself: in a collective transfer of Open MPI the ranks wait for ever for one that cannot read.
gd_err gd_hdf5_read_rows(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, gd_range rows, void *data) {
  if (is_empty(shape)) return GD_OK;
  size_t row_nbytes = row_size(shape);
  if (row_nbytes > MAX_ROW_NBYTES)
    return gd_error(GD_ERR_INPUT, "%s: dataset '%s': a row has %zu bytes, the maximum is %d", file->path, name,
                    row_nbytes, MAX_ROW_NBYTES);
  hid_t dataset = H5Dopen2(file->id, name, H5P_DEFAULT);
  if (dataset < 0) return gd_hdf5_error(file, "cannot open dataset '%s'", name);
  gd_err err = GD_OK;
  hid_t space = H5Dget_space(dataset);
  int64_t piece = gd_transfer_piece(row_nbytes);
  for (int64_t at = rows.begin; at < rows.end && err == GD_OK; at += piece) {
    hid_t memory = select_dataset_rows(space, shape, rows_from(rows, at, piece));
    char *to = (char *)data + (size_t)(at - rows.begin) * row_nbytes;
    if (H5Dread(dataset, traits_of(shape.type).in_memory, memory, space, H5P_DEFAULT, to) < 0)
      err = gd_hdf5_error(file, "cannot read dataset '%s'", name);
    H5Sclose(memory);
  }
  H5Sclose(space);
  H5Dclose(dataset);
  return err;
}

// The rows that a rank reads for all: as many ranks share them as have a MiB each.
static gd_range rows_to_read(int64_t n_rows, size_t row_nbytes, int n_ranks, int rank) {
  int64_t n_readers = (int64_t)((double)n_rows * (double)row_nbytes / (1 << 20)) + 1;
  if (n_readers > n_ranks) n_readers = n_ranks;
  return rank < n_readers ? gd_range_block(n_rows, n_readers, rank) : (gd_range){n_rows, n_rows};
}

// Gives all ranks the rows of all ranks, in rounds of one piece; a rank's own rows are in place already.
static void gather_dataset_rows(const gd_comm *comm, int64_t n_rows, size_t row_nbytes, void *data) {
  int *counts = GD_NEW_ARRAY(int, comm->size), *begins = GD_NEW_ARRAY(int, comm->size);
  int64_t piece = gd_transfer_piece(row_nbytes), n_rounds = (n_rows + piece - 1) / piece;
  MPI_Datatype row;
  MPI_Type_contiguous((int)row_nbytes, MPI_BYTE, &row);
  MPI_Type_commit(&row);
  for (int64_t round = 0; round < n_rounds; round++) {
    for (int i = 0; i < comm->size; i++) {
      gd_range rows = rows_to_read(n_rows, row_nbytes, comm->size, i);
      gd_range part = gd_range_block(rows.end - rows.begin, n_rounds, round);
      begins[i] = (int)(rows.begin + part.begin);
      counts[i] = (int)(part.end - part.begin);
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, counts, begins, row, comm->mpi);
  }
  MPI_Type_free(&row);
  gd_free(counts);
  gd_free(begins);
}

gd_err gd_hdf5_read_whole(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, void *data) {
  size_t row_nbytes = row_size(shape);
  // MPI's counts are ints: larger datasets are read completely by every rank
  bool gather = shape.dims[0] <= INT_MAX && row_nbytes <= INT_MAX;
  gd_range rows = {0, shape.dims[0]};
  if (gather) rows = rows_to_read(shape.dims[0], row_nbytes, file->comm->size, file->comm->rank);
  gd_err err = gd_hdf5_read_rows(file, name, shape, rows, (char *)data + (size_t)rows.begin * row_nbytes);
  err = gd_comm_agree(file->comm, err);
  if (err == GD_OK && gather && shape.dims[0] && row_nbytes)
    gather_dataset_rows(file->comm, shape.dims[0], row_nbytes, data);
  return err;
}
