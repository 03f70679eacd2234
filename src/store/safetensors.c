/* Reads and writes safetensors, the format in which diffusers stores weights: the header's length (8 bytes,
 * little-endian), a JSON header, the tensors' bytes.
 *
 * A file may come from any source, so everything in it is checked. Values are converted (float16, bfloat16, float64 to
 * float32), and the old names that diffusers gave to attention parameters; shapes are not changed. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gendistill/store.h"
#include "store/atomic_file.h"
#include "store/half.h"

enum { MAX_HEADER_NBYTES = 100000000, CHUNK = 65536 /* values */ };

typedef struct dtype {
  const char *name;
  int nbytes;
  void (*convert)(const uint8_t *in, int64_t n, float *out);
} dtype;

static void convert_f32(const uint8_t *in, int64_t n, float *out) {
  memcpy(out, in, (size_t)n * sizeof *out);
}

static void convert_f64(const uint8_t *in, int64_t n, float *out) {
  for (int64_t i = 0; i < n; i++) {
    double value;
    memcpy(&value, in + 8 * i, sizeof value);
    out[i] = (float)value;
  }
}

static void convert_f16(const uint8_t *in, int64_t n, float *out) {
  for (int64_t i = 0; i < n; i++) out[i] = gd_float_of_half((uint16_t)(in[2 * i] | in[2 * i + 1] << 8));
}

static void convert_bf16(const uint8_t *in, int64_t n, float *out) {
  for (int64_t i = 0; i < n; i++) out[i] = gd_float_of_bfloat((uint16_t)(in[2 * i] | in[2 * i + 1] << 8));
}

static const dtype dtypes[] = {
    {"F32", 4, convert_f32}, {"F64", 8, convert_f64}, {"F16", 2, convert_f16}, {"BF16", 2, convert_bf16}};

/* ---- Read ---- */

typedef struct reader {
  const char *path;
  FILE *file;
  int64_t data_begin;  // offset of the tensors in the file
  int64_t data_nbytes;
  json_t *header;
} reader;

static gd_err read_safetensors_header(reader *r) {
  struct stat status;
  if (fstat(fileno(r->file), &status) != 0) return gd_file_error(GD_ERR_INPUT, r->path, "cannot read the file", errno);
  if (!S_ISREG(status.st_mode)) return gd_error(GD_ERR_INPUT, "%s: not a regular file", r->path);
  uint8_t bytes[64];
  size_t got = fread(bytes, 1, sizeof bytes, r->file);
  if (got < 8) return gd_error(GD_ERR_INPUT, "%s: not safetensors: shorter than 8 bytes", r->path);
  gd_err err = gd_refuse_lfs_pointer(r->path, bytes, got);
  if (err != GD_OK) return err;
  uint64_t length = 0, left = (uint64_t)status.st_size - 8;
  for (int i = 0; i < 8; i++) length |= (uint64_t)bytes[i] << (8 * i);
  if (length > left || length > MAX_HEADER_NBYTES)
    return gd_error(GD_ERR_INPUT,
                    "%s: not safetensors: header of %" PRIu64 " bytes, but the file has %" PRIu64
                    " and the maximum is %d",
                    r->path, length, left, MAX_HEADER_NBYTES);
  char *text = gd_alloc((size_t)length + 1);
  json_error_t reason;
  if (fseeko(r->file, 8, SEEK_SET) != 0 || fread(text, 1, (size_t)length, r->file) != length)
    err = gd_error(GD_ERR_INPUT, "%s: cannot read the header", r->path);
  else if (!(r->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &reason)))
    err = gd_error(GD_ERR_INPUT, "%s: the header is not JSON: %s", r->path, reason.text);
  else if (!json_is_object(r->header))
    err = gd_error(GD_ERR_INPUT, "%s: the header is not a JSON object", r->path);
  gd_free(text);
  r->data_begin = (int64_t)(8 + length);
  r->data_nbytes = (int64_t)(left - length);
  return err;
}

