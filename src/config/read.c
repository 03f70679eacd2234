/* Walks a YAML document and gives each value to its row in the table of keys.
 *
 * Unknown keys, keys given twice and broken YAML end here; types and ranges are value.c's. */
#include <string.h>

#include "config/keys.h"

char *gd_config_place(const gd_config_reader *reader, const yaml_node_t *node) {
  if (reader->set) return gd_format("--set %s", reader->set);
  return gd_format("%s:%zu", reader->file ? reader->file : "default", node->start_mark.line + 1);
}

static gd_err unknown_key(const gd_config_reader *reader, const yaml_node_t *node, const char *path) {
  char *place = gd_config_place(reader, node), *nearest = gd_key_nearest(path);
  if (nearest)
    gd_error(GD_ERR_INPUT, "%s: unknown key '%.100s', did you mean '%s'?", place, path, nearest);
  else
    gd_error(GD_ERR_INPUT, "%s: unknown key '%.100s'", place, path);
  gd_free(nearest);
  gd_free(place);
  return GD_ERR_INPUT;
}

static const yaml_node_t *node_at(const gd_config_reader *reader, int index) {
  return yaml_document_get_node(reader->document, index);
}

gd_err gd_config_check_name(const gd_config_reader *reader, const yaml_node_t *mapping, const yaml_node_pair_t *pair) {
  const yaml_node_t *key = node_at(reader, pair->key);
  char text[96], *place = gd_config_place(reader, key);
  gd_err err = GD_OK;
  const char *name = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : NULL;
  if (name && strcmp(name, "<<") == 0) {
    err = gd_error(GD_ERR_INPUT, "%s: merge keys (<<) are not supported: write the keys out", place);
  } else if (!name || !*name || strlen(name) != key->data.scalar.length) {
    err = gd_error(GD_ERR_INPUT, "%s: a key must be a name, is %s", place, gd_node_describe(key, text));
  } else if (strchr(name, '.')) {
    err = gd_error(GD_ERR_INPUT, "%s: key '%.100s': write a section and its keys as nested mappings, without a dot",
                   place, name);
  }
  for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; err == GD_OK && p < pair; p++) {
    const yaml_node_t *other = node_at(reader, p->key);
    if (strcmp((const char *)other->data.scalar.value, name) != 0) continue;
    char *first = gd_config_place(reader, other);
    err = gd_error(GD_ERR_INPUT, "%s: key '%s' is given twice, first at %s", place, name, first);
    gd_free(first);
  }
  gd_free(place);
  return err;
}

static gd_err read_node(gd_config_reader *reader, const char *path, const yaml_node_t *node,
                        const yaml_node_t *key_node);

static gd_err read_mapping(gd_config_reader *reader, const char *path, const yaml_node_t *node) {
  gd_err err = GD_OK;
  char *child = NULL;
  if (node->type != YAML_MAPPING_NODE) {
    char text[96], *place = gd_config_place(reader, node);
    const char *is = gd_node_describe(node, text);
    if (*path)
      err = gd_error(GD_ERR_INPUT, "%s: key '%s': must be a mapping of keys to values, is %s", place, path, is);
    else
      err = gd_error(GD_ERR_INPUT, "%s: must be a mapping of keys to values, is %s", place, is);
    gd_free(place);
    return err;
  }
  for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
    GD_TRY(gd_config_check_name(reader, node, p));
    const yaml_node_t *key_node = node_at(reader, p->key);
    gd_free(child);
    child = gd_format("%s%s%s", path, *path ? "." : "", (const char *)key_node->data.scalar.value);
    GD_TRY(read_node(reader, child, node_at(reader, p->value), key_node));
  }
done:
  gd_free(child);
  return err;
}

static gd_err read_node(gd_config_reader *reader, const char *path, const yaml_node_t *node,
                        const yaml_node_t *key_node) {
  int k = gd_key_find(path);
  if (k < 0 && !gd_key_is_section(path)) return unknown_key(reader, key_node, path);
  if (k < 0) return read_mapping(reader, path, node);
  gd_free(reader->where[k]);
  reader->where[k] = reader->set || reader->file ? gd_config_place(reader, key_node) : NULL;
  return gd_key_read(reader, &gd_keys[k], node);
}

