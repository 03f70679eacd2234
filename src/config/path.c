/* Paths of the configuration as a job's file writes them: ~ and variables of the environment.
 *
 * No shell has seen them: unexpanded they would become folders of such names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"

enum { PROBLEM_LENGTH = 160 };

// Writes the value of the variable of `length` characters; false with a problem where it has none.
static bool put_variable(FILE *out, const char *name, size_t length, char *problem) {
  char *copy = gd_format("%.*s", (int)length, name);
  const char *value = getenv(copy);
  bool is_set = value && *value;
  if (is_set)
    fputs(value, out);
  else
    snprintf(problem, PROBLEM_LENGTH, "the environment variable %.80s is %s", copy, value ? "empty" : "not set");
  gd_free(copy);
  return is_set;
}

// Expands the variable at `text`, a $; returns where the rest begins, NULL with a problem.
static const char *put_dollar(FILE *out, const char *text, char *problem) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
  if (text[1] == '$') {
    fputc('$', out);
    return text + 2;
  }
  bool braced = text[1] == '{';
  const char *name = text + 1 + braced;
  size_t length = *name >= '0' && *name <= '9' ? 0 : strspn(name, letters);
  if (length == 0 || (braced && name[length] != '}')) {
    snprintf(problem, PROBLEM_LENGTH, "a $ must begin $NAME or ${NAME}; $$ is the character itself");
    return NULL;
  }
  return put_variable(out, name, length, problem) ? name + length + braced : NULL;
}

// `text` with its variables' values; NULL with a problem.
static char *expand_variables(const char *text, char *problem) {
  char *path = NULL;
  FILE *out = gd_text_begin(&path);
  while (text && *text) {
    if (*text == '$')
      text = put_dollar(out, text, problem);
    else
      fputc(*text++, out);
  }
  gd_text_end(out);
  if (text) return path;
  gd_free(path);
  return NULL;
}

char *gd_path_expand(const char *text, char *problem) {
  char *path = expand_variables(text, problem);
  if (!path || *path != '~') return path;
  const char *home = getenv("HOME");
  char *expanded = NULL;
  if (path[1] && path[1] != '/')
    snprintf(problem, PROBLEM_LENGTH, "only ~ and ~/ are expanded, not another user's folder");
  else if (!home || *home != '/')
    snprintf(problem, PROBLEM_LENGTH, "the environment variable HOME names no folder");
  else
    expanded = gd_format("%s%s", home, path + 1);
  gd_free(path);
  return expanded;
}
