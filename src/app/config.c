/* gendistill config: every key of a configuration with its default, as YAML or as configs/README.md. And the keys that
 * hold for the whole program. */
#include <stdio.h>

#include "app/command.h"
#include "gendistill/store.h"

void gd_config_apply(const gd_config *config) {
  gd_watchdog_timeout(config->comm.timeout_seconds);
  gd_store_hints(config->output.mpi_hints);
}

gd_err gd_command_config(const gd_comm *comm, int argc, char **argv) {
  bool markdown = false;
  gd_config *config = NULL;
  const gd_option options[] = {{"markdown", GD_OPTION_FLAG, &markdown, false}, {0}};
  gd_err err = gd_comm_agree(comm, gd_options_parse(argc, argv, options, NULL, NULL));
  if (err == GD_OK) err = gd_config_read(&config, comm, NULL, 0, NULL);
  if (err != GD_OK) return err;
  char *text = markdown ? gd_config_markdown(config) : gd_config_dump(config);
  if (comm->rank == 0) fputs(text, stdout);
  gd_free(text);
  gd_config_destroy(&config);
  return GD_OK;
}
