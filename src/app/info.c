/* gendistill info: what is in a file. */
#include "app/command.h"
#include "gendistill/store.h"

gd_err gd_command_info(const gd_comm *comm, int argc, char **argv) {
  const char *path;
  const gd_option options[] = {{0}};
  gd_err err = gd_comm_agree(comm, gd_options_parse(argc, argv, options, "an HDF5 file", &path));
  return err == GD_OK ? gd_store_info(comm, path) : err;
}
