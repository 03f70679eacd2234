/* One value of the configuration from a YAML node: types and ranges, as the table of keys gives them.
 *
 * Numbers are decimal and must be the whole scalar; quoted scalars are texts, never numbers. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/keys.h"

static const char *scalar_text(const yaml_node_t *node) {
  return (const char *)node->data.scalar.value;
}

static bool is_plain(const yaml_node_t *node) {
  return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const yaml_node_t *node) {
  return is_plain(node) &&
         (!*scalar_text(node) || !strcmp(scalar_text(node), "~") || !strcmp(scalar_text(node), "null"));
}

const char *gd_node_describe(const yaml_node_t *node, char text[96]) {
  if (node->type == YAML_SEQUENCE_NODE) return "a list";
  if (node->type == YAML_MAPPING_NODE) return "a mapping";
  if (is_null(node)) return "nothing";
  const char *quote = is_plain(node) ? "'" : "\"";
  snprintf(text, 96, "%s%.60s%s", quote, scalar_text(node), quote);
  return text;
}

static gd_err refuse_value(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node,
                           const char *must) {
  char text[96], *place = gd_config_place(reader, node);
  gd_error(GD_ERR_INPUT, "%s: key '%s': must be %s, is %s", place, key->path, must, gd_node_describe(node, text));
  gd_free(place);
  return GD_ERR_INPUT;
}

static gd_err out_of_range(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node) {
  char must[96];
  snprintf(must, sizeof must, "between %.15g and %.15g", key->min, key->max);
  return refuse_value(reader, key, node, must);
}

static bool is_whole(const char *text) {
  if (*text == '+' || *text == '-') text++;
  return *text && strspn(text, "0123456789") == strlen(text);
}

static gd_err read_seed(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, uint64_t *out) {
  if (!is_plain(node) || !is_whole(scalar_text(node))) return refuse_value(reader, key, node, "a whole number");
  errno = 0;
  unsigned long long value = strtoull(scalar_text(node), NULL, 10);
  if (errno || *scalar_text(node) == '-') return refuse_value(reader, key, node, "between 0 and 18446744073709551615");
  *out = value;
  return GD_OK;
}

static gd_err read_int(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, int *out) {
  if (!is_plain(node) || !is_whole(scalar_text(node))) return refuse_value(reader, key, node, "a whole number");
  long long value = strtoll(scalar_text(node), NULL, 10);  // saturates, and so is out of range
  if ((double)value < key->min || (double)value > key->max) return out_of_range(reader, key, node);
  *out = (int)value;
  return GD_OK;
}

static gd_err read_real(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, double *out) {
  const char *text = is_plain(node) ? scalar_text(node) : "";
  char *end = NULL;
  // the set of characters keeps out nan, inf and hexadecimal, which strtod would take
  bool decimal = *text && strspn(text, "0123456789+-.eE") == strlen(text);
  double value = decimal ? strtod(text, &end) : 0;
  if (!decimal || end == text || *end) return refuse_value(reader, key, node, "a number");
  if (!isfinite(value) || value < key->min || value > key->max) return out_of_range(reader, key, node);
  *out = value + 0.0;  // -0 becomes 0
  return GD_OK;
}

static gd_err read_bool(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, bool *out) {
  const char *text = is_plain(node) ? scalar_text(node) : "";
  *out = !strcmp(text, "true") || !strcmp(text, "True") || !strcmp(text, "TRUE");
  if (*out || !strcmp(text, "false") || !strcmp(text, "False") || !strcmp(text, "FALSE")) return GD_OK;
  return refuse_value(reader, key, node, "true or false");
}

static gd_err read_choice(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, int *out) {
  const char *text = node->type == YAML_SCALAR_NODE ? scalar_text(node) : "";
  char must[256] = "";
  for (int i = 0; key->choices[i]; i++) {
    if (strcmp(text, key->choices[i]) == 0) {
      *out = i;
      return GD_OK;
    }
    const char *comma = i == 0 ? "" : key->choices[i + 1] ? ", " : " or ";
    snprintf(must + strlen(must), sizeof must - strlen(must), "%s%s", comma, key->choices[i]);
  }
  return refuse_value(reader, key, node, must);
}

// Code point at *text, which moves behind it; -1 where it is not UTF-8.
static int32_t next_code_point(const unsigned char **text) {
  static const int32_t least[] = {0, 0x80, 0x800, 0x10000};  // a shorter form must be taken
  const unsigned char *c = *text;
  int n_more = *c < 0x80 ? 0 : *c < 0xc0 ? -1 : *c < 0xe0 ? 1 : *c < 0xf0 ? 2 : *c < 0xf8 ? 3 : -1;
  if (n_more < 0) return -1;
  int32_t code = n_more ? *c & (0x3f >> n_more) : *c;
  for (int i = 1; i <= n_more; i++) {
    if ((c[i] & 0xc0) != 0x80) return -1;
    code = code << 6 | (c[i] & 0x3f);
  }
  *text += n_more + 1;
  return code < least[n_more] ? -1 : code;
}

// Only what YAML calls printable, without line breaks: no path needs the rest, and a dump could not be read back.
static bool is_printable(const char *text) {
  for (const unsigned char *c = (const unsigned char *)text; *c;) {
    int32_t code = next_code_point(&c);
    bool is_break = code == 0x2028 || code == 0x2029 || code == 0xfeff;
    bool is_allowed = (code >= 0x20 && code < 0x7f) || (code >= 0xa0 && code < 0xd800) ||
                      (code >= 0xe000 && code < 0xfffe) || (code >= 0x10000 && code < 0x110000);
    if (!is_allowed || is_break) return false;
  }
  return true;
}

static gd_err read_text(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, char **out) {
  if (node->type != YAML_SCALAR_NODE || is_null(node) || !*scalar_text(node))
    return refuse_value(reader, key, node, "a text");
  char problem[160], *path = gd_path_expand(scalar_text(node), problem);
  gd_err err = GD_OK;
  if (!path) {
    char *place = gd_config_place(reader, node);
    err = gd_error(GD_ERR_INPUT, "%s: key '%s': '%.200s': %s", place, key->path, scalar_text(node), problem);
    gd_free(place);
  } else if (strlen(scalar_text(node)) != node->data.scalar.length || !is_printable(path)) {
    err = refuse_value(reader, key, node, "a text in UTF-8 without control characters");
  } else if (strlen(path) > 1000) {
    err = refuse_value(reader, key, node, "shorter than 1000 bytes");
  }
  if (err != GD_OK) {
    gd_free(path);
    return err;
  }
  gd_free(*out);
  *out = path;
  return GD_OK;
}

// Number of entries of a list of min .. max entries; 0 with an error otherwise.
static gd_err list_length(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, const char *of,
                          int min, int max, int *n) {
  if (node->type != YAML_SEQUENCE_NODE) return refuse_value(reader, key, node, of);
  ptrdiff_t length = node->data.sequence.items.top - node->data.sequence.items.start;
  if (length < min || length > max) {
    char *place = gd_config_place(reader, node);
    gd_error(GD_ERR_INPUT, "%s: key '%s': must have %d to %d entries, has %td", place, key->path, min, max, length);
    gd_free(place);
    return GD_ERR_INPUT;
  }
  *n = (int)length;
  return GD_OK;
}

static const yaml_node_t *list_item(const gd_config_reader *reader, const yaml_node_t *node, int i) {
  return yaml_document_get_node(reader->document, node->data.sequence.items.start[i]);
}

static gd_err read_channels(gd_config_reader *reader, const gd_key *key, const yaml_node_t *node) {
  gd_unet_config *model = &reader->config->model;
  gd_err err = GD_OK;
  int n = 0;
  GD_TRY(list_length(reader, key, node, "a list of whole numbers", 1, GD_MAX_LEVELS, &n));
  for (int i = 0; i < n; i++) GD_TRY(read_int(reader, key, list_item(reader, node, i), &model->block_out_channels[i]));
  model->n_levels = n;
done:
  return err;
}

static gd_err read_attention(gd_config_reader *reader, const gd_key *key, const yaml_node_t *node) {
  gd_err err = GD_OK;
  int n = 0;
  GD_TRY(list_length(reader, key, node, "a list of true and false", 1, GD_MAX_LEVELS, &n));
  for (int i = 0; i < n; i++)
    GD_TRY(read_bool(reader, key, list_item(reader, node, i), &reader->config->model.attention[i]));
  reader->n_attention = n;
done:
  return err;
}

static gd_err read_order(gd_config_reader *reader, const gd_key *key, const yaml_node_t *node) {
  static const char *const must = "seeded or a list with a list of classes for each task";
  gd_tasks_config *tasks = &reader->config->tasks;
  gd_err err = GD_OK;
  int n = 0;
  gd_config_clear_order(reader->config);
  if (node->type == YAML_SCALAR_NODE && strcmp(scalar_text(node), "seeded") == 0) return GD_OK;
  GD_TRY(list_length(reader, key, node, must, 1, GD_MAX_CLASSES, &n));
  tasks->seeded = false;
  for (int t = 0; t < n; t++) {
    const yaml_node_t *list = list_item(reader, node, t);
    int n_classes = 0;
    GD_TRY(list_length(reader, key, list, must, 1, GD_MAX_CLASSES, &n_classes));
    tasks->n_classes[t] = n_classes;
    tasks->classes[t] = GD_NEW_ARRAY(int, n_classes);
    for (int i = 0; i < n_classes; i++)
      GD_TRY(read_int(reader, key, list_item(reader, list, i), &tasks->classes[t][i]));
  }
done:
  return err;
}

static gd_err read_timesteps(gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, gd_sampling *out) {
  gd_err err = GD_OK;
  int n = 0;
  GD_TRY(list_length(reader, key, node, "a list of whole numbers", 0, GD_MAX_TIMESTEPS, &n));
  for (int i = 0; i < n; i++) GD_TRY(read_int(reader, key, list_item(reader, node, i), &out->timesteps[i]));
  out->n_timesteps = n;
done:
  return err;
}

// NULL for what MPI_Info_set takes and a line "NAME=VALUE" can hold; otherwise what is wrong.
static const char *problem_of_hint(const char *name, const yaml_node_t *value) {
  if (value->type != YAML_SCALAR_NODE || is_null(value) || !*scalar_text(value)) return "must be a text or a number";
  size_t length = value->data.scalar.length;
  if (strlen(name) >= MPI_MAX_INFO_KEY || length >= MPI_MAX_INFO_VAL) return "is longer than MPI allows";
  bool is_text = is_printable(name) && is_printable(scalar_text(value)) && strlen(scalar_text(value)) == length;
  return is_text && !strchr(name, '=') ? NULL : "must be UTF-8 without control characters, its name without '='";
}

static gd_err read_hints(const gd_config_reader *reader, const gd_key *key, const yaml_node_t *node, char **out) {
  gd_err err = GD_OK;
  char *text = NULL, *place = gd_config_place(reader, node);
  FILE *lines = gd_text_begin(&text);
  if (node->type != YAML_MAPPING_NODE) GD_TRY(refuse_value(reader, key, node, "a mapping of hints to their values"));
  for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
    const yaml_node_t *value = yaml_document_get_node(reader->document, p->value);
    GD_TRY(gd_config_check_name(reader, node, p));
    const char *name = scalar_text(yaml_document_get_node(reader->document, p->key));
    const char *problem = problem_of_hint(name, value);
    if (problem) GD_TRY(gd_error(GD_ERR_INPUT, "%s: key '%s': hint '%.100s' %s", place, key->path, name, problem));
    fprintf(lines, "%s=%s\n", name, scalar_text(value));
  }
done:
  gd_text_end(lines);
  gd_free(place);
  gd_free(err == GD_OK ? *out : text);
  if (err == GD_OK) *out = text;
  return err;
}

gd_err gd_key_read(gd_config_reader *reader, const gd_key *key, const yaml_node_t *node) {
  void *value = (char *)reader->config + key->offset;
  switch (key->type) {
    case GD_KEY_SEED:
      return read_seed(reader, key, node, value);
    case GD_KEY_INT:
      return read_int(reader, key, node, value);
    case GD_KEY_REAL:
      return read_real(reader, key, node, value);
    case GD_KEY_BOOL:
      return read_bool(reader, key, node, value);
    case GD_KEY_CHOICE:
      return read_choice(reader, key, node, value);
    case GD_KEY_TEXT:
      return read_text(reader, key, node, value);
    case GD_KEY_CHANNELS:
      return read_channels(reader, key, node);
    case GD_KEY_ATTENTION:
      return read_attention(reader, key, node);
    case GD_KEY_TASK_ORDER:
      return read_order(reader, key, node);
    case GD_KEY_TIMESTEPS:
      return read_timesteps(reader, key, node, value);
    case GD_KEY_HINTS:
      return read_hints(reader, key, node, value);
  }
  gd_abort("key '%s' has no type", key->path);
}
