/* One line per message on stderr; ranks other than 0 print errors only. */
#include <stdio.h>
#include <string.h>

#include "base/rank.h"
#include "gendistill/base.h"

int gd_rank_for_messages = 0;

static gd_log_level max_level = GD_LOG_INFO;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void gd_log_setup(int rank, gd_log_level level) {
  gd_rank_for_messages = rank;
  max_level = level;
}

gd_err gd_log_level_parse(const char *text, gd_log_level *level) {
  for (int i = 0; i < 4; i++) {
    if (strcmp(text, level_names[i]) == 0) {
      *level = (gd_log_level)i;
      return GD_OK;
    }
  }
  return gd_error(GD_ERR_INPUT, "log level '%s': must be error, warn, info or debug", text);
}

void gd_print_line(const char *format, ...) {
  char line[8192];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line - 1, format, args);
  va_end(args);
  size_t length = strlen(line);
  line[length] = '\n';
  line[length + 1] = 0;
  fputs(line, stderr);  // fprintf would write pieces of 128 bytes since glibc 2.37
}

void gd_log(gd_log_level level, const char *format, ...) {
  if (level > max_level || (gd_rank_for_messages != 0 && level != GD_LOG_ERROR)) return;
  char line[4096];
  va_list args;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (gd_rank_for_messages == 0)
    gd_print_line("gendistill: %s%s%s", level == GD_LOG_INFO ? "" : level_names[level],
                  level == GD_LOG_INFO ? "" : ": ", line);
  else
    gd_print_line("gendistill: rank %d: %s: %s", gd_rank_for_messages, level_names[level], line);
}
