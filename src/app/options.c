/* Command-line options: one small table a command. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"

// The shell does not expand what is quoted, nor ~ behind "=": it would become a folder of that name.
static gd_err check_path(const char *text) {
  if (*text != '~' && *text != '$') return GD_OK;
  return gd_error(GD_ERR_INPUT,
                  "%s: the shell has not expanded this: do not quote it, and put a space before it, not = (./%s for a "
                  "file of this name)",
                  text, text);
}

static gd_err set_value(const gd_option *option, const char *text) {
  char *end = NULL;
  errno = 0;
  switch (option->type) {
    case GD_OPTION_TEXT:
      *(const char **)option->value = text;
      return check_path(text);
    case GD_OPTION_TEXTS: {
      gd_texts *texts = option->value;
      if (texts->n == GD_MAX_TEXTS)
        return gd_error(GD_ERR_INPUT, "--%s: more than %d times", option->name, GD_MAX_TEXTS);
      texts->values[texts->n++] = text;
      return *option->name ? GD_OK : check_path(text);  // a --set's value is the configuration's
    }
    case GD_OPTION_INT:
      *(int64_t *)option->value = strtoll(text, &end, 10);
      break;
    case GD_OPTION_FLAG:
      break;
  }
  if (!end || end == text || *end || errno)
    return gd_error(GD_ERR_INPUT, "--%s: '%s' is not a whole number", option->name, text);
  return GD_OK;
}

static const gd_option *find_option(const gd_option *options, const char *name, size_t length) {
  for (; options->name; options++)
    if (strlen(options->name) == length && strncmp(options->name, name, length) == 0) return options;
  return NULL;
}

// One option at argv[*i]; moves *i past its value.
static gd_err parse_option(int argc, char **argv, int *i, const gd_option *options) {
  const char *name = argv[*i] + 2, *equals = strchr(name, '=');
  size_t length = equals ? (size_t)(equals - name) : strlen(name);
  const gd_option *option = length ? find_option(options, name, length) : NULL;
  gd_log_level level = GD_LOG_INFO;
  bool is_level = length == 9 && strncmp(name, "log-level", 9) == 0;
  if (!option && !is_level)
    return gd_error(GD_ERR_INPUT, "%s: no option --%.*s (gendistill --help)", argv[0], (int)length, name);
  if (option && option->type == GD_OPTION_FLAG) {
    if (equals) return gd_error(GD_ERR_INPUT, "--%s: takes no value", option->name);
    *(bool *)option->value = true;
    return GD_OK;
  }
  const char *text = equals ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
  if (!text) return gd_error(GD_ERR_INPUT, "--%.*s: needs a value", (int)length, name);
  return is_level ? gd_log_level_parse(text, &level) : set_value(option, text);
}

static bool was_given(const gd_option *option) {
  return option->type == GD_OPTION_TEXT && *(const char **)option->value;
}

gd_err gd_options_parse(int argc, char **argv, const gd_option *options, const char *positional_name,
                        const char **positional) {
  gd_err err = GD_OK;
  const gd_option *several = find_option(options, "", 0);
  if (positional) *positional = NULL;
  for (int i = 1; i < argc; i++) {
    if (strncmp(argv[i], "--", 2) == 0) {
      err = parse_option(argc, argv, &i, options);
      if (err != GD_OK) return err;
    } else if (positional && !*positional) {
      *positional = argv[i];
      err = check_path(argv[i]);
      if (err != GD_OK) return err;
    } else if (several) {
      err = set_value(several, argv[i]);
      if (err != GD_OK) return err;
    } else {
      return gd_error(GD_ERR_INPUT, "%s: unexpected argument '%s' (gendistill --help)", argv[0], argv[i]);
    }
  }
  if ((positional && !*positional) || (several && ((gd_texts *)several->value)->n == 0))
    return gd_error(GD_ERR_INPUT, "%s: needs %s", argv[0], positional_name);
  for (; options->name; options++)
    if (options->required && !was_given(options))
      return gd_error(GD_ERR_INPUT, "%s: needs --%s", argv[0], options->name);
  return GD_OK;
}
