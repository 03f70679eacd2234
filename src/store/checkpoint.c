/* Checkpoints: the arrays of a run, one dataset per parameter, and its position.
 *
 * Every rank has the whole content, so each writes its rows of every dataset and reads all of them. Which
 * checkpoints a folder holds is in checkpoint_list.c. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "gendistill/store.h"
#include "store/hdf5_contents.h"

char *gd_checkpoint_path(const char *directory, int task, int64_t step) {
  return gd_format("%s/checkpoint-task%02d-step%06" PRId64 ".h5", directory, task + 1, step);
}

int gd_named_array_add(gd_named_array *arrays, int n, const char *name, float *values) {
  if (!values) return n;
  GD_REQUIRE(n < GD_MAX_ARRAYS && strlen(name) < sizeof arrays->name);
  memcpy(arrays[n].name, name, strlen(name) + 1);
  arrays[n].values = values;
  return n + 1;
}

float *gd_named_array_find(const gd_named_array *arrays, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(arrays[i].name, name) == 0) return arrays[i].values;
  return NULL;
}

float *gd_checkpoint_array(const gd_checkpoint *checkpoint, const char *name) {
  return gd_named_array_find(checkpoint->arrays, checkpoint->n_arrays, name);
}

void gd_checkpoint_add(gd_checkpoint *checkpoint, const char *name, float *values) {
  checkpoint->n_arrays = gd_named_array_add(checkpoint->arrays, checkpoint->n_arrays, name, values);
}

const float *gd_checkpoint_sampling_params(const gd_checkpoint *checkpoint) {
  const float *ema = gd_checkpoint_array(checkpoint, "ema");
  return ema ? ema : gd_checkpoint_array(checkpoint, "model");
}

int gd_checkpoint_networks(const gd_checkpoint *checkpoint, const float *networks[GD_MAX_ARRAYS]) {
  int n = 0;
  for (const float *values = checkpoint->arrays[0].values; values && n < GD_MAX_ARRAYS;) {
    char name[32];
    snprintf(name, sizeof name, GD_NETWORK_PREFIX "%d", n + 1);
    values = gd_checkpoint_array(checkpoint, name);
    if (values) networks[n++] = values;
  }
  return n;
}

void gd_checkpoint_clear(gd_checkpoint *checkpoint) {
  gd_free(checkpoint->config_text);
  gd_free(checkpoint->code_version);
  for (int i = 0; i < checkpoint->n_arrays; i++) gd_free(checkpoint->arrays[i].values);
  *checkpoint = (gd_checkpoint){0};
}

// Arrays of this group are flat; other groups have a dataset per parameter.
static const char flat_group[] = "/optimizer";

static bool is_flat(const gd_named_array *array) {
  return strchr(array->name, '/') != NULL;
}

static gd_hdf5_shape shape_of(const gd_param *param) {
  GD_REQUIRE(param->n_dims >= 1 && param->n_dims <= 4);
  gd_hdf5_shape shape = {.type = GD_HDF5_FLOAT32, .n_dims = param->n_dims};
  memcpy(shape.dims, param->dims, sizeof shape.dims);
  return shape;
}

static gd_hdf5_shape flat_shape(const gd_param_table *table) {
  return (gd_hdf5_shape){.type = GD_HDF5_FLOAT32, .n_dims = 1, .dims = {table->total}};
}

static int64_t count_of(gd_hdf5_shape shape) {
  int64_t count = 1;
  for (int i = 0; i < shape.n_dims; i++) count *= shape.dims[i];
  return count;
}

/* ---- Write ---- */

static gd_err check_finite(const char *path, const gd_param_table *table, const gd_named_array *array) {
  int64_t bad = gd_first_nonfinite(array->values, table->total);
  for (int i = 0; bad >= 0 && i < table->n; i++) {
    const gd_param *param = &table->params[i];
    if (bad >= param->offset && bad < param->offset + param->count)
      return gd_error(GD_ERR_FAILED, "%s: not written: '%s' is %g in parameter '%s', must be finite", path, array->name,
                      array->values[bad], param->name);
  }
  return GD_OK;
}

static gd_err check_all_finite(const char *path, const gd_param_table *table, const gd_checkpoint *c) {
  gd_err err = GD_OK;
  for (int i = 0; i < c->n_arrays && err == GD_OK; i++) err = check_finite(path, table, &c->arrays[i]);
  return err;
}

typedef struct attribute_name {
  char of[32];
} attribute_name;

static attribute_name number_name(int number) {
  attribute_name name;
  snprintf(name.of, sizeof name.of, "regulariser_%d", number + 1);
  return name;
}

