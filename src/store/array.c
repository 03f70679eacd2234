/* Reading of plain arrays of floats from any HDF5 file: start noise, feature sets. */
#include <string.h>

#include "gendistill/store.h"
#include "store/hdf5_contents.h"
#include "store/sample_set.h"

static gd_err check_array_type(const gd_hdf5 *file, const gd_object *object) {
  const char *dataset = object->name;
  if (object->value_class != H5T_FLOAT || (object->value_nbytes != 4 && object->value_nbytes != 8))
    return gd_error(GD_ERR_INPUT, "%s: dataset '%s' is %s, must be float32 or float64", file->path, dataset,
                    object->type);
  if (object->n_dims < 1 || object->n_dims > 4)
    return gd_error(GD_ERR_INPUT, "%s: dataset '%s' has %d dimensions, must have 1 to 4", file->path, dataset,
                    object->n_dims);
  return gd_contents_check_size(file, object);
}

// A checksum, if there is one, is over the values as stored: over all of them, or for sample sets image by image.
static gd_err verify_array(const gd_hdf5 *file, const gd_object *object, const float *values) {
  if (!object->has_digest || object->value_nbytes != 4) return GD_OK;
  size_t nbytes = (size_t)object->count * sizeof *values;
  if (gd_digest(values, nbytes, 0) == object->digest) return GD_OK;
  const gd_comm alone = {.mpi = MPI_COMM_SELF, .rank = 0, .size = 1};  // every rank has all values
  int64_t n = object->dims[0];
  if (n > 0 && gd_sample_images_digest(&alone, n, (gd_range){0, n}, (const uint8_t *)values, nbytes / (size_t)n) ==
                   object->digest)
    return GD_OK;
  return gd_error(GD_ERR_INPUT, "%s: dataset '%s' is damaged: its checksum does not match", file->path, object->name);
}

static gd_err check_array_values(const gd_hdf5 *file, const gd_object *object, const float *values) {
  int64_t bad = gd_first_nonfinite(values, object->count);
  if (bad < 0) return GD_OK;
  return gd_error(GD_ERR_INPUT, "%s: dataset '%s': element %lld (from 0) is %g as float32, must be finite", file->path,
                  object->name, (long long)bad, values[bad]);
}

gd_err gd_array_read(const gd_comm *comm, const char *path, const char *dataset, float **values, int *n_dims,
                     int64_t dims[4]) {
  *values = NULL;
  gd_hdf5 *file = NULL;
  gd_object object = {0};
  char *name = gd_format(dataset[0] == '/' ? "%s" : "/%s", dataset);
  gd_err err;
  GD_TRY(gd_hdf5_open(&file, comm, path, GD_HDF5_ANY));
  err = gd_contents_dataset(file, name, &object);
  if (err == GD_OK) err = check_array_type(file, &object);
  GD_TRY(gd_comm_agree(comm, err));
  gd_hdf5_shape shape = {.type = GD_HDF5_FLOAT32, .n_dims = object.n_dims};
  memcpy(shape.dims, object.dims, sizeof shape.dims);
  *values = GD_NEW_ARRAY(float, object.count);
  GD_TRY(gd_hdf5_read_whole(file, name, shape, *values));
  err = verify_array(file, &object, *values);
  if (err == GD_OK) err = check_array_values(file, &object, *values);
  GD_TRY(gd_comm_agree(comm, err));
  *n_dims = shape.n_dims;
  memcpy(dims, shape.dims, sizeof shape.dims);
done:
  if (err != GD_OK) {
    gd_free(*values);
    *values = NULL;
  }
  gd_free(object.name);
  gd_free(name);
  gd_hdf5_close(&file);
  return err;
}
