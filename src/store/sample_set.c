/* Sample sets: generated images, each rank writing and reading its own range of them.
 *
 * No rank ever holds the whole set, so the checksum is made of one digest per image. */
#include "store/sample_set.h"

#include <limits.h>
#include <string.h>

#include "gendistill/store.h"
#include "store/hdf5_contents.h"

enum { SAMPLE_SET_FORMAT = 1 };

char *gd_sample_set_path(const char *run, int task) {
  return gd_format("%s/samples/samples-task%02d.h5", run, task + 1);
}

uint64_t gd_sample_images_digest(const gd_comm *comm, int64_t n_global, gd_range local, const uint8_t *images,
                                 size_t image_nbytes) {
  uint64_t *digests = GD_NEW_ARRAY(uint64_t, n_global);
  for (int64_t i = local.begin; i < local.end; i++)
    digests[i] = gd_digest(images + (size_t)(i - local.begin) * image_nbytes, image_nbytes, 0);
  gd_comm_allreduce(comm, digests, n_global, MPI_UINT64_T, MPI_BOR);  // one rank has each
  uint64_t digest = gd_digest(digests, (size_t)n_global * sizeof *digests, 0);
  gd_free(digests);
  return digest;
}

static void require_cover(const gd_comm *comm, const gd_sample_set *set) {
  GD_REQUIRE(0 <= set->local.begin && set->local.begin <= set->local.end && set->local.end <= set->n_global);
  gd_range *ranges = GD_NEW_ARRAY(gd_range, comm->size);
  MPI_Allgather(&set->local, 2, MPI_INT64_T, ranges, 2, MPI_INT64_T, comm->mpi);
  int64_t total = 0;
  for (int i = 0; i < comm->size; i++) {
    total += ranges[i].end - ranges[i].begin;
    bool overlaps = i != comm->rank && ranges[i].begin < set->local.end && set->local.begin < ranges[i].end;
    GD_REQUIRE(!overlaps || ranges[i].begin == ranges[i].end);
  }
  GD_REQUIRE(total == set->n_global);
  gd_free(ranges);
}

static gd_hdf5_shape images_shape(const gd_sample_set *set) {
  return (gd_hdf5_shape){.type = GD_HDF5_UINT8, .n_dims = 4, .dims = {set->n_global, set->h, set->w, set->c}};
}

static gd_hdf5_shape index_shape(int64_t n) {
  return (gd_hdf5_shape){.type = GD_HDF5_INT64, .n_dims = 1, .dims = {n}};
}

static size_t image_nbytes(const gd_sample_set *set) {
  return (size_t)set->h * (size_t)set->w * (size_t)set->c;
}

/* ---- Write ---- */

static gd_err write_sampling(gd_hdf5 *file, const gd_sample_set *set) {
  gd_err err;
  GD_TRY(gd_hdf5_put_text(file, "kind", "sample_set"));
  GD_TRY(gd_hdf5_put_int(file, "format_version", SAMPLE_SET_FORMAT));
  GD_TRY(gd_hdf5_put_text(file, "sampler", set->sampler));
  GD_TRY(gd_hdf5_put_int(file, "steps", set->steps));
  GD_TRY(gd_hdf5_put_double(file, "eta", set->eta));
  if (set->guidance > 0) GD_TRY(gd_hdf5_put_double(file, "guidance", set->guidance));
  GD_TRY(gd_hdf5_put_int(file, "evaluations", set->evaluations));
  if (*set->timesteps) GD_TRY(gd_hdf5_put_text(file, "timesteps", set->timesteps));
  GD_TRY(gd_hdf5_put_uint(file, "seed", set->seed));
  GD_TRY(gd_hdf5_put_digest(file, "checkpoint_digest", set->checkpoint_digest));
  GD_TRY(gd_hdf5_put_text(file, "code_version", GD_VERSION));
done:
  return gd_comm_agree(file->comm, err);
}

static gd_err write_index(gd_hdf5 *file, const gd_sample_set *set) {
  int64_t *index = GD_NEW_ARRAY(int64_t, set->n_global);
  for (int64_t i = 0; i < set->n_global; i++) index[i] = set->first_index + i;
  uint64_t digest = gd_digest(index, (size_t)set->n_global * sizeof *index, 0);
  gd_err err = gd_hdf5_write(file, "/index", index_shape(set->n_global), set->local, index + set->local.begin, digest);
  gd_free(index);
  return err;
}

