/* What the program says of itself: --help, the manual page, and words for the completion of the shell. */
#include <stdio.h>
#include <string.h>

#include "app/command.h"

static const char everywhere[] = "Every command takes --log-level error|warn|info|debug.";
static const char streams[] = "Results go to stdout, the log to stderr.";

static const struct {
  int status;
  const char *meaning;
} exits[] = {{0, "done"},
             {1, "failed"},
             {2, "usage or bad input"},
             {75, "stopped early with a checkpoint: train --resume goes on"}};

enum { N_EXITS = sizeof exits / sizeof *exits };

// In place of a command.
static const struct {
  const char *name, *summary;
} alone[] = {{"--help", "the commands and their arguments"},
             {"--version", "version of the program and of its libraries"},
             {"--man", "this page, in roff"}};

enum { N_ALONE = sizeof alone / sizeof *alone };

const gd_command *gd_command_find(const gd_command *commands, const char *name) {
  for (; commands->name; commands++)
    if (strcmp(commands->name, name) == 0) return commands;
  return NULL;
}

void gd_help_print(FILE *out, const gd_command *commands) {
  fprintf(out, "gendistill " GD_VERSION
               ": continual training of diffusion models by generative distillation\n\n"
               "usage: [mpirun -n P | srun] gendistill COMMAND ...\n\n");
  for (; commands->name; commands++)
    fprintf(out, "  %-10s %s\n             %s\n", commands->name, commands->usage, commands->summary);
  fprintf(out, "\n%s %s\nExit status:", everywhere, streams);
  for (int i = 0; i < N_EXITS; i++) fprintf(out, "%s %d %s", i ? "," : "", exits[i].status, exits[i].meaning);
  fprintf(out, ".\n");
}

// ---- Manual page

// Text as roff, which gives \ - ' a meaning of their own; no text of ours begins with a point. Our letters outside of
// ASCII have two bytes in UTF-8.
static void print_roff(FILE *out, const char *text) {
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c == '\\') {
      fputs("\\e", out);
    } else if (*c == '-') {
      fputs("\\-", out);
    } else if (*c == '\'') {
      fputs("\\(aq", out);
    } else if (*c >= 0xc0 && c[1]) {
      fprintf(out, "\\[u%04X]", (*c & 0x1fu) << 6 | (c[1] & 0x3fu));
      c++;
    } else {
      fputc(*c, out);
    }
  }
}

// A paragraph with a bold heading; `arguments` stand behind it.
static void print_item(FILE *out, const char *name, const char *arguments, const char *text) {
  fprintf(out, ".TP\n\\fB");
  print_roff(out, name);
  fprintf(out, "\\fR ");
  print_roff(out, arguments);
  fprintf(out, "\n");
  print_roff(out, text);
  fprintf(out, "\n");
}

static const char manual_head[] =
    ".TH GENDISTILL 1 \"\" \"gendistill " GD_VERSION
    "\"\n"
    ".SH NAME\ngendistill \\- continual training of diffusion models by generative distillation\n"
    ".SH SYNOPSIS\n[\\fBmpirun \\-n\\fR \\fIP\\fR | \\fBsrun\\fR] \\fBgendistill\\fR \\fICOMMAND\\fR ...\n"
    ".SH DESCRIPTION\ngendistill trains image diffusion models task after task, without the data of earlier tasks, on "
    "the ranks of an MPI job. A configuration in YAML says what a run does. Without a launcher there is one "
    "rank.\n.PP\n";

static const char manual_tail[] =
    ".SH FILES\nIn the folder of the installation:\n"
    ".TP\n.I share/gendistill/configs\nconfigurations\n"
    ".TP\n.I share/gendistill/jobs\njob scripts for Slurm\n"
    ".TP\n.I share/doc/gendistill\npages on the keys, commands, clusters, strategies, networks and metrics\n"
    ".SH SEE ALSO\n.BR mpirun (1),\n.BR sbatch (1),\n.BR srun (1)\n";

void gd_help_manual(FILE *out, const gd_command *commands) {
  const char *path, *meaning;
  fputs(manual_head, out);
  print_roff(out, streams);
  fprintf(out, "\n.SH COMMANDS\n");
  print_roff(out, everywhere);
  fprintf(out, "\n");
  for (; commands->name; commands++) print_item(out, commands->name, commands->usage, commands->summary);
  for (int i = 0; i < N_ALONE; i++) print_item(out, alone[i].name, "", alone[i].summary);
  fprintf(out,
          ".SH CONFIGURATION\nThe keys, for a file or for \\-\\-set. \\fBgendistill config\\fR prints the defaults.\n");
  for (int i = 0; gd_config_key(i, &path, &meaning); i++) print_item(out, path, "", meaning);
  fprintf(out, ".SH EXIT STATUS\n");
  for (int i = 0; i < N_EXITS; i++) {
    fprintf(out, ".TP\n.B %d\n", exits[i].status);
    print_roff(out, exits[i].meaning);
    fprintf(out, "\n");
  }
  fputs(manual_tail, out);
}

// ---- Completion

static void complete_key(FILE *out) {
  const char *path, *meaning;
  for (int i = 0; gd_config_key(i, &path, &meaning); i++) fprintf(out, "%s=\n", path);
}

// The options that a usage names.
static void complete_option(FILE *out, const char *usage) {
  for (const char *c = usage; (c = strstr(c, "--")); c += 2)
    fprintf(out, "%.*s\n", (int)(2 + strspn(c + 2, "abcdefghijklmnopqrstuvwxyz-")), c);
  fprintf(out, "--log-level\n");
}

static void complete_command(FILE *out, const gd_command *commands) {
  for (; commands->name; commands++) fprintf(out, "%s\n", commands->name);
  for (int i = 0; i < N_ALONE; i++) fprintf(out, "%s\n", alone[i].name);
}

void gd_help_complete(FILE *out, const gd_command *commands, int n, char **words) {
  if (n < 2) {
    complete_command(out, commands);
    return;
  }
  const gd_command *command = gd_command_find(commands, words[0]);
  bool is_equals = n > 3 && strcmp(words[n - 2], "=") == 0;  // bash splits words at =
  if (strcmp(words[n - 2 - is_equals], "--set") == 0)
    complete_key(out);
  else if (command && strncmp(words[n - 1], "-", 1) == 0)
    complete_option(out, command->usage);
}
