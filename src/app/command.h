/* The subcommands, one file each, and what they share. A command runs on every rank and returns the same status on all.
 */
#ifndef GD_APP_COMMAND_H
#define GD_APP_COMMAND_H

#include "gendistill/comm.h"
#include "gendistill/config.h"

typedef struct gd_command {
  const char *name;
  const char *usage; /* its arguments */
  const char *summary;
  gd_err (*run)(const gd_comm *comm, int argc, char **argv); /* argv[0] is the command's name */
  bool computes;                                             /* long enough for the number of threads to matter */
} gd_command;

gd_err gd_command_train(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_sample(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_info(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_bench(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_config(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_classifier(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_evaluate(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_solver(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_frechet(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_report(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_import(const gd_comm *comm, int argc, char **argv);
gd_err gd_command_export(const gd_comm *comm, int argc, char **argv);

/* Version and libraries, with `separator` between them: new string, gd_free. Local. */
char *gd_libraries_describe(const char *separator);

/* Takes over what holds for the whole program: the watchdog's time-out, the hints to MPI-IO. Local. */
void gd_config_apply(const gd_config *config);

/* ---- Help: what the program says of its commands, a table that ends with a NULL name. All are local. ---- */

/* The command called `name`, or NULL. */
const gd_command *gd_command_find(const gd_command *commands, const char *name);

/* What --help prints. */
void gd_help_print(FILE *out, const gd_command *commands);

/* The manual page, in man's macros of roff. */
void gd_help_manual(FILE *out, const gd_command *commands);

/* For bash's completion: what may stand in place of the last of `n` words, those behind the program's name, one per
 * line; nothing where a file may stand. */
void gd_help_complete(FILE *out, const gd_command *commands, int n, char **words);

/* ---- Threads ---- */

/* Starts the program anew, with OMP_WAIT_POLICY=passive, where the threads of this node's ranks are more than its CPUs
 * and the environment does not say how they wait: a thread that waits actively takes the CPU of one that computes.
 * Before MPI_Init. Local. */
void gd_threads_wait_passively(char **argv);

/* Warns of a node whose ranks have more OpenMP threads than it gives them cores, and of one that has cores left over.
 * Collective on comm. */
void gd_threads_check(const gd_comm *comm);

/* ---- Options ---- */

typedef enum gd_option_type {
  GD_OPTION_FLAG,  /* bool *: present or not */
  GD_OPTION_TEXT,  /* const char ** */
  GD_OPTION_INT,   /* int64_t * */
  GD_OPTION_TEXTS, /* gd_texts *: may be given several times */
} gd_option_type;

enum { GD_MAX_TEXTS = 256 };

typedef struct gd_texts {
  int n;
  const char *values[GD_MAX_TEXTS + 1]; /* and one of the command's own */
} gd_texts;

typedef struct gd_option {
  const char *name; /* without the dashes */
  gd_option_type type;
  void *value;
  bool required;
} gd_option;

/* Reads --name VALUE, --name=VALUE and the one positional argument, if `positional` is not NULL, or one or several into
 * an option of type GD_OPTION_TEXTS with an empty name. `options` ends with a NULL name; --log-level is understood
 * everywhere. Local. GD_ERR_INPUT with one message. */
gd_err gd_options_parse(int argc, char **argv, const gd_option *options, const char *positional_name,
                        const char **positional);

#endif