static gd_err write_position(gd_hdf5 *file, const gd_checkpoint *c) {
  gd_err err;
  GD_TRY(gd_hdf5_put_text(file, "kind", "checkpoint"));
  GD_TRY(gd_hdf5_put_int(file, "format_version", GD_CHECKPOINT_FORMAT));
  GD_TRY(gd_hdf5_put_int(file, "task", c->task + 1));
  GD_TRY(gd_hdf5_put_int(file, "epoch", c->epoch));
  GD_TRY(gd_hdf5_put_int(file, "step", c->step));
  GD_TRY(gd_hdf5_put_int(file, "global_step", c->global_step));
  GD_TRY(gd_hdf5_put_int(file, "task_done", c->task_done));
  GD_TRY(gd_hdf5_put_uint(file, "seed", c->seed));
  GD_TRY(gd_hdf5_put_text(file, "config", c->config_text ? c->config_text : ""));
  GD_TRY(gd_hdf5_put_text(file, "code_version", c->code_version ? c->code_version : GD_VERSION));
  GD_TRY(gd_hdf5_put_digest(file, "parameter_digest", c->digest));
  if (c->data_digest) GD_TRY(gd_hdf5_put_digest(file, "data_digest", c->data_digest));
  if (c->accuracy > 0) GD_TRY(gd_hdf5_put_double(file, "test_accuracy", c->accuracy));
  if (c->replay_seconds > 0) GD_TRY(gd_hdf5_put_double(file, "replay_seconds", c->replay_seconds));
  for (int i = 0; i < c->n_numbers; i++) GD_TRY(gd_hdf5_put_double(file, number_name(i).of, c->numbers[i]));
done:
  return gd_comm_agree(file->comm, err);
}

static gd_err write_dataset(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, const float *values) {
  gd_range rows = gd_range_block(shape.dims[0], file->comm->size, file->comm->rank);
  int64_t count = count_of(shape), row = shape.dims[0] ? count / shape.dims[0] : 0;
  uint64_t digest = gd_digest(values, (size_t)count * sizeof *values, 0);
  return gd_hdf5_write(file, name, shape, rows, values + rows.begin * row, digest);
}

static gd_err write_params(gd_hdf5 *file, const gd_param_table *table, const gd_named_array *array) {
  char *group = gd_format("/%s", array->name);
  gd_err err = gd_comm_agree(file->comm, gd_hdf5_put_group(file, group));
  for (int i = 0; i < table->n && err == GD_OK; i++) {
    const gd_param *param = &table->params[i];
    char *name = gd_format("%s/%s", group, param->name);
    err = write_dataset(file, name, shape_of(param), array->values + param->offset);
    gd_free(name);
  }
  gd_free(group);
  return err;
}

static gd_err write_flat(gd_hdf5 *file, const gd_param_table *table, const gd_named_array *array) {
  char *name = gd_format("/%s", array->name);
  GD_REQUIRE(strncmp(name, flat_group, strlen(flat_group)) == 0);
  gd_err err = write_dataset(file, name, flat_shape(table), array->values);
  gd_free(name);
  return err;
}

static gd_err write_arrays(gd_hdf5 *file, const gd_param_table *table, const gd_checkpoint *c) {
  gd_err err = GD_OK;
  bool has_flat_group = false;
  for (int i = 0; i < c->n_arrays && err == GD_OK; i++) {
    bool flat = is_flat(&c->arrays[i]);
    if (flat && !has_flat_group) err = gd_comm_agree(file->comm, gd_hdf5_put_group(file, flat_group));
    has_flat_group |= flat;
    if (err == GD_OK) err = (flat ? write_flat : write_params)(file, table, &c->arrays[i]);
  }
  return err;
}

// An upper bound of what the file takes.
static int64_t estimate_nbytes(const gd_param_table *table, const gd_checkpoint *c) {
  int64_t n_texts = 1 << 16;
  if (c->config_text) n_texts += 2 * (int64_t)strlen(c->config_text);
  return c->n_arrays * (table->total * (int64_t)sizeof(float) + table->n * (int64_t)GD_HDF5_DATASET_NBYTES) + n_texts;
}

