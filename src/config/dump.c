/* Configuration to YAML, and the comparison of two runs' configurations; both go row by row through the
 * table of keys. Printing and reading back gives the same values, bit by bit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"

static void print_real(FILE *out, double value) {
  char text[40];
  for (int digits = 1; digits <= 17; digits++) {  // the shortest that reads back exactly
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  fprintf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

// Up to the character `end`.
static void print_quoted(FILE *out, const char *text, char end, bool is_path) {
  fputc('"', out);
  for (; *text != end; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', out);
    if (*text == '$' && is_path) fputc('$', out);  // not to be expanded when it is read
    fputc(*text, out);
  }
  fputc('"', out);
}

static void print_hints(FILE *out, const char *lines) {
  fputc('{', out);
  for (const char *line = lines; *line; line = strchr(line, '\n') + 1) {
    if (line != lines) fputs(", ", out);
    print_quoted(out, line, '=', false);
    fputs(": ", out);
    print_quoted(out, strchr(line, '=') + 1, '\n', false);
  }
  fputc('}', out);
}

static void print_numbers(FILE *out, int n, const int *numbers) {
  fputc('[', out);
  for (int i = 0; i < n; i++) fprintf(out, "%s%d", i == 0 ? "" : ", ", numbers[i]);
  fputc(']', out);
}

static void print_order(FILE *out, const gd_tasks_config *tasks) {
  if (tasks->seeded) {
    fputs("seeded", out);
    return;
  }
  for (int t = 0; t < tasks->count; t++) {
    fputs(t == 0 ? "[" : ", ", out);
    print_numbers(out, tasks->n_classes[t], tasks->classes[t]);
  }
  fputc(']', out);
}

char *gd_key_format(const gd_key *key, const gd_config *config) {
  const void *value = (const char *)config + key->offset;
  const gd_unet_config *model = &config->model;
  char *text = NULL;
  FILE *out = gd_text_begin(&text);
  switch (key->type) {
    case GD_KEY_SEED:
      fprintf(out, "%" PRIu64, *(const uint64_t *)value);
      break;
    case GD_KEY_INT:
      fprintf(out, "%d", *(const int *)value);
      break;
    case GD_KEY_REAL:
      print_real(out, *(const double *)value);
      break;
    case GD_KEY_BOOL:
      fputs(*(const bool *)value ? "true" : "false", out);
      break;
    case GD_KEY_CHOICE:
      fputs(key->choices[*(const int *)value], out);
      break;
    case GD_KEY_TEXT:
      print_quoted(out, *(char *const *)value, 0, true);
      break;
    case GD_KEY_CHANNELS:
      print_numbers(out, model->n_levels, model->block_out_channels);
      break;
    case GD_KEY_ATTENTION:
      for (int i = 0; i < model->n_levels; i++)
        fprintf(out, "%s%s", i == 0 ? "[" : ", ", model->attention[i] ? "true" : "false");
      fputc(']', out);
      break;
    case GD_KEY_TASK_ORDER:
      print_order(out, &config->tasks);
      break;
    case GD_KEY_TIMESTEPS:
      print_numbers(out, ((const gd_sampling *)value)->n_timesteps, ((const gd_sampling *)value)->timesteps);
      break;
    case GD_KEY_HINTS:
      print_hints(out, *(char *const *)value);
      break;
  }
  gd_text_end(out);
  return text;
}

char *gd_config_dump(const gd_config *config) {
  char *text = NULL;
  FILE *out = gd_text_begin(&text);
  const char *section = "";
  for (int i = 0; i < gd_n_keys; i++) {
    const gd_key *key = &gd_keys[i];
    const char *dot = strchr(key->path, '.');
    size_t length = dot ? (size_t)(dot - key->path) : 0;
    if (dot && strncmp(section, key->path, length + 1) != 0) fprintf(out, "%.*s:\n", (int)length, key->path);
    section = key->path;
    char *value = gd_key_format(key, config);
    fprintf(out, "%s%s: %s  # %s\n", dot ? "  " : "", dot ? dot + 1 : key->path, value, key->doc);
    gd_free(value);
  }
  gd_text_end(out);
  return text;
}

bool gd_config_key(int i, const char **path, const char **meaning) {
  if (i >= gd_n_keys) return false;
  *path = gd_keys[i].path;
  *meaning = gd_keys[i].doc;
  return true;
}

// The values of a key where they differ, as new strings.
static bool value_differs(const gd_key *key, const gd_config *a, const gd_config *b, char **text_a, char **text_b) {
  *text_a = gd_key_format(key, a);
  *text_b = gd_key_format(key, b);
  if (strcmp(*text_a, *text_b) != 0) return true;
  gd_free(*text_a);
  gd_free(*text_b);
  return false;
}

gd_err gd_config_require_same_run(const gd_config *stored, const gd_config *given) {
  gd_err err = GD_OK;
  char *was, *is;
  for (int i = 0; i < gd_n_keys && err == GD_OK; i++) {
    if (gd_keys[i].may_differ || !value_differs(&gd_keys[i], stored, given, &was, &is)) continue;
    err = gd_error(GD_ERR_INPUT, "key '%s': the run was started with %s and cannot go on with %s", gd_keys[i].path, was,
                   is);
    gd_free(was);
    gd_free(is);
  }
  return err;
}

char *gd_config_changes(const gd_config *before, const gd_config *now) {
  char *changes = NULL, *was, *is;
  FILE *out = gd_text_begin(&changes);
  for (int i = 0, n = 0; i < gd_n_keys; i++) {
    if (!value_differs(&gd_keys[i], before, now, &was, &is)) continue;
    fprintf(out, "%s%s: %s becomes %s", n++ ? ", " : "", gd_keys[i].path, was, is);
    gd_free(was);
    gd_free(is);
  }
  gd_text_end(out);
  if (*changes) return changes;
  gd_free(changes);
  return NULL;
}

static bool is_key_of_measures(const char *path) {
  static const char *const parts[] = {"evaluation.features", "evaluation.inception_weights", "classifier.", "solver."};
  for (int i = 0; i < 4; i++)
    if (strncmp(path, parts[i], strlen(parts[i])) == 0) return true;
  return false;
}

bool gd_config_same_measures(const gd_config *a, const gd_config *b) {
  char *one, *other;
  for (int i = 0; i < gd_n_keys; i++) {
    if (!is_key_of_measures(gd_keys[i].path) || !value_differs(&gd_keys[i], a, b, &one, &other)) continue;
    gd_free(one);
    gd_free(other);
    return false;
  }
  return true;
}
