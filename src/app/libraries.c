/* What the program is built with, as --version and the start of a run say it. */
#include <hdf5.h>
#include <mpi.h>
#include <string.h>

#include "app/command.h"
#include "gendistill/nn.h"

// "Open MPI v4.1.4" of a text that goes on behind it.
static char *mpi_name(void) {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length;
  MPI_Get_library_version(text, &length);
  text[strcspn(text, ",\n")] = 0;
  for (char *c = text; *c; c++)
    if (*c == '\t') *c = ' ';
  return gd_strdup(text);
}

char *gd_libraries_describe(const char *separator) {
  unsigned major, minor, release;
  H5get_libversion(&major, &minor, &release);
  char *nn = gd_nn_library(), *mpi = mpi_name();
  char *text = gd_format("gendistill " GD_VERSION "%s%s%s%s%sHDF5 %u.%u.%u", separator, nn, separator, mpi, separator,
                         major, minor, release);
  gd_free(nn);
  gd_free(mpi);
  return text;
}