gd_err gd_checkpoint_write(const gd_comm *comm, const char *path, const gd_param_table *table,
                           gd_checkpoint *checkpoint) {
  const float *model = gd_checkpoint_array(checkpoint, "model");
  GD_REQUIRE(model);
  checkpoint->digest = gd_param_table_digest(table, model);
  gd_hdf5 *file = NULL;
  gd_err err = gd_comm_agree(comm, check_all_finite(path, table, checkpoint));
  if (err != GD_OK) return err;
  GD_TRY(gd_hdf5_create(&file, comm, path, estimate_nbytes(table, checkpoint)));
  GD_TRY(write_position(file, checkpoint));
  GD_TRY(write_arrays(file, table, checkpoint));
  GD_TRY(gd_hdf5_put_seal(file));
  err = gd_hdf5_commit(&file);
done:
  gd_hdf5_close(&file);
  return err;
}

/* ---- Read ---- */

static gd_err read_position(const gd_hdf5 *file, const gd_contents *contents, gd_checkpoint *out) {
  gd_err err;
  int64_t task, epoch, task_done;
  const char *config, *version;
  GD_TRY(gd_contents_check(file, contents, "checkpoint", GD_CHECKPOINT_FORMAT));
  GD_TRY(gd_contents_int(file, contents, "task", 1, UINT16_MAX, &task));
  GD_TRY(gd_contents_int(file, contents, "epoch", 0, INT_MAX, &epoch));
  GD_TRY(gd_contents_int(file, contents, "step", 0, INT64_MAX, &out->step));
  GD_TRY(gd_contents_int(file, contents, "global_step", 0, INT64_MAX, &out->global_step));
  GD_TRY(gd_contents_int(file, contents, "task_done", 0, 1, &task_done));
  GD_TRY(gd_contents_uint(file, contents, "seed", &out->seed));
  GD_TRY(gd_contents_text(file, contents, "config", &config));
  GD_TRY(gd_contents_text(file, contents, "code_version", &version));
  GD_TRY(gd_contents_digest(file, contents, "parameter_digest", &out->digest));
  if (gd_contents_attribute(contents, "data_digest"))
    GD_TRY(gd_contents_digest(file, contents, "data_digest", &out->data_digest));
  if (gd_contents_attribute(contents, "test_accuracy"))
    GD_TRY(gd_contents_double(file, contents, "test_accuracy", &out->accuracy));
  if (gd_contents_attribute(contents, "replay_seconds"))
    GD_TRY(gd_contents_double(file, contents, "replay_seconds", &out->replay_seconds));
  for (int n = 0; n < GD_MAX_NUMBERS && gd_contents_attribute(contents, number_name(n).of); n++)
    GD_TRY(gd_contents_double(file, contents, number_name(n).of, &out->numbers[out->n_numbers++]));
  out->task = (int)task - 1;
  out->epoch = (int)epoch;
  out->task_done = task_done == 1;
  out->config_text = gd_strdup(config);
  out->code_version = gd_strdup(version);
done:
  return gd_comm_agree(file->comm, err);
}

static gd_err read_dataset(gd_hdf5 *file, const gd_contents *contents, const char *name, gd_hdf5_shape shape,
                           float *values) {
  const gd_object *object;
  gd_err err = gd_comm_agree(file->comm, gd_contents_expect(file, contents, name, shape, &object));
  if (err != GD_OK) return err;
  err = gd_hdf5_read_whole(file, name, shape, values);
  if (err == GD_OK && gd_digest(values, (size_t)count_of(shape) * sizeof *values, 0) != object->digest)
    err = gd_error(GD_ERR_INPUT, "%s: dataset '%s' is damaged: its checksum does not match", file->path, name);
  if (err == GD_OK && gd_first_nonfinite(values, count_of(shape)) >= 0)
    err = gd_error(GD_ERR_INPUT, "%s: dataset '%s' holds a value that is not finite", file->path, name);
  return gd_comm_agree(file->comm, err);
}

// With every parameter of the table required, one more object in the group is one that the table does not know.
static gd_err check_no_others(const gd_hdf5 *file, const gd_contents *contents, const char *group,
                              const gd_param_table *table) {
  size_t length = strlen(group);
  for (int i = 0; i < contents->n_objects; i++) {
    const char *name = contents->objects[i].name;
    bool inside = strncmp(name, group, length) == 0 && name[length] == '/';
    if (inside && !gd_param_table_find(table, name + length + 1))
      return gd_error(GD_ERR_INPUT, "%s: '%s' is no parameter of this network", file->path, name);
  }
  return GD_OK;
}

// Before memory is taken for them: the configuration in a file may describe a network that the file does not hold.
static gd_err expect_params(const gd_hdf5 *file, const gd_contents *contents, const char *group,
                            const gd_param_table *table) {
  gd_err err = check_no_others(file, contents, group, table);
  for (int i = 0; i < table->n && err == GD_OK; i++) {
    const gd_object *object;
    char *name = gd_format("%s/%s", group, table->params[i].name);
    err = gd_contents_expect(file, contents, name, shape_of(&table->params[i]), &object);
    gd_free(name);
  }
  return err;
}

