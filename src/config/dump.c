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

static void print_text(FILE *out, const char *text) {
  fputc('"', out);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', out);
    if (*text == '$') fputc('$', out);  // not to be expanded when it is read
    fputc(*text, out);
  }
  fputc('"', out);
}

static void print_order(FILE *out, const gd_config_tasks *tasks) {
  if (tasks->seeded) {
    fputs("seeded", out);
    return;
  }
  for (int t = 0; t < tasks->count; t++) {
    fputs(t == 0 ? "[" : ", ", out);
    for (int i = 0; i < tasks->n_classes[t]; i++) fprintf(out, "%s%d", i == 0 ? "[" : ", ", tasks->classes[t][i]);
    fputc(']', out);
  }
  fputc(']', out);
}

char *gd_key_format(const gd_key *key, const gd_config *config) {
  const void *value = (const char *)config + key->offset;
  const gd_config_model *model = &config->model;
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
      print_text(out, *(char *const *)value);
      break;
    case GD_KEY_CHANNELS:
      for (int i = 0; i < model->n_levels; i++) fprintf(out, "%s%d", i == 0 ? "[" : ", ", model->block_out_channels[i]);
      fputc(']', out);
      break;
    case GD_KEY_ATTENTION:
      for (int i = 0; i < model->n_levels; i++)
        fprintf(out, "%s%s", i == 0 ? "[" : ", ", model->attention[i] ? "true" : "false");
      fputc(']', out);
      break;
    case GD_KEY_TASK_ORDER:
      print_order(out, &config->tasks);
      break;
  }
  gd_text_end(out);
  return text;
}

char *gd_config_dump(const gd_config *config) {
  char *text = NULL;
  FILE *out = gd_text_begin(&text);
  const char *section = "";
  for (int i = 0; i < GD_N_KEYS; i++) {
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

gd_err gd_config_require_same_run(const gd_config *stored, const gd_config *given) {
  gd_err err = GD_OK;
  for (int i = 0; i < GD_N_KEYS && err == GD_OK; i++) {
    if (gd_keys[i].may_differ) continue;
    char *was = gd_key_format(&gd_keys[i], stored), *is = gd_key_format(&gd_keys[i], given);
    if (strcmp(was, is) != 0)
      err = gd_error(GD_ERR_INPUT, "key '%s': the run was started with %s and cannot go on with %s", gd_keys[i].path,
                     was, is);
    gd_free(was);
    gd_free(is);
  }
  return err;
}
