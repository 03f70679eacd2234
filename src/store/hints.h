/* Hints to MPI-IO: what gd_store_hints was given, as MPI takes it. */
#ifndef GD_STORE_HINTS_H
#define GD_STORE_HINTS_H

#include <mpi.h>

#include "gendistill/base.h"

/* The hints as a new object for MPI_Info_free, or MPI_INFO_NULL where there are none. Local. */
MPI_Info gd_hints_create(void);
void gd_hints_free(MPI_Info *hints);

/* Logs, for debugging, what MPI reports of these hints for the file that is open as `file`. Some versions report every
 * hint that they were given, known or not. Local. */
void gd_hints_log(const char *path, MPI_File file);

#endif
