/* Feature sets, of which each rank writes and reads its own rows, and the statistics of a set, which every rank has
 * completely. Feature sets of other programs can be read too. */
#include "store/features.h"

#include <math.h>
#include <string.h>

#include "store/hdf5_contents.h"
#include "store/sample_set.h"

enum { FEATURES_FORMAT = 1, STATISTICS_FORMAT = 1 };

enum { MAX_WIDTH = 1 << 24 };  // a wider covariance would not fit anywhere

void gd_features_clear(gd_features *features) {
  gd_free(features->values);
  *features = (gd_features){0};
}

void gd_statistics_clear(gd_statistics *statistics) {
  gd_free(statistics->mean);
  gd_free(statistics->covariance);
  *statistics = (gd_statistics){0};
}

/* ---- Feature set ---- */

static gd_err write_features_header(gd_hdf5 *file, const char *extractor) {
  gd_err err;
  GD_TRY(gd_hdf5_put_text(file, "kind", "feature_set"));
  GD_TRY(gd_hdf5_put_int(file, "format_version", FEATURES_FORMAT));
  GD_TRY(gd_hdf5_put_text(file, "extractor", extractor));
  GD_TRY(gd_hdf5_put_text(file, "code_version", GD_VERSION));
done:
  return gd_comm_agree(file->comm, err);
}

// No rank has all rows, so as for a sample set the checksum is that of one digest per row.
static uint64_t rows_digest(const gd_comm *comm, const gd_features *f, const float *rows) {
  return gd_sample_images_digest(comm, f->n_global, f->local, (const uint8_t *)rows, (size_t)f->width * sizeof *rows);
}

static float *features_to_floats(const gd_features *f) {
  int64_t count = (f->local.end - f->local.begin) * f->width;
  float *rows = GD_NEW_ARRAY(float, count);
  for (int64_t i = 0; i < count; i++) rows[i] = (float)f->values[i];
  return rows;
}

gd_err gd_features_write(const gd_comm *comm, const char *path, const gd_features *f, const char *extractor) {
  gd_hdf5 *file = NULL;
  gd_err err;
  float *rows = features_to_floats(f);
  gd_hdf5_shape shape = {.type = GD_HDF5_FLOAT32, .n_dims = 2, .dims = {f->n_global, f->width}};
  int64_t nbytes = f->n_global * f->width * (int64_t)sizeof *rows + 8 * GD_HDF5_DATASET_NBYTES;
  GD_TRY(gd_hdf5_create(&file, comm, path, nbytes));
  GD_TRY(write_features_header(file, extractor));
  GD_TRY(gd_hdf5_write(file, "/features", shape, f->local, rows, rows_digest(comm, f, rows)));
  GD_TRY(gd_hdf5_put_seal(file));
  err = gd_hdf5_commit(&file);
done:
  gd_hdf5_close(&file);
  gd_free(rows);
  return err;
}

static gd_err check_features(const gd_hdf5 *file, const gd_object *object) {
  const char *name = object->name;
  if (object->value_class != H5T_FLOAT || (object->value_nbytes != 4 && object->value_nbytes != 8))
    return gd_error(GD_ERR_INPUT, "%s: dataset '%s' is %s, must be float32 or float64", file->path, name, object->type);
  if (object->n_dims != 2)
    return gd_error(GD_ERR_INPUT, "%s: dataset '%s' has %d dimensions, features have 2: (images, width)", file->path,
                    name, object->n_dims);
  if (object->dims[0] < 2 || object->dims[1] < 1)
    return gd_error(GD_ERR_INPUT, "%s: dataset '%s' holds %lld features of width %lld, at least 2 are needed",
                    file->path, name, (long long)object->dims[0], (long long)object->dims[1]);
  if (object->dims[1] > MAX_WIDTH)
    return gd_error(GD_ERR_INPUT, "%s: dataset '%s' holds features of width %lld, the maximum is %d", file->path, name,
                    (long long)object->dims[1], MAX_WIDTH);
  return gd_contents_check_size(file, object);
}

static gd_err check_feature_values(const gd_hdf5 *file, const gd_object *object, const gd_features *f) {
  for (int64_t i = 0; i < (f->local.end - f->local.begin) * f->width; i++)
    if (!isfinite(f->values[i]))
      return gd_error(GD_ERR_INPUT, "%s: dataset '%s': row %lld, column %lld is %g", file->path, object->name,
                      (long long)(f->local.begin + i / f->width), (long long)(i % f->width), f->values[i]);
  return GD_OK;
}

static gd_err verify_features(const gd_hdf5 *file, const gd_object *object, const gd_features *f) {
  if (!object->has_digest || object->value_nbytes != 4) return GD_OK;
  float *rows = features_to_floats(f);
  uint64_t digest = rows_digest(file->comm, f, rows);
  gd_free(rows);
  if (digest == object->digest) return GD_OK;
  return gd_error(GD_ERR_INPUT, "%s: dataset '%s' is damaged: its checksum does not match", file->path, object->name);
}

