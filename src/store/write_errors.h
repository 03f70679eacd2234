/* Errors of MPI-IO: the reason of an open, and those of writes, kept from HDF5 while it writes a file.
 *
 * A write that fails on one rank is known there only. HDF5 would leave its function there, while the other ranks wait
 * in it for ever; and Open MPI's collective writes do not report errors at all. So, between begin and end, MPI's
 * functions stand behind our own, by its profiling interface: those note what fails and tell HDF5 that all is well. Who
 * writes the file writes independently and looks at the notes, on all ranks together. */
#ifndef GD_STORE_WRITE_ERRORS_H
#define GD_STORE_WRITE_ERRORS_H

#include "gendistill/base.h"

/* errno of this rank's last MPI_File_open, as far as MPI tells it; 0 where that has succeeded. Local. */
int gd_open_reason(void);

/* From here on errors are noted; what was noted before is forgotten. One file at a time. Local. */
void gd_write_errors_begin(void);

/* Whether a write has failed on this rank since then. Local. */
bool gd_write_errors_noted(void);

/* GD_ERR_FAILED "PATH: cannot write the file: the system's reason" if so. Local. */
gd_err gd_write_errors_check(const char *path);

/* Errors go to HDF5 again; those noted stay for gd_write_errors_check. Local. */
void gd_write_errors_end(void);

#endif
