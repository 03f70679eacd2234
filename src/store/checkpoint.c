/* Checkpoints: the arrays of a run, one dataset a parameter, and where the run stands.
 *
 * Every rank has the whole content, so each writes its rows of every dataset and reads all of them. Which
 * checkpoints a folder holds is in checkpoint_list.c. */
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "gendistill/store.h"
#include "store/hdf5_contents.h"

char *gd_checkpoint_path(const char *directory, int task, int64_t step) {
  return gd_format("%s/checkpoint-task%02d-step%06" PRId64 ".h5", directory, task + 1, step);
}

void gd_checkpoint_clear(gd_checkpoint *checkpoint) {
  gd_free(checkpoint->config_text);
  gd_free(checkpoint->code_version);
  gd_free(checkpoint->model);
  gd_free(checkpoint->teacher);
  gd_free(checkpoint->m);
  gd_free(checkpoint->v);
  gd_free(checkpoint->ema);
  *checkpoint = (gd_checkpoint){0};
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

static gd_err check_finite(const char *path, const gd_param_table *table, const gd_checkpoint *c) {
  const float *arrays[] = {c->model, c->teacher, c->m, c->v, c->ema};
  static const char *const names[] = {"model", "teacher", "optimiser's m", "optimiser's v", "ema"};
  for (int k = 0; k < 5; k++) {
    int64_t bad = arrays[k] ? gd_first_nonfinite(arrays[k], table->total) : -1;
    for (int i = 0; bad >= 0 && i < table->n; i++) {
      const gd_param *param = &table->params[i];
      if (bad >= param->offset && bad < param->offset + param->count)
        return gd_error(GD_ERR_FAILED, "%s: not written: %s is %g in parameter '%s', must be finite", path, names[k],
                        arrays[k][bad], param->name);
    }
  }
  return GD_OK;
}

static gd_err write_header(gd_hdf5 *file, const gd_checkpoint *c) {
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
done:
  return gd_comm_agree(file->comm, err);
}

static gd_err write_array(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, const float *values) {
  gd_range rows = gd_range_block(shape.dims[0], file->comm->size, file->comm->rank);
  int64_t count = count_of(shape), row = shape.dims[0] ? count / shape.dims[0] : 0;
  uint64_t digest = gd_digest(values, (size_t)count * sizeof *values, 0);
  return gd_hdf5_write(file, name, shape, rows, values + rows.begin * row, digest);
}

static gd_err write_params(gd_hdf5 *file, const char *group, const gd_param_table *table, const float *values) {
  if (!values) return GD_OK;
  gd_err err = gd_comm_agree(file->comm, gd_hdf5_put_group(file, group));
  for (int i = 0; i < table->n && err == GD_OK; i++) {
    const gd_param *param = &table->params[i];
    char *name = gd_format("%s/%s", group, param->name);
    err = write_array(file, name, shape_of(param), values + param->offset);
    gd_free(name);
  }
  return err;
}

static gd_err write_optimizer(gd_hdf5 *file, const gd_param_table *table, const gd_checkpoint *c) {
  GD_REQUIRE(!c->m == !c->v);
  if (!c->m) return GD_OK;
  gd_err err;
  GD_TRY(gd_comm_agree(file->comm, gd_hdf5_put_group(file, "/optimizer")));
  GD_TRY(write_array(file, "/optimizer/m", flat_shape(table), c->m));
  GD_TRY(write_array(file, "/optimizer/v", flat_shape(table), c->v));
done:
  return err;
}

// At most what the file takes.
static int64_t estimate_nbytes(const gd_param_table *table, const gd_checkpoint *c) {
  int64_t n_arrays = 1 + !!c->teacher + !!c->m + !!c->v + !!c->ema, n_texts = 1 << 16;
  if (c->config_text) n_texts += 2 * (int64_t)strlen(c->config_text);
  return n_arrays * (table->total * (int64_t)sizeof(float) + table->n * (int64_t)GD_HDF5_DATASET_NBYTES) + n_texts;
}

gd_err gd_checkpoint_write(const gd_comm *comm, const char *path, const gd_param_table *table,
                           gd_checkpoint *checkpoint) {
  GD_REQUIRE(checkpoint->model);
  checkpoint->digest = gd_param_table_digest(table, checkpoint->model);
  gd_hdf5 *file = NULL;
  gd_err err = gd_comm_agree(comm, check_finite(path, table, checkpoint));
  if (err != GD_OK) return err;
  GD_TRY(gd_hdf5_create(&file, comm, path, estimate_nbytes(table, checkpoint)));
  GD_TRY(write_header(file, checkpoint));
  GD_TRY(write_params(file, "/model", table, checkpoint->model));
  GD_TRY(write_params(file, "/teacher", table, checkpoint->teacher));
  GD_TRY(write_optimizer(file, table, checkpoint));
  GD_TRY(write_params(file, "/ema", table, checkpoint->ema));
  GD_TRY(gd_hdf5_put_seal(file));
  err = gd_hdf5_commit(&file);
done:
  gd_hdf5_close(&file);
  return err;
}

/* ---- Read ---- */

static gd_err read_header(const gd_hdf5 *file, const gd_contents *contents, gd_checkpoint *out) {
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
  out->task = (int)task - 1;
  out->epoch = (int)epoch;
  out->task_done = task_done == 1;
  out->config_text = gd_strdup(config);
  out->code_version = gd_strdup(version);
done:
  return gd_comm_agree(file->comm, err);
}

static gd_err read_array(gd_hdf5 *file, const gd_contents *contents, const char *name, gd_hdf5_shape shape,
                         float *values) {
  const gd_object *object;
  gd_err err = gd_comm_agree(file->comm, gd_contents_expect(file, contents, name, shape, &object));
  if (err != GD_OK) return err;
  err = gd_hdf5_read_whole(file, name, shape, values);
  if (err == GD_OK && gd_digest(values, (size_t)count_of(shape) * sizeof *values, 0) != object->digest)
    err = gd_error(GD_ERR_INPUT, "%s: dataset '%s' is damaged: its checksum does not hold", file->path, name);
  if (err == GD_OK && gd_first_nonfinite(values, count_of(shape)) >= 0)
    err = gd_error(GD_ERR_INPUT, "%s: dataset '%s' holds a value that is not finite", file->path, name);
  return gd_comm_agree(file->comm, err);
}

// With every parameter of the table required, an object more in the group is one that the table does not know.
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

// Before memory is taken for them: the configuration in a file may tell of a network that the file does not hold.
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

// Sets `*out` to a new array, or to NULL where the file does not have the group.
static gd_err read_params(gd_hdf5 *file, const gd_contents *contents, const char *group, const gd_param_table *table,
                          float **out) {
  if (!gd_contents_object(contents, group)) return GD_OK;
  gd_err err = gd_comm_agree(file->comm, expect_params(file, contents, group, table));
  if (err == GD_OK) *out = GD_NEW_ARRAY(float, table->total);
  for (int i = 0; i < table->n && err == GD_OK; i++) {
    const gd_param *param = &table->params[i];
    char *name = gd_format("%s/%s", group, param->name);
    err = read_array(file, contents, name, shape_of(param), *out + param->offset);
    gd_free(name);
  }
  return err;
}

static gd_err read_optimizer(gd_hdf5 *file, const gd_contents *contents, const gd_param_table *table,
                             gd_checkpoint *out) {
  gd_err err;
  const gd_object *object;
  if (!gd_contents_object(contents, "/optimizer")) return GD_OK;
  err = gd_contents_expect(file, contents, "/optimizer/m", flat_shape(table), &object);
  if (err == GD_OK) err = gd_contents_expect(file, contents, "/optimizer/v", flat_shape(table), &object);
  GD_TRY(gd_comm_agree(file->comm, err));
  out->m = GD_NEW_ARRAY(float, table->total);
  out->v = GD_NEW_ARRAY(float, table->total);
  GD_TRY(read_array(file, contents, "/optimizer/m", flat_shape(table), out->m));
  GD_TRY(read_array(file, contents, "/optimizer/v", flat_shape(table), out->v));
done:
  return err;
}

static gd_err check_model(const gd_hdf5 *file, const gd_param_table *table, const gd_checkpoint *c) {
  gd_err err = GD_OK;
  if (!c->model)
    err = gd_error(GD_ERR_INPUT, "%s: group '/model' is missing", file->path);
  else if (gd_param_table_digest(table, c->model) != c->digest)
    err = gd_error(GD_ERR_INPUT, "%s: the parameters in '/model' do not have the digest parameter_digest", file->path);
  return gd_comm_agree(file->comm, err);
}

// Without a table: the header only.
static gd_err read_checkpoint(const gd_comm *comm, const char *path, const gd_param_table *table, gd_checkpoint *out) {
  *out = (gd_checkpoint){0};
  gd_hdf5 *file = NULL;
  gd_contents contents = {0};
  gd_err err;
  GD_TRY(gd_hdf5_open(&file, comm, path, GD_HDF5_OURS));
  GD_TRY(gd_contents_read(file, &contents));
  GD_TRY(read_header(file, &contents, out));
  if (!table) goto done;
  GD_TRY(read_params(file, &contents, "/model", table, &out->model));
  GD_TRY(check_model(file, table, out));
  GD_TRY(read_params(file, &contents, "/teacher", table, &out->teacher));
  GD_TRY(read_optimizer(file, &contents, table, out));
  GD_TRY(read_params(file, &contents, "/ema", table, &out->ema));
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