static gd_err write_unrounded(gd_hdf5 *file, const gd_sample_set *set) {
  gd_hdf5_shape shape = {.type = GD_HDF5_FLOAT32, .n_dims = 4, .dims = {set->n_global, set->c, set->h, set->w}};
  uint64_t digest = gd_sample_images_digest(file->comm, set->n_global, set->local, (const uint8_t *)set->x_0,
                                            image_nbytes(set) * sizeof(float));
  return gd_hdf5_write(file, "/x_0", shape, set->local, set->x_0, digest);
}

static gd_hdf5_shape label_shape(int64_t n) {
  return (gd_hdf5_shape){.type = GD_HDF5_UINT8, .n_dims = 1, .dims = {n}};
}

static gd_err write_labels(gd_hdf5 *file, const gd_sample_set *set) {
  uint64_t digest = gd_sample_images_digest(file->comm, set->n_global, set->local, set->labels, 1);
  return gd_hdf5_write(file, "/label", label_shape(set->n_global), set->local, set->labels, digest);
}

// Whether the set has such an array; a rank without images may have none.
static bool any_has(const gd_comm *comm, const gd_sample_set *set, const void *array) {
  int mine = array != NULL, any = 0;
  MPI_Allreduce(&mine, &any, 1, MPI_INT, MPI_MAX, comm->mpi);
  GD_REQUIRE(mine == any || set->local.begin == set->local.end);
  return any;
}

// An upper bound of what the file takes.
static int64_t estimate_nbytes(const gd_sample_set *set, bool unrounded) {
  size_t per_image = image_nbytes(set) * (unrounded ? 1 + sizeof(float) : 1) + 1 + sizeof(int64_t);
  return set->n_global * (int64_t)per_image + 16 * GD_HDF5_DATASET_NBYTES;
}

gd_err gd_sample_set_write(const gd_comm *comm, const char *path, const gd_sample_set *set) {
  GD_REQUIRE(memchr(set->sampler, 0, sizeof set->sampler) && set->h > 0 && set->w > 0 && set->c > 0);
  require_cover(comm, set);
  bool unrounded = any_has(comm, set, set->x_0), labelled = any_has(comm, set, set->labels);
  uint64_t digest = gd_sample_images_digest(comm, set->n_global, set->local, set->images, image_nbytes(set));
  gd_hdf5 *file = NULL;
  gd_err err;
  GD_TRY(gd_hdf5_create(&file, comm, path, estimate_nbytes(set, unrounded)));
  GD_TRY(write_sampling(file, set));
  GD_TRY(gd_hdf5_write(file, "/images", images_shape(set), set->local, set->images, digest));
  GD_TRY(write_index(file, set));
  if (labelled) GD_TRY(write_labels(file, set));
  if (unrounded) GD_TRY(write_unrounded(file, set));
  GD_TRY(gd_hdf5_put_seal(file));
  err = gd_hdf5_commit(&file);
done:
  gd_hdf5_close(&file);
  return err;
}

/* ---- Read ---- */

static gd_err copy_text(const gd_hdf5 *file, const gd_contents *contents, const char *name, size_t size, char *out) {
  const char *text;
  gd_err err = gd_contents_text(file, contents, name, &text);
  if (err == GD_OK && strlen(text) >= size)
    err = gd_error(GD_ERR_INPUT, "%s: attribute '%s' is '%.100s', too long a text", file->path, name, text);
  else if (err == GD_OK)
    memcpy(out, text, strlen(text) + 1);
  return err;
}

static gd_err read_sampling(const gd_hdf5 *file, const gd_contents *contents, gd_sample_set *out) {
  gd_err err;
  int64_t steps, evaluations = 0;
  GD_TRY(gd_contents_check(file, contents, "sample_set", SAMPLE_SET_FORMAT));
  GD_TRY(copy_text(file, contents, "sampler", sizeof out->sampler, out->sampler));
  GD_TRY(gd_contents_int(file, contents, "steps", 0, INT_MAX, &steps));
  GD_TRY(gd_contents_double(file, contents, "eta", &out->eta));
  if (gd_contents_attribute(contents, "evaluations"))
    GD_TRY(gd_contents_int(file, contents, "evaluations", 0, INT_MAX, &evaluations));
  if (gd_contents_attribute(contents, "guidance"))
    GD_TRY(gd_contents_double(file, contents, "guidance", &out->guidance));
  if (gd_contents_attribute(contents, "timesteps"))
    GD_TRY(copy_text(file, contents, "timesteps", sizeof out->timesteps, out->timesteps));
  GD_TRY(gd_contents_uint(file, contents, "seed", &out->seed));
  GD_TRY(gd_contents_digest(file, contents, "checkpoint_digest", &out->checkpoint_digest));
  out->steps = (int)steps;
  out->evaluations = (int)evaluations;
done:
  return err;
}

