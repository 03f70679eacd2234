/* JSON files of diffusers as tables of keys: a file's values are compared with what this program computes, and files
 * are written from the same tables. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gendistill/store.h"
#include "store/atomic_file.h"

static json_t *parsed(const char *text) {
  json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
  GD_REQUIRE(value);
  return value;
}

// New reference; NULL for a key without effect.
static json_t *required_value(const gd_json_table *table, const gd_json_key *key) {
  if (key->kind == GD_JSON_ANY) return NULL;
  return key->kind == GD_JSON_FIXED ? parsed(key->value) : table->value(table->context, key->name);
}

/* ---- Check ---- */

// 1 and 1.0 are the same number.
static bool same_value(const json_t *a, const json_t *b) {
  if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
  if (!json_is_array(a) || !json_is_array(b)) return json_equal(a, b);
  size_t n = json_array_size(a);
  bool same = n == json_array_size(b);
  for (size_t i = 0; i < n && same; i++) same = same_value(json_array_get(a, i), json_array_get(b, i));
  return same;
}

// New string.
static char *shown_value(const json_t *value) {
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6)), *out = gd_strdup(text);
  free(text);
  return out;
}

static gd_err refuse_key(const char *path, const gd_json_key *key, const json_t *found, bool is_there,
                         const json_t *required) {
  bool configured = key->kind == GD_JSON_CONFIGURED;
  char *is = shown_value(found), *must = shown_value(required);
  gd_err err =
      gd_error(GD_ERR_INPUT, "%s: key '%s' is %.200s%s, must be %.200s%s%s%s", path, key->name, is,
               is_there ? "" : " (not there: the default of diffusers)", must,
               configured ? " (" : ": no other is supported", configured ? key->value : "", configured ? ")" : "");
  gd_free(is);
  gd_free(must);
  return err;
}

static gd_err check_key(const char *path, const json_t *file, const gd_json_key *key, json_t *required) {
  json_t *there = json_object_get(file, key->name), *also = key->also ? parsed(key->also) : NULL;
  json_t *found = there ? json_incref(there) : parsed(key->fallback);
  bool fits = same_value(found, required) || (also && same_value(found, also));
  gd_err err = fits ? GD_OK : refuse_key(path, key, found, there != NULL, required);
  json_decref(found);
  json_decref(also);
  return err;
}

static bool is_known(const gd_json_table *table, const char *name) {
  int i = 0;
  while (i < table->n && strcmp(table->keys[i].name, name) != 0) i++;
  return i < table->n;
}

static gd_err check_keys(const char *path, json_t *file, const gd_json_table *table) {
  gd_err err = GD_OK;
  for (int i = 0; i < table->n && err == GD_OK; i++) {
    json_t *required = required_value(table, &table->keys[i]);
    if (required) err = check_key(path, file, &table->keys[i], required);
    json_decref(required);
  }
  const char *name;
  json_t *value;
  json_object_foreach(file, name, value) {
    if (err == GD_OK && !is_known(table, name) && !json_is_null(value))
      gd_log(GD_LOG_WARN, "%s: key '%.100s' is not known: assuming that it does not change what the network computes",
             path, name);
  }
  return err;
}

// The keys that do not follow from the weights, as "key value, key value".
static void warn_of_assumptions(const char *path, const gd_json_table *table) {
  char *text = NULL;
  FILE *out = gd_text_begin(&text);
  for (int i = 0, n = 0; i < table->n; i++) {
    if (!table->keys[i].is_hidden) continue;
    json_t *value = required_value(table, &table->keys[i]);
    char *is = shown_value(value);
    fprintf(out, "%s%s %s", n++ ? ", " : "", table->keys[i].name, is);
    gd_free(is);
    json_decref(value);
  }
  gd_text_end(out);
  gd_log(GD_LOG_WARN, "%s: no such file, so what does not follow from the weights is assumed: %s", path, text);
  gd_free(text);
}

gd_err gd_json_check(const char *path, const gd_json_table *table) {
  json_error_t why;
  FILE *in = fopen(path, "r");
  if (!in && errno == ENOENT) {
    warn_of_assumptions(path, table);
    return GD_OK;
  }
  if (!in) return gd_error(GD_ERR_INPUT, "%s: cannot read: %s", path, strerror(errno));
  json_t *file = json_loadf(in, JSON_REJECT_DUPLICATES, &why);
  fclose(in);
  gd_err err = GD_OK;
  if (!json_is_object(file))
    err = gd_error(GD_ERR_INPUT, "%s: not a JSON object: %s", path, file ? "an array" : why.text);
  else
    err = check_keys(path, file, table);
  json_decref(file);
  return err;
}

/* ---- Write ---- */

gd_err gd_json_write(const char *path, const gd_json_table *table) {
  gd_err err;
  json_t *object = json_object();
  for (int i = 0; i < table->n; i++) {
    const gd_json_key *key = &table->keys[i];
    json_t *value = required_value(table, key);
    if (!value && key->value) value = parsed(key->value);
    if (value) json_object_set_new(object, key->name, value);
  }
  if (table->extra) {
    json_t *extra = parsed(table->extra);
    json_object_update(object, extra);
    json_decref(extra);
  }
  char *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(16));
  FILE *file = gd_file_begin(path, &err);
  if (file) {
    fprintf(file, "%s\n", text);
    err = gd_file_end(file, path, GD_OK);
  }
  free(text);
  json_decref(object);
  return err;
}