static gd_err yaml_failure(const gd_config_reader *reader, const yaml_parser_t *parser) {
  if (parser->error == YAML_MEMORY_ERROR) gd_out_of_memory("for the YAML parser");
  const char *problem = parser->problem;
  if (reader->set) return gd_error(GD_ERR_INPUT, "--set %s: not valid YAML: %s", reader->set, problem);
  if (parser->error == YAML_READER_ERROR)  // it knows the byte only
    return gd_error(GD_ERR_INPUT, "%s: not valid YAML: %s at byte %zu", reader->file, problem, parser->problem_offset);
  return gd_error(GD_ERR_INPUT, "%s:%zu: not valid YAML: %s", reader->file, parser->problem_mark.line + 1, problem);
}

// Exactly one document: what follows it would be left unread without a word.
static gd_err check_end(const gd_config_reader *reader, yaml_parser_t *parser) {
  yaml_document_t rest;
  if (!yaml_parser_load(parser, &rest)) return yaml_failure(reader, parser);
  const yaml_node_t *root = yaml_document_get_root_node(&rest);
  gd_err err = GD_OK;
  if (root) {
    char *place = gd_config_place(reader, root);
    err = gd_error(GD_ERR_INPUT, "%s: a second YAML document begins here; only one is read", place);
    gd_free(place);
  }
  yaml_document_delete(&rest);
  return err;
}

// libyaml's time grows with the square of the depth, so that is looked at first, event by event. Broken YAML ends the
// look: loading it says what is wrong.
static gd_err check_depth(const gd_config_reader *reader, const char *text) {
  enum { MAX_DEPTH = 16 };
  yaml_parser_t parser;
  yaml_event_t event;
  int depth = 0;
  size_t line = 0;
  if (!yaml_parser_initialize(&parser)) gd_out_of_memory("for the YAML parser");
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
  for (bool more = true; more && depth <= MAX_DEPTH && yaml_parser_parse(&parser, &event);) {
    yaml_event_type_t type = event.type;
    depth += type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT;
    depth -= type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT;
    more = type != YAML_STREAM_END_EVENT;
    line = event.start_mark.line;
    yaml_event_delete(&event);
  }
  bool is_memory = parser.error == YAML_MEMORY_ERROR;
  yaml_parser_delete(&parser);
  if (is_memory) gd_out_of_memory("for the YAML parser");
  if (depth <= MAX_DEPTH) return GD_OK;
  if (reader->set) return gd_error(GD_ERR_INPUT, "--set %.100s: nested too deeply", reader->set);
  return gd_error(GD_ERR_INPUT, "%s:%zu: nested too deeply", reader->file, line + 1);
}

static gd_err check_text(const gd_config_reader *reader, const char *text) {
  if (strlen(text) <= GD_MAX_CONFIG_NBYTES) return check_depth(reader, text);
  if (reader->set) return gd_error(GD_ERR_INPUT, "--set %.100s: too large for a configuration", reader->set);
  return gd_error(GD_ERR_INPUT, "%s: too large for a configuration", reader->file);
}

gd_err gd_config_read_set(gd_config_reader *reader, const char *path, const char *value) {
  int k = gd_key_find(path);
  bool is_quoted = *value == '"' || *value == '\'';
  if (k < 0 || gd_keys[k].type != GD_KEY_TEXT || is_quoted || !*value) return gd_config_read_text(reader, path, value);
  char *copy = gd_strdup(value);  // YAML would cut it at " #"
  yaml_node_t node = {
      .type = YAML_SCALAR_NODE,
      .data.scalar = {.value = (yaml_char_t *)copy, .length = strlen(copy), .style = YAML_DOUBLE_QUOTED_SCALAR_STYLE}};
  gd_err err = read_node(reader, path, &node, &node);
  gd_free(copy);
  return err;
}

gd_err gd_config_read_text(gd_config_reader *reader, const char *path, const char *text) {
  gd_err err = GD_OK;
  yaml_parser_t parser;
  yaml_document_t document;
  bool loaded = false;
  err = check_text(reader, text);
  if (err != GD_OK) return err;
  if (!yaml_parser_initialize(&parser)) gd_out_of_memory("for the YAML parser");
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
  loaded = yaml_parser_load(&parser, &document);
  if (!loaded) GD_TRY(yaml_failure(reader, &parser));

  reader->document = &document;
  const yaml_node_t *root = yaml_document_get_root_node(&document);
  if (root) {
    GD_TRY(read_node(reader, path, root, root));
    GD_TRY(check_end(reader, &parser));
  } else if (*path) {
    GD_TRY(gd_error(GD_ERR_INPUT, "--set %s: has no value", reader->set));
  }  // an empty file is a configuration of defaults
done:
  reader->document = NULL;
  if (loaded) yaml_document_delete(&document);
  yaml_parser_delete(&parser);
  return err;
}
