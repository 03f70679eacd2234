/* gendistill: picks the subcommand, starts and ends MPI, prints the one message of a failure. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"

static const gd_command commands[] = {
    {"train", "CONFIG [--set key=value]... [--init F] [--resume] [--time-limit SECONDS] [--dry-run]",
     "the whole continual run: checkpoints, samples", gd_command_train, true},
    {"sample",
     "--checkpoint F.h5 --count N|--index I --output F.h5 [--sampler NAME] [--steps N] [--eta E] [--timesteps LIST] "
     "[--label K] [--guidance W] [--seed S] [--initial-noise F.h5] [--grid F.png]",
     "images from a checkpoint", gd_command_sample, true},
    {"classifier", "CONFIG [--set key=value]...", "trains the evaluation classifier, if it is not in the cache",
     gd_command_classifier, true},
    {"evaluate", "RUN|SAMPLES.h5 [--config CONFIG] [--set key=value]...",
     "Fréchet distance, class balance and accuracy of a run's samples", gd_command_evaluate, true},
    {"solver", "CONFIG [--set key=value]...", "the solver over all tasks without a generator, as solver.method says",
     gd_command_solver, true},
    {"frechet", "--real F.h5[:/DATASET] --generated F.h5[:/DATASET] [--neighbours]",
     "Fréchet distance of two feature sets", gd_command_frechet, false},
    {"report", "RUN... [--output DIRECTORY]", "tables and pictures of several runs", gd_command_report, false},
    {"import", "--safetensors F|--diffusers FOLDER --config CONFIG --output F.h5 [--set key=value]...",
     "diffusers weights to a checkpoint", gd_command_import, false},
    {"export", "--checkpoint F.h5 --output FOLDER", "a folder that diffusers loads", gd_command_export, false},
    {"info", "FILE.h5", "what is in a file, and whether its checksums match", gd_command_info, false},
    {"config", "[--markdown]", "every key of a configuration with its default, as YAML or as configs/README.md",
     gd_command_config, false},
    {"bench", "CONFIG [--set key=value]... [--repeats N] [--profile] [--directory D]",
     "throughput of each stage and the machine's limits, as JSON", gd_command_bench, true},
    {0}};

// The level must be known before the first message.
static gd_err setup_log(int rank, int argc, char **argv) {
  gd_log_level level = GD_LOG_INFO;
  gd_err err = GD_OK;
  for (int i = 1; i < argc && err == GD_OK; i++) {
    if (strncmp(argv[i], "--log-level=", 12) == 0) err = gd_log_level_parse(argv[i] + 12, &level);
    if (strcmp(argv[i], "--log-level") == 0 && i + 1 < argc) err = gd_log_level_parse(argv[i + 1], &level);
  }
  gd_log_setup(rank, level);
  return err;
}

static gd_err run_command(const gd_comm *comm, int argc, char **argv) {
  gd_err err = setup_log(comm->rank, argc, argv);
  if (err != GD_OK) return err;
  if (argc < 2) return gd_error(GD_ERR_INPUT, "no command given (gendistill --help)");
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0 || (argc > 2 && !strcmp(argv[2], "--help"))) {
    if (comm->rank == 0) gd_help_print(stdout, commands);
    return GD_OK;
  }
  if (strcmp(argv[1], "--version") == 0) {
    char *text = gd_libraries_describe("\n");
    if (comm->rank == 0) printf("%s\n", text);
    gd_free(text);
    return GD_OK;
  }
  const gd_command *command = gd_command_find(commands, argv[1]);
  if (!command) return gd_error(GD_ERR_INPUT, "no command '%s' (gendistill --help)", argv[1]);
  if (command->computes) gd_threads_check(comm);
  return command->run(comm, argc - 1, argv + 1);
}

// Under mpirun rank 0 writes to a pipe, whose other end is mpirun's care.
static gd_err finish_output(void) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return GD_OK;
  return gd_error(GD_ERR_FAILED, "standard output: cannot write: %s", strerror(errno));
}

// What needs no MPI, which may not start on a login node. False: nothing of the kind was asked for.
static bool print_for_the_shell(int argc, char **argv) {
  const char *asked = argc > 1 ? argv[1] : "";
  bool is_complete = strcmp(asked, "--complete") == 0, is_manual = strcmp(asked, "--man") == 0;
  if (is_complete) gd_help_complete(stdout, commands, argc - 2, argv + 2);
  if (is_manual) gd_help_manual(stdout, commands);
  return is_complete || is_manual;
}

// Open MPI makes a file FILE.locktest.RANK next to each file that it opens, to try locks for shared file pointers,
// which HDF5 does not use; a killed run leaves it behind.
static void make_no_lock_files(void) {
  setenv("OMPI_MCA_sharedfp", "^lockedfile", 0);
}

// Its results need no check then: out of memory ends all ranks, as everywhere.
static void let_jansson_use_our_memory(void) {
  json_set_alloc_funcs(gd_alloc, gd_free);
}

int main(int argc, char **argv) {
  int threading;
  if (print_for_the_shell(argc, argv)) {
    gd_err err = finish_output();
    if (err != GD_OK) gd_log(GD_LOG_ERROR, "%s", gd_error_message());
    return (int)err;
  }
  gd_threads_wait_passively(argv);
  make_no_lock_files();
  let_jansson_use_our_memory();
  gd_stop_at_limits();
  if (argc > 1 && strcmp(argv[1], "train") == 0) gd_stop_on_signals();  // first of all: one may come soon
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &threading);  // the watchdog's thread; the others never call MPI
  gd_comm *comm;
  gd_comm_create(&comm, MPI_COMM_WORLD);
  gd_watchdog *watchdog;
  gd_watchdog_start(&watchdog, comm);
  gd_err err = run_command(comm, argc, argv);
  if (err == GD_OK) err = finish_output();
  err = gd_comm_agree(comm, err);
  if (err != GD_OK && comm->rank == 0) gd_log(err == GD_STOPPED ? GD_LOG_INFO : GD_LOG_ERROR, "%s", gd_error_message());
  gd_watchdog_stop(&watchdog);
  gd_comm_destroy(&comm);
  MPI_Finalize();
  return (int)err;
}
