/* gendistill report: tables and pictures of several runs, by rank 0. */
#include "gendistill/report.h"

#include "app/command.h"

static gd_err write_report(const gd_texts *runs, const char *output) {
  char *directory = output         ? gd_strdup(output)
                    : runs->n == 1 ? gd_format("%s/report", runs->values[0])
                                   : gd_strdup("report");
  gd_err err = gd_report_write(runs->n, runs->values, directory);
  gd_free(directory);
  return err;
}

gd_err gd_command_report(const gd_comm *comm, int argc, char **argv) {
  gd_texts runs = {0};
  const char *output = NULL;
  const gd_option options[] = {{"", GD_OPTION_TEXTS, &runs, false}, {"output", GD_OPTION_TEXT, &output, false}, {0}};
  gd_err err = gd_options_parse(argc, argv, options, "a run's folder", NULL);
  if (err == GD_OK && comm->rank == 0) err = write_report(&runs, output);
  return gd_comm_agree(comm, err);
}
