/* Hints to MPI-IO. */
#include "store/hints.h"

#include <stdio.h>
#include <string.h>

#include "gendistill/store.h"

static char *hint_lines;  // "NAME=VALUE\n" each; NULL: none

void gd_store_hints(const char *lines) {
  gd_free(hint_lines);
  hint_lines = *lines ? gd_strdup(lines) : NULL;
}

typedef struct hint {
  char name[MPI_MAX_INFO_KEY + 1], value[MPI_MAX_INFO_VAL + 1];
} hint;

// Reads the line at *next, which moves behind it; false at the end.
static bool next_hint(const char **next, hint *out) {
  if (!*next || !**next) return false;
  const char *equals = strchr(*next, '='), *end = equals ? strchr(equals, '\n') : NULL;
  GD_REQUIRE(end);
  snprintf(out->name, sizeof out->name, "%.*s", (int)(equals - *next), *next);
  snprintf(out->value, sizeof out->value, "%.*s", (int)(end - equals - 1), equals + 1);
  *next = end + 1;
  return true;
}

MPI_Info gd_hints_create(void) {
  MPI_Info hints = MPI_INFO_NULL;
  hint h;
  if (hint_lines) MPI_Info_create(&hints);
  for (const char *next = hint_lines; next_hint(&next, &h);) MPI_Info_set(hints, h.name, h.value);
  return hints;
}

void gd_hints_free(MPI_Info *hints) {
  if (*hints != MPI_INFO_NULL) MPI_Info_free(hints);
}

void gd_hints_log(const char *path, MPI_File file) {
  MPI_Info in_use = MPI_INFO_NULL;
  hint h;
  if (!hint_lines || MPI_File_get_info(file, &in_use) != MPI_SUCCESS) return;
  for (const char *next = hint_lines; next_hint(&next, &h);) {
    char value[MPI_MAX_INFO_VAL + 1] = "";
    int is_there = 0;
    MPI_Info_get(in_use, h.name, MPI_MAX_INFO_VAL, value, &is_there);
    gd_log(GD_LOG_DEBUG, "%s: hint %s=%s: %s%s", path, h.name, h.value,
           is_there ? "MPI reports " : "MPI does not report it", value);
  }
  gd_hints_free(&in_use);
}