// "...attentions.0.query.weight" -> "...attentions.0.to_q.weight"; new string.
static char *current_param_name(const char *name) {
  static const char *const renamed[][2] = {
      {"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"proj_attn", "to_out.0"}};
  for (const char *at = name; (at = strstr(at, "attentions.")); at++) {
    if (at != name && at[-1] != '.') continue;
    const char *number = at + strlen("attentions."), *part = number + strspn(number, "0123456789");
    if (part == number || *part++ != '.') continue;
    for (int i = 0; i < 4; i++) {
      size_t length = strlen(renamed[i][0]);
      if (strncmp(part, renamed[i][0], length) == 0 && part[length] == '.')
        return gd_format("%.*s%s%s", (int)(part - name), name, renamed[i][1], part + length);
    }
  }
  return gd_strdup(name);
}

static gd_err check_tensor_shape(const reader *r, const char *name, const json_t *tensor, const gd_param *param) {
  const json_t *shape = json_object_get(tensor, "shape");
  bool fits = json_is_array(shape) && json_array_size(shape) == (size_t)param->n_dims;
  for (int i = 0; fits && i < param->n_dims; i++) {
    const json_t *dim = json_array_get(shape, (size_t)i);
    fits = json_is_integer(dim) && json_integer_value(dim) == param->dims[i];
  }
  if (fits) return GD_OK;
  char *found = shape ? json_dumps(shape, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
  char expected[96] = "";
  for (int i = 0, n = 0; i < param->n_dims; i++)
    n += snprintf(expected + n, sizeof expected - (size_t)n, i ? ",%" PRId64 : "%" PRId64, param->dims[i]);
  gd_err err = gd_error(GD_ERR_INPUT, "%s: tensor '%s' has shape %.200s, must be [%s]", r->path, name,
                        found ? found : "missing", expected);
  free(found);
  return err;
}

static gd_err read_dtype(const reader *r, const char *name, const json_t *tensor, const dtype **out) {
  const char *text = json_string_value(json_object_get(tensor, "dtype"));
  for (size_t i = 0; text && i < sizeof dtypes / sizeof *dtypes; i++) {
    if (strcmp(text, dtypes[i].name) != 0) continue;
    *out = &dtypes[i];
    return GD_OK;
  }
  return gd_error(GD_ERR_INPUT, "%s: tensor '%s' has dtype %.40s, must be F32, F64, F16 or BF16", r->path, name,
                  text ? text : "missing");
}

static gd_err read_offsets(const reader *r, const char *name, const json_t *tensor, const dtype *type, int64_t count,
                           gd_range *bytes) {
  const json_t *offsets = json_object_get(tensor, "data_offsets");
  const json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to))
    return gd_error(GD_ERR_INPUT, "%s: tensor '%s': data_offsets must be two integers", r->path, name);
  *bytes = (gd_range){json_integer_value(from), json_integer_value(to)};
  int64_t begin = bytes->begin, end = bytes->end, nbytes;
  if (begin < 0 || begin > end || end > r->data_nbytes)
    return gd_error(GD_ERR_INPUT,
                    "%s: tensor '%s': data_offsets %" PRId64 " to %" PRId64 " lie outside the %" PRId64
                    " bytes of data",
                    r->path, name, begin, end, r->data_nbytes);
  if (__builtin_mul_overflow(count, type->nbytes, &nbytes) || end - begin != nbytes)
    return gd_error(GD_ERR_INPUT,
                    "%s: tensor '%s': data_offsets span %" PRId64 " bytes, its shape and dtype need %" PRId64, r->path,
                    name, end - begin, nbytes);
  return GD_OK;
}

static gd_err read_tensor_values(const reader *r, const char *name, const dtype *type, int64_t begin, int64_t count,
                                 float *out) {
  uint8_t *bytes = gd_alloc((size_t)CHUNK * (size_t)type->nbytes);
  gd_err err = GD_OK;
  bool ok = fseeko(r->file, (off_t)(r->data_begin + begin), SEEK_SET) == 0;
  for (int64_t done = 0; ok && done < count; done += CHUNK) {
    int64_t n = count - done < CHUNK ? count - done : CHUNK;
    ok = fread(bytes, (size_t)type->nbytes, (size_t)n, r->file) == (size_t)n;
    if (ok) type->convert(bytes, n, out + done);
  }
  int64_t bad = ok ? gd_first_nonfinite(out, count) : -1;
  if (!ok) err = gd_error(GD_ERR_INPUT, "%s: tensor '%s': cannot read its data", r->path, name);
  if (bad >= 0)
    err = gd_error(GD_ERR_INPUT, "%s: tensor '%s': element %" PRId64 " (from 0) is %g as float32, must be finite",
                   r->path, name, bad, out[bad]);
  gd_free(bytes);
  return err;
}

static gd_err read_tensor(const reader *r, const char *name, const json_t *tensor, const gd_param *param, float *values,
                          gd_range *bytes) {
  const dtype *type = NULL;
  gd_err err;
  GD_TRY(check_tensor_shape(r, name, tensor, param));
  GD_TRY(read_dtype(r, name, tensor, &type));
  GD_TRY(read_offsets(r, name, tensor, type, param->count, bytes));
  err = read_tensor_values(r, name, type, bytes->begin, param->count, values + param->offset);
done:
  return err;
}

static int by_begin(const void *a, const void *b) {
  int64_t x = ((const gd_range *)a)->begin, y = ((const gd_range *)b)->begin;
  return (x > y) - (x < y);
}

// The format requires that the tensors cover each byte of the data once. Sorts `bytes`.
static gd_err check_cover(const reader *r, int n, gd_range *bytes) {
  int64_t covered = 0;
  int i = 0;
  qsort(bytes, (size_t)n, sizeof *bytes, by_begin);
  for (; i < n && bytes[i].begin == covered; i++) covered = bytes[i].end;
  if (i == n && covered == r->data_nbytes) return GD_OK;
  return gd_error(GD_ERR_INPUT,
                  "%s: the tensors must cover the %" PRId64
                  " bytes of data without gap or overlap, but do not from byte "
                  "%" PRId64 " on",
                  r->path, r->data_nbytes, covered);
}

// bytes (table->n): range of each parameter's data; end 0: not found so far.
static gd_err read_tensors(const reader *r, const gd_param_table *table, float *values, gd_range *bytes) {
  const char *name;
  json_t *tensor;
  gd_err err = GD_OK;
  json_object_foreach(r->header, name, tensor) {
    if (strcmp(name, "__metadata__") == 0) continue;
    char *current = current_param_name(name);
    const gd_param *param = gd_param_table_find(table, current);
    gd_free(current);
    if (!param) return gd_error(GD_ERR_INPUT, "%s: tensor '%s' is no parameter of this network", r->path, name);
    gd_range *place = &bytes[param - table->params];
    if (place->end > 0)
      return gd_error(GD_ERR_INPUT, "%s: tensor '%s' appears twice, also as '%s'", r->path, name, param->name);
    err = read_tensor(r, name, tensor, param, values, place);
    if (err != GD_OK) return err;
  }
  for (int i = 0; i < table->n; i++)
    if (bytes[i].end == 0) return gd_error(GD_ERR_INPUT, "%s: tensor '%s' is missing", r->path, table->params[i].name);
  return check_cover(r, table->n, bytes);
}

gd_err gd_safetensors_read(const char *path, const gd_param_table *table, float *values) {
  reader r = {.path = path};
  gd_range *bytes = GD_NEW_ARRAY(gd_range, table->n);
  gd_err err = GD_OK;
  r.file = fopen(path, "rb");
  if (!r.file) {
    err = gd_file_error(GD_ERR_INPUT, path, "cannot open the file", errno);
    goto done;
  }
  GD_TRY(read_safetensors_header(&r));
  err = read_tensors(&r, table, values, bytes);
done:
  json_decref(r.header);
  if (r.file) fclose(r.file);
  gd_free(bytes);
  return err;
}

/* ---- Write ---- */

// New string, to be freed by free().
static char *header_text(const gd_param_table *table) {
  json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");  // required by other readers
  int64_t begin = 0;
  for (int i = 0; i < table->n; i++) {
    const gd_param *param = &table->params[i];
    json_t *shape = json_array();
    for (int k = 0; k < param->n_dims; k++) json_array_append_new(shape, json_integer(param->dims[k]));
    int64_t end = begin + param->count * (int64_t)sizeof(float);
    json_t *tensor = json_pack("{s:s,s:o,s:[I,I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)begin,
                               (json_int_t)end);
    if (json_object_set_new(header, param->name, tensor) != 0) gd_abort("no JSON for parameter '%s'", param->name);
    begin = end;
  }
  char *text = json_dumps(header, JSON_COMPACT);
  json_decref(header);
  if (!text) gd_abort("no JSON header of %d parameters", table->n);
  return text;
}

// An error stays recorded in the stream.
static void write_safetensors(FILE *file, const gd_param_table *table, const float *values) {
  char *text = header_text(table);
  size_t length = strlen(text), padded = (length + 7) / 8 * 8;
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)padded >> (8 * i));
  bool ok = fwrite(bytes, 1, 8, file) == 8 && fwrite(text, 1, length, file) == length &&
            fwrite("       ", 1, padded - length, file) == padded - length;
  for (int i = 0; ok && i < table->n; i++) {
    const gd_param *param = &table->params[i];
    size_t count = (size_t)param->count;
    ok = fwrite(values + param->offset, sizeof *values, count, file) == count;
  }
  free(text);
}

gd_err gd_safetensors_write(const char *path, const gd_param_table *table, const float *values) {
  gd_err err;
  FILE *file = gd_file_begin(path, &err);
  if (!file) return err;
  write_safetensors(file, table, values);
  return gd_file_end(file, path, GD_OK);
}
