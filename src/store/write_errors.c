/* Wrappers of MPI-IO's functions for opening and writing, which record errors: write_errors.h says why. */
#include "store/write_errors.h"

#include <errno.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

static bool is_recording, has_failed;  // of the file that is being written
static int write_reason;               // errno value of the first error
static int open_reason;                // errno value of the last open

void gd_write_errors_begin(void) {
  is_recording = true;
  has_failed = false;
}

int gd_open_reason(void) {
  return open_reason;
}

void gd_write_errors_end(void) {
  is_recording = false;
}

bool gd_write_errors_noted(void) {
  return has_failed;
}

gd_err gd_write_errors_check(const char *path) {
  return has_failed ? gd_error(GD_ERR_FAILED, "%s: cannot write the file: %s", path, strerror(write_reason)) : GD_OK;
}

static int errno_of(int code) {
  int class = MPI_ERR_OTHER;
  PMPI_Error_class(code, &class);
  switch (class) {
    case MPI_ERR_READ_ONLY:
      return EROFS;
    case MPI_ERR_NO_SPACE:
      return ENOSPC;
    case MPI_ERR_QUOTA:
      return EDQUOT;
    case MPI_ERR_ACCESS:
      return EACCES;
    case MPI_ERR_NO_SUCH_FILE:
      return ENOENT;
    case MPI_ERR_BAD_FILE:
      return ENAMETOOLONG;
    case MPI_ERR_NO_MEM:
      return ENOMEM;
    default:
      return EIO;
  }
}

// The system's reason, where there is one, is clearer than MPI's.
static void record_write_error(int code, int reason) {
  if (has_failed) return;
  has_failed = true;
  write_reason = reason ? reason : errno_of(code);
}

static int record_and_hide(int code) {
  if (!is_recording) return code;
  if (code != MPI_SUCCESS) record_write_error(code, errno);
  return MPI_SUCCESS;
}

// Writes nothing more once a write has failed. MPI may report no error for a partial write, as to a disk that becomes
// full.
static int write_and_record(MPI_File file, MPI_Offset at, const void *data, int n, MPI_Datatype type, MPI_Status *out) {
  MPI_Status status;
  MPI_Count wanted, written = 0;
  if (!is_recording) return PMPI_File_write_at(file, at, data, n, type, out);
  if (out != MPI_STATUS_IGNORE) PMPI_Status_set_elements(out, type, n);
  if (has_failed) return MPI_SUCCESS;
  PMPI_Type_size_x(type, &wanted);
  errno = 0;
  int code = PMPI_File_write_at(file, at, data, n, type, &status);
  int reason = errno;
  if (code == MPI_SUCCESS) PMPI_Get_elements_x(&status, MPI_BYTE, &written);
  if (code != MPI_SUCCESS)
    record_write_error(code, reason);
  else if (written < wanted * n)
    record_write_error(code, reason ? reason : ENOSPC);
  return MPI_SUCCESS;
}

// Records the MPI function for the watchdog, as app/noted_mpi.c does.
#define WATCHED(name, code)                      \
  do {                                           \
    const char *outer = gd_progress_call(#name); \
    code;                                        \
    gd_progress_call(outer);                     \
  } while (0)

int MPI_File_open(MPI_Comm comm, const char *path, int mode, MPI_Info info, MPI_File *file) {
  int code;
  WATCHED(MPI_File_open, code = PMPI_File_open(comm, path, mode, info, file));
  open_reason = code == MPI_SUCCESS ? 0 : errno_of(code);
  return code;
}

int MPI_File_write_at(MPI_File file, MPI_Offset at, const void *data, int n, MPI_Datatype type, MPI_Status *status) {
  int code;
  WATCHED(MPI_File_write_at, code = write_and_record(file, at, data, n, type, status));
  return code;
}

int MPI_File_sync(MPI_File file) {
  int code;
  errno = 0;
  WATCHED(MPI_File_sync, code = record_and_hide(PMPI_File_sync(file)));
  return code;
}

int MPI_File_set_size(MPI_File file, MPI_Offset nbytes) {
  int code;
  errno = 0;
  WATCHED(MPI_File_set_size, code = record_and_hide(PMPI_File_set_size(file, nbytes)));
  return code;
}