gd_err gd_features_read(const gd_comm *comm, const char *path, gd_features *out) {
  *out = (gd_features){0};
  const char *colon = strstr(path, ":/");
  char *name = gd_strdup(colon ? colon + 1 : "/features"), *file_path = gd_strdup(path);
  if (colon) file_path[colon - path] = 0;
  gd_hdf5 *file = NULL;
  gd_object object = {0};
  gd_err err;
  GD_TRY(gd_hdf5_open(&file, comm, file_path, GD_HDF5_ANY));
  err = gd_contents_dataset(file, name, &object);
  if (err == GD_OK) err = check_features(file, &object);
  GD_TRY(gd_comm_agree(comm, err));
  out->n_global = object.dims[0];
  out->width = (int)object.dims[1];
  out->local = gd_range_images(comm, out->n_global);
  out->values = GD_NEW_ARRAY(double, (out->local.end - out->local.begin) * out->width);
  gd_hdf5_shape shape = {.type = GD_HDF5_FLOAT64, .n_dims = 2, .dims = {out->n_global, out->width}};
  GD_TRY(gd_comm_agree(comm, gd_hdf5_read_rows(file, name, shape, out->local, out->values)));
  GD_TRY(verify_features(file, &object, out));
  GD_TRY(gd_comm_agree(comm, check_feature_values(file, &object, out)));
done:
  if (err != GD_OK) gd_features_clear(out);
  gd_free(object.name);
  gd_free(name);
  gd_free(file_path);
  gd_hdf5_close(&file);
  return err;
}

/* ---- Statistics ---- */

static gd_hdf5_shape mean_shape(int width) {
  return (gd_hdf5_shape){.type = GD_HDF5_FLOAT64, .n_dims = 1, .dims = {width}};
}

static gd_hdf5_shape covariance_shape(int width) {
  return (gd_hdf5_shape){.type = GD_HDF5_FLOAT64, .n_dims = 2, .dims = {width, width}};
}

static gd_err write_doubles(gd_hdf5 *file, const char *name, gd_hdf5_shape shape, const double *values) {
  int64_t row = shape.n_dims == 2 ? shape.dims[1] : 1;
  gd_range rows = gd_range_block(shape.dims[0], file->comm->size, file->comm->rank);
  uint64_t digest = gd_digest(values, (size_t)(shape.dims[0] * row) * sizeof *values, 0);
  return gd_hdf5_write(file, name, shape, rows, values + rows.begin * row, digest);
}

static gd_err write_statistics_header(gd_hdf5 *file, const gd_statistics *s) {
  gd_err err;
  GD_TRY(gd_hdf5_put_text(file, "kind", "statistics"));
  GD_TRY(gd_hdf5_put_int(file, "format_version", STATISTICS_FORMAT));
  GD_TRY(gd_hdf5_put_int(file, "n", s->n));
  GD_TRY(gd_hdf5_put_text(file, "code_version", GD_VERSION));
done:
  return gd_comm_agree(file->comm, err);
}

gd_err gd_statistics_write(const gd_comm *comm, const char *path, const gd_statistics *s) {
  gd_hdf5 *file = NULL;
  gd_err err;
  int64_t nbytes = (int64_t)sizeof(double) * s->width * (s->width + 1) + 8 * GD_HDF5_DATASET_NBYTES;
  GD_TRY(gd_hdf5_create(&file, comm, path, nbytes));
  GD_TRY(write_statistics_header(file, s));
  GD_TRY(write_doubles(file, "/mean", mean_shape(s->width), s->mean));
  GD_TRY(write_doubles(file, "/covariance", covariance_shape(s->width), s->covariance));
  GD_TRY(gd_hdf5_put_seal(file));
  err = gd_hdf5_commit(&file);
done:
  gd_hdf5_close(&file);
  return err;
}

static gd_err read_doubles(gd_hdf5 *file, const gd_contents *contents, const char *name, gd_hdf5_shape shape,
                           double **out) {
  const gd_object *object;
  gd_err err = gd_comm_agree(file->comm, gd_contents_expect(file, contents, name, shape, &object));
  if (err != GD_OK) return err;
  *out = GD_NEW_ARRAY(double, object->count);
  err = gd_hdf5_read_whole(file, name, shape, *out);
  if (err == GD_OK && gd_digest(*out, (size_t)object->count * sizeof(double), 0) != object->digest)
    err = gd_error(GD_ERR_INPUT, "%s: dataset '%s' is damaged: its checksum does not match", file->path, name);
  if (err == GD_OK && gd_first_nonfinite_double(*out, object->count) >= 0)
    err = gd_error(GD_ERR_INPUT, "%s: dataset '%s' holds a value that is not finite", file->path, name);
  return gd_comm_agree(file->comm, err);
}

gd_err gd_statistics_read(const gd_comm *comm, const char *path, int width, gd_statistics *out) {
  *out = (gd_statistics){.width = width};
  gd_hdf5 *file = NULL;
  gd_contents contents = {0};
  gd_err err;
  GD_TRY(gd_hdf5_open(&file, comm, path, GD_HDF5_OURS));
  GD_TRY(gd_contents_read(file, &contents));
  err = gd_contents_check(file, &contents, "statistics", STATISTICS_FORMAT);
  if (err == GD_OK) err = gd_contents_int(file, &contents, "n", 2, INT64_MAX, &out->n);
  GD_TRY(gd_comm_agree(comm, err));
  GD_TRY(read_doubles(file, &contents, "/mean", mean_shape(width), &out->mean));
  GD_TRY(read_doubles(file, &contents, "/covariance", covariance_shape(width), &out->covariance));
done:
  if (err != GD_OK) gd_statistics_clear(out);
  gd_contents_clear(&contents);
  gd_hdf5_close(&file);
  return err;
}