static gd_err read_params(gd_hdf5 *file, const gd_contents *contents, const char *group, const gd_param_table *table,
                          float **out) {
  gd_err err = gd_comm_agree(file->comm, expect_params(file, contents, group, table));
  if (err == GD_OK) *out = GD_NEW_ARRAY(float, table->total);
  for (int i = 0; i < table->n && err == GD_OK; i++) {
    const gd_param *param = &table->params[i];
    char *name = gd_format("%s/%s", group, param->name);
    err = read_dataset(file, contents, name, shape_of(param), *out + param->offset);
    gd_free(name);
  }
  return err;
}

static gd_err read_flat(gd_hdf5 *file, const gd_contents *contents, const char *name, const gd_param_table *table,
                        float **out) {
  const gd_object *object;
  gd_err err = gd_comm_agree(file->comm, gd_contents_expect(file, contents, name, flat_shape(table), &object));
  if (err != GD_OK) return err;
  *out = GD_NEW_ARRAY(float, table->total);
  return read_dataset(file, contents, name, flat_shape(table), *out);
}

// The object is an array: a group of parameters, or a dataset of the group of flat arrays.
static bool is_array(const gd_object *object) {
  size_t length = strlen(flat_group);
  bool inside_flat = strncmp(object->name, flat_group, length) == 0 && object->name[length] == '/';
  return object->is_group ? strcmp(object->name, flat_group) != 0 && !strchr(object->name + 1, '/') : inside_flat;
}

// The array that the object is, from the second character of its name on; the first is a slash.
static gd_err read_array(gd_hdf5 *file, const gd_contents *contents, const gd_object *object,
                         const gd_param_table *table, gd_checkpoint *out) {
  float *values = NULL;
  if (out->n_arrays == GD_MAX_ARRAYS || strlen(object->name) > sizeof out->arrays->name)
    return gd_error(GD_ERR_INPUT, "%s: '%s' is no array of a checkpoint", file->path, object->name);
  gd_err err = (object->is_group ? read_params : read_flat)(file, contents, object->name, table, &values);
  gd_checkpoint_add(out, object->name + 1, values);  // also where reading failed, so that it is freed
  return err;
}

static gd_err read_model(gd_hdf5 *file, const gd_contents *contents, const gd_param_table *table, gd_checkpoint *out) {
  const gd_object *object = gd_contents_object(contents, "/model");
  if (!object) return gd_error(GD_ERR_INPUT, "%s: group '/model' is missing", file->path);
  gd_err err = read_array(file, contents, object, table, out);
  if (err == GD_OK && gd_param_table_digest(table, gd_checkpoint_array(out, "model")) != out->digest)
    err = gd_error(GD_ERR_INPUT, "%s: the parameters in '/model' do not have the digest parameter_digest", file->path);
  return gd_comm_agree(file->comm, err);
}

static gd_err read_arrays(gd_hdf5 *file, const gd_contents *contents, const gd_param_table *table, gd_checkpoint *out) {
  gd_err err = read_model(file, contents, table, out);
  for (int i = 0; i < contents->n_objects && err == GD_OK; i++) {
    const gd_object *object = &contents->objects[i];
    if (is_array(object) && strcmp(object->name, "/model") != 0) err = read_array(file, contents, object, table, out);
  }
  return err;
}

// Without a table: the header only.
static gd_err read_checkpoint(const gd_comm *comm, const char *path, const gd_param_table *table, gd_checkpoint *out) {
  *out = (gd_checkpoint){0};
  gd_hdf5 *file = NULL;
  gd_contents contents = {0};
  gd_err err;
  GD_TRY(gd_hdf5_open(&file, comm, path, GD_HDF5_OURS));
  GD_TRY(gd_contents_read(file, &contents));
  GD_TRY(read_position(file, &contents, out));
  if (table) err = read_arrays(file, &contents, table, out);
done:
  if (err != GD_OK) gd_checkpoint_clear(out);
  gd_contents_clear(&contents);
  gd_hdf5_close(&file);
  return err;
}

gd_err gd_checkpoint_read_header(const gd_comm *comm, const char *path, gd_checkpoint *out) {
  return read_checkpoint(comm, path, NULL, out);
}

gd_err gd_checkpoint_read(const gd_comm *comm, const char *path, const gd_param_table *table, gd_checkpoint *out) {
  GD_REQUIRE(table);
  return read_checkpoint(comm, path, table, out);
}