static gd_err read_shape(const gd_hdf5 *file, const gd_contents *contents, gd_sample_set *out, uint64_t *digest) {
  const gd_hdf5_shape any = {.type = GD_HDF5_UINT8, .n_dims = 4, .dims = {-1, -1, -1, -1}};
  const gd_object *images, *index;
  gd_err err = gd_contents_expect(file, contents, "/images", any, &images);
  if (err != GD_OK) return err;
  const int64_t *dims = images->dims;
  if (dims[0] > INT_MAX || dims[1] < 1 || dims[2] < 1 || dims[3] < 1 || dims[1] > INT_MAX || dims[2] > INT_MAX ||
      dims[3] > INT_MAX)
    return gd_error(GD_ERR_INPUT, "%s: dataset '/images' has no usable shape", file->path);
  out->n_global = dims[0];
  out->h = (int)dims[1];
  out->w = (int)dims[2];
  out->c = (int)dims[3];
  out->local = gd_range_images(file->comm, out->n_global);
  *digest = images->digest;
  return gd_contents_expect(file, contents, "/index", index_shape(dims[0]), &index);
}

static gd_err read_images(gd_hdf5 *file, gd_sample_set *set, uint64_t digest, uint8_t **images) {
  *images = gd_alloc_zero((size_t)(set->local.end - set->local.begin) * image_nbytes(set));
  set->images = *images;
  gd_err err = gd_comm_agree(file->comm, gd_hdf5_read_rows(file, "/images", images_shape(set), set->local, *images));
  if (err != GD_OK) return err;
  if (gd_sample_images_digest(file->comm, set->n_global, set->local, *images, image_nbytes(set)) != digest)
    err = gd_error(GD_ERR_INPUT, "%s: dataset '/images' is damaged: its checksum does not match", file->path);
  return gd_comm_agree(file->comm, err);
}

gd_err gd_sample_set_read(const gd_comm *comm, const char *path, gd_sample_set *out, uint8_t **images) {
  *out = (gd_sample_set){0};
  *images = NULL;
  gd_hdf5 *file = NULL;
  gd_contents contents = {0};
  uint64_t digest = 0;
  gd_err err;
  GD_TRY(gd_hdf5_open(&file, comm, path, GD_HDF5_OURS));
  GD_TRY(gd_contents_read(file, &contents));
  GD_TRY(gd_comm_agree(comm, read_sampling(file, &contents, out)));
  GD_TRY(gd_comm_agree(comm, read_shape(file, &contents, out, &digest)));
  GD_TRY(read_images(file, out, digest, images));
done:
  if (err != GD_OK) {
    gd_free(*images);
    *images = NULL;
    *out = (gd_sample_set){0};
  }
  gd_contents_clear(&contents);
  gd_hdf5_close(&file);
  return err;
}

static gd_err read_labels(gd_hdf5 *file, const gd_contents *contents, uint8_t **labels) {
  const gd_object *images, *object;
  if (!gd_contents_object(contents, "/label")) return GD_OK;
  const gd_hdf5_shape any = {.type = GD_HDF5_UINT8, .n_dims = 4, .dims = {-1, -1, -1, -1}};
  gd_err err;
  GD_TRY(gd_contents_check(file, contents, "sample_set", SAMPLE_SET_FORMAT));
  GD_TRY(gd_contents_expect(file, contents, "/images", any, &images));
  int64_t n = images->dims[0];
  GD_TRY(gd_contents_expect(file, contents, "/label", label_shape(n), &object));
  GD_TRY(gd_contents_check_size(file, object));
  *labels = gd_alloc_zero((size_t)n + 1);
  GD_TRY(gd_hdf5_read_whole(file, "/label", label_shape(n), *labels));
  if (gd_sample_images_digest(file->comm, n, (gd_range){0, n}, *labels, 1) != object->digest)
    err = gd_error(GD_ERR_INPUT, "%s: dataset '/label' is damaged: its checksum does not match", file->path);
done:
  return err;
}

gd_err gd_sample_set_read_labels(const gd_comm *comm, const char *path, uint8_t **labels) {
  gd_hdf5 *file = NULL;
  gd_contents contents = {0};
  gd_err err;
  *labels = NULL;
  GD_TRY(gd_hdf5_open(&file, comm, path, GD_HDF5_OURS));
  GD_TRY(gd_contents_read(file, &contents));
  err = gd_comm_agree(comm, read_labels(file, &contents, labels));
done:
  if (err != GD_OK) {
    gd_free(*labels);
    *labels = NULL;
  }
  gd_contents_clear(&contents);
  gd_hdf5_close(&file);
  return err;
}
