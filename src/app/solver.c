/* gendistill solver: the solver over all tasks by a method that needs no generator, to compare runs with. */
#include <stdio.h>

#include "app/command.h"
#include "gendistill/eval.h"
#include "gendistill/store.h"

static void print_line(const char *line) {
  printf("%s\n", line);
  fflush(stdout);
}

static void say_nothing(const char *line) {
  (void)line;
}

static gd_err check_solver_settings(const gd_config *config) {
  if (config->solver.method == GD_SOLVER_GENERATED)
    return gd_error(
        GD_ERR_INPUT,
        "key 'solver.method': 'generated' is for runs, which train and evaluate measure; the command solver "
        "is for the other methods");
  if (config->solver.epochs == 0) return gd_error(GD_ERR_INPUT, "key 'solver.epochs': must be above 0");
  return GD_OK;
}

gd_err gd_command_solver(const gd_comm *comm, int argc, char **argv) {
  gd_err err;
  const char *path;
  gd_texts sets = {0};
  gd_config *config = NULL;
  gd_folder_lock *lock = NULL;
  const gd_option options[] = {{"set", GD_OPTION_TEXTS, &sets, false}, {0}};
  err = gd_options_parse(argc, argv, options, "a configuration file", &path);
  GD_TRY(gd_comm_agree(comm, err));
  GD_TRY(gd_config_read(&config, comm, path, sets.n, sets.values));
  GD_REQUIRE(config);
  gd_config_apply(config);
  GD_TRY(gd_comm_agree(comm, check_solver_settings(config)));
  GD_TRY(gd_folder_lock_take(&lock, comm, config->output.directory, "solver"));
  err = gd_solver_course(comm, config, comm->rank == 0 ? print_line : say_nothing);
done:
  gd_folder_lock_release(&lock);
  gd_config_destroy(&config);
  return err;
}
