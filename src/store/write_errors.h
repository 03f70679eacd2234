/* Errors of MPI-IO: the reason of a failed open, and write errors, which are hidden from HDF5 while it writes a file.
 *
 * A write that fails on one rank is known only there. HDF5 would return from its function there, while the other ranks
 * wait in it forever; and Open MPI's collective writes do not report errors at all. So, between begin and end, wrappers
 * of MPI's functions (profiling interface) record what fails and report success to HDF5. The writer of a file writes
 * independently on each rank, and checks the recorded errors on all ranks together. */
#ifndef GD_STORE_WRITE_ERRORS_H
#define GD_STORE_WRITE_ERRORS_H

#include "gendistill/base.h"

/* errno value of this rank's last MPI_File_open, as far as MPI reports it; 0 if it succeeded. Local. */
int gd_open_reason(void);

/* Starts recording errors, of one file at a time; forgets earlier ones. Local. */
void gd_write_errors_begin(void);

/* Whether a write has failed on this rank since then. Local. */
bool gd_write_errors_noted(void);

/* GD_ERR_FAILED with the message "PATH: cannot write the file: REASON" if so. Local. */
gd_err gd_write_errors_check(const char *path);

/* Reports errors to HDF5 again. Recorded ones stay for gd_write_errors_check. Local. */
void gd_write_errors_end(void);

#endif
