/* Parallel HDF5 files (checkpoint, sample set, features, arrays), safetensors, PNG grids.
 *
 * Every HDF5 file is written to PATH.tmp by all ranks through MPI-IO, flushed, fsynced and renamed: a file with its
 * final name is complete. Datasets have an attribute `xxh3` (64-bit digest of their bytes, as 16 hexadecimal digits),
 * which is verified on reading; the attribute `header_xxh3` of the root group does the same for all attributes, names
 * and shapes. The same content gives the same bytes for every rank count.
 *
 * Disk space is reserved before writing. A full disk, or a failing file system, is an ordinary error. */
#ifndef GENDISTILL_STORE_H
#define GENDISTILL_STORE_H

#include <stdio.h>

#include "gendistill/comm.h"
#include "gendistill/nn.h"

/* Creates a folder and its parents where they do not exist. Local. GD_ERR_FAILED naming the folder. */
gd_err gd_folder_make(const char *path);

/* ---- One writer per folder ----------------------------------------------------------------------- */

typedef struct gd_folder_lock gd_folder_lock;

/* Creates the folder and locks it for this job until gd_folder_lock_release. The lock of a job that was killed, on this
 * or another node, does not block; where the file system cannot tell at once whether that job is alive, the call takes
 * half a minute (folder_lock.c). `work` is the command's name, for the messages of other jobs. Collective on comm; rank
 * 0 holds the lock. GD_ERR_INPUT naming work, process, host, Slurm job and start of the job that holds it;
 * GD_ERR_FAILED naming the folder or FOLDER/run.lock; GD_STOPPED. */
gd_err gd_folder_lock_take(gd_folder_lock **out, const gd_comm *comm, const char *folder, const char *work);
/* Releases the lock. Local; has an effect on rank 0 only. Accepts NULL, sets NULL. */
void gd_folder_lock_release(gd_folder_lock **lock);

/* ---- Atomic files ---------------------------------------------------------------------------------- */

/* Opens PATH.tmp for writing: gd_file_end makes the complete file appear at `path`, or nothing. Local. NULL with an
 * error in `*err`: GD_ERR_FAILED naming the file. */
FILE *gd_file_begin(const char *path, gd_err *err);

/* Closes the file of gd_file_begin. `err` is the status of writing it: with GD_OK PATH.tmp gets its final name,
 * otherwise it is removed and `err` returned. Local. GD_ERR_FAILED naming the file if any write failed. */
gd_err gd_file_end(FILE *file, const char *path, gd_err err);

/* Checks that the output file `path` of --OPTION can be written later: its folder exists and is writable, and the path
 * is not that of a folder or device. Local. GD_ERR_INPUT, or GD_ERR_FAILED without permission to write, naming the
 * file. */
gd_err gd_output_check(const char *option, const char *path);

/* GD_ERR_INPUT if the output file `path` of --OPTION is the same file as `other` of another option, also through links.
 * NULL for an option that was not given. Local. */
gd_err gd_output_check_other(const char *option, const char *path, const char *other_option, const char *other);

/* ---- Hints to MPI-IO ------------------------------------------------------------------------------- */

/* Sets the hints with which HDF5 files are opened from now on, as lines "NAME=VALUE\n"; at first "". Local; the same on
 * all ranks. */
void gd_store_hints(const char *lines);

/* ---- Checkpoint ------------------------------------------------------------------------------ */

enum { GD_CHECKPOINT_FORMAT = 1, GD_MAX_ARRAYS = 300, GD_MAX_NUMBERS = 256 };

/* An array of a run's state, laid out by the parameter table. In a checkpoint it is the group /NAME with a dataset per
 * parameter; an array "optimizer/NAME" is one flat dataset. */
typedef struct gd_named_array {
  char name[32];
  float *values; /* (total) */
} gd_named_array;

/* Adds an array to the n that there are, unless `values` is NULL; returns how many there are then. Local. */
int gd_named_array_add(gd_named_array *arrays, int n, const char *name, float *values);

/* The values of the array called `name`, or NULL. Local. */
float *gd_named_array_find(const gd_named_array *arrays, int n, const char *name);

/* The position of a run and its arrays, which belong to the caller.
 * Position: `step` steps of task `task` (from 0) are done, all in all `global_step`; `epoch` is the epoch that
 * the next step belongs to. task_done: the task is finished (the end-of-task checkpoint). */
typedef struct gd_checkpoint {
  int task, epoch;
  int64_t step, global_step;
  bool task_done;
  uint64_t seed;
  char *config_text;     /* resolved configuration, YAML */
  char *code_version;    /* GD_VERSION */
  double accuracy;       /* of a classifier: the share of the test images that it labels right; otherwise 0 */
  double replay_seconds; /* gone into the task's replay, where that is limited; otherwise 0 */
  uint64_t data_digest;  /* of the training images and labels; 0: not known */
  uint64_t digest;       /* gd_param_table_digest of the model; set by write and read */
  int n_numbers;
  double numbers[GD_MAX_NUMBERS]; /* of the regulariser */
  int n_arrays;
  gd_named_array arrays[GD_MAX_ARRAYS]; /* "model" is always there */
} gd_checkpoint;

/* The array called `name`, or NULL; adds one, but for NULL. Local. */
float *gd_checkpoint_array(const gd_checkpoint *checkpoint, const char *name);
void gd_checkpoint_add(gd_checkpoint *checkpoint, const char *name, float *values);

/* The parameters to sample with: the average "ema" where there is one, else "model". Local. */
const float *gd_checkpoint_sampling_params(const gd_checkpoint *checkpoint);

/* Where each task has a network of its own, those of the earlier tasks are the arrays of this name and the task's
 * number (from 1). Fills `networks`, in the order of the tasks; returns how many there are. Local. */
#define GD_NETWORK_PREFIX "network_"
int gd_checkpoint_networks(const gd_checkpoint *checkpoint, const float *networks[GD_MAX_ARRAYS]);

/* "checkpoint-task02-step001234.h5" (task from 1) in `directory`; new string, gd_free. Local. */
char *gd_checkpoint_path(const char *directory, int task, int64_t step);

/* Writes `checkpoint` to `path`. Collective on comm; the content is the same on all ranks, each writes its
 * part. GD_ERR_FAILED naming the file and the reason, also a value that is not finite; no file is left behind then. */
gd_err gd_checkpoint_write(const gd_comm *comm, const char *path, const gd_param_table *table,
                           gd_checkpoint *checkpoint);

/* Reads position, seed, texts and digest only; arrays stay NULL. Collective on comm. */
gd_err gd_checkpoint_read_header(const gd_comm *comm, const char *path, gd_checkpoint *out);

/* Reads everything, allocating the arrays that the file has (free with gd_checkpoint_clear), and verifies
 * every checksum, name and shape against `table`. Collective on comm. GD_ERR_INPUT naming file and object. */
gd_err gd_checkpoint_read(const gd_comm *comm, const char *path, const gd_param_table *table, gd_checkpoint *out);

/* Frees arrays and texts and zeroes the struct. Local. */
void gd_checkpoint_clear(gd_checkpoint *checkpoint);

/* Checkpoints in `directory`, newest first by (task, step); *n may be 0. Files whose names do not fit and *.tmp
 * are left out; a folder that does not exist has none. New array of new strings: gd_checkpoint_list_free. Collective on
 * comm: rank 0 looks. GD_ERR_FAILED naming the folder. */
gd_err gd_checkpoint_list(const gd_comm *comm, const char *directory, char ***paths, int *n);
void gd_checkpoint_list_free(char ***paths, int n);

/* Removes the checkpoints that are not at the end of a task, all but the newest `keep` of them, and left-over
 * checkpoint-*.h5.tmp. Damaged ones stay and do not count; while there are no more than `keep`, none is opened.
 * Collective on comm: rank 0 removes. GD_ERR_FAILED naming the file. */
gd_err gd_checkpoint_prune(const gd_comm *comm, const char *directory, int keep);

/* ---- Sample set ------------------------------------------------------------------------------- */

typedef struct gd_sample_set {
  int64_t n_global;
  int64_t first_index; /* number of the first image: 0 but for a part of a set */
  int h, w, c;
  char sampler[32]; /* its name */
  int steps;
  double eta;
  double guidance;      /* 0: none */
  int evaluations;      /* of the network, per image; 0 in files of versions that did not note it */
  char timesteps[2048]; /* an explicit list, "899, 499"; "": none */
  uint64_t seed;
  uint64_t checkpoint_digest;
  gd_range local;        /* the images that this rank holds */
  const uint8_t *images; /* (local, h, w, c) */
  const uint8_t *labels; /* classes that the images were asked for, (local), or NULL; see gd_sample_set_read_labels */
  const float *x_0;      /* the images before rounding, (local, c, h, w), or NULL; not read back */
} gd_sample_set;

/* Writes /images uint8 (N, H, W, C), /index int64 (N), /label uint8 (N) and /x_0 float32 (N, C, H, W) if given, and the
 * attributes.
 * Collective on comm. The ranks' ranges cover 0 .. n_global-1 without overlap; a rank may hold none. The `xxh3` of
 * /images is the digest of the array of all images' digests (64 bits each, in the order of the images), since no rank
 * has them all. */
gd_err gd_sample_set_write(const gd_comm *comm, const char *path, const gd_sample_set *set);

/* RUN/samples/samples-task02.h5 (task from 1 in the name, from 0 here); new string, gd_free. Local. */
char *gd_sample_set_path(const char *run, int task);

/* The classes of all N images on every rank: a new array (N), gd_free; NULL where the set has none. Collective on comm.
 */
gd_err gd_sample_set_read_labels(const gd_comm *comm, const char *path, uint8_t **labels);

/* Reads the chunks gd_range_images(comm, N) of /images into a new array `*images` (gd_free) and
 * fills `out` (out->images = *images). Collective on comm. */
gd_err gd_sample_set_read(const gd_comm *comm, const char *path, gd_sample_set *out, uint8_t **images);

/* ---- JSON files of diffusers -------------------------------------------------------------------- */

typedef enum gd_json_kind {
  GD_JSON_FIXED,      /* the same in all our files */
  GD_JSON_CONFIGURED, /* follows from the configuration */
  GD_JSON_ANY         /* has no effect on what is computed */
} gd_json_kind;

typedef struct gd_json_key {
  const char *name;
  gd_json_kind kind;
  const char *value;    /* of a fixed key, as JSON; of a configured key: those of the configuration; of others: what is
                         * written, as JSON, or NULL */
  const char *fallback; /* diffusers' default, as JSON: what a file without the key means */
  const char *also;     /* another value for the same computation, as JSON; or NULL */
  bool is_hidden;       /* weights of another value have the same names and shapes */
} gd_json_key;

struct json_t; /* jansson's */

typedef struct gd_json_table {
  const gd_json_key *keys;
  int n;
  struct json_t *(*value)(const void *context, const char *key); /* of a configured key: a new reference */
  const void *context;
  const char *extra; /* an object whose keys are written too; or NULL */
} gd_json_table;

/* Checks that the file has the table's values; warns of keys that are not in the table. Where there is no file, warns
 * of what is assumed. Local. GD_ERR_INPUT naming file, key, value found and value required. */
gd_err gd_json_check(const char *path, const gd_json_table *table);

/* Writes the table's values. Local. GD_ERR_FAILED naming the file. */
gd_err gd_json_write(const char *path, const gd_json_table *table);

/* ---- Feature set and its statistics ------------------------------------------------------------ */

/* n_global feature vectors, of which this rank holds the rows gd_range_images(comm, n_global). */
typedef struct gd_features {
  int64_t n_global;
  int width;
  gd_range local;
  double *values; /* (local, width); float32 in the files */
} gd_features;

/* Reads this rank's rows of a two-dimensional float32 or float64 dataset into new values (gd_features_clear). The file
 * may come from any program; a checksum is verified if there is one. `path` may end in ":/GROUP/DATASET"; the default
 * dataset is /features. Collective on comm. GD_ERR_INPUT naming file and dataset: missing, not two-dimensional, not of
 * floats, fewer than 2 rows, a value that is not finite. */
gd_err gd_features_read(const gd_comm *comm, const char *path, gd_features *out);
void gd_features_clear(gd_features *features);

/* Number of rows, mean and covariance of a feature set, complete on every rank. */
typedef struct gd_statistics {
  int64_t n;
  int width;
  double *mean;       /* (width) */
  double *covariance; /* (width, width) */
} gd_statistics;

/* Writes /mean and /covariance, float64, and the attribute n. Collective on comm. GD_ERR_FAILED naming the file. */
gd_err gd_statistics_write(const gd_comm *comm, const char *path, const gd_statistics *statistics);

/* Reads into new arrays (gd_statistics_clear). Collective on comm. GD_ERR_INPUT naming file and object: damaged, or not
 * of this width. */
gd_err gd_statistics_read(const gd_comm *comm, const char *path, int width, gd_statistics *out);
void gd_statistics_clear(gd_statistics *statistics);

/* ---- Plain arrays ----------------------------------------------------------------------------- */

/* Reads a complete float32 dataset (or float64, converted) on every rank into a new array (gd_free). *n_dims: 1 to 4.
 * Collective on comm. GD_ERR_INPUT naming file and dataset, also for a value that is not finite. */
gd_err gd_array_read(const gd_comm *comm, const char *path, const char *dataset, float **values, int *n_dims,
                     int64_t dims[4]);

/* ---- Inspection -------------------------------------------------------------------------------- */

/* Prints the content of an HDF5 file to stdout on rank 0: kind, attributes, datasets with shapes, and whether the
 * checksums match. Collective on comm. GD_ERR_INPUT naming the file: damaged. */
gd_err gd_store_info(const gd_comm *comm, const char *path);

/* ---- safetensors ------------------------------------------------------------------------------- */

/* Fills `values` (table->total) from a safetensors file whose tensors have the table's names and shapes and the dtype
 * F32 (F64, F16 and BF16 are converted). Names of old diffusers versions (attention query/key/value/proj_attn) are
 * accepted for to_q/to_k/to_v/to_out.0. Local. GD_ERR_INPUT naming file and tensor: missing, unknown, wrong shape or
 * dtype, a value that is not finite, offsets outside the file, tensors with gaps or overlaps, a header that is not JSON
 * or longer than the file, a Git LFS pointer. */
gd_err gd_safetensors_read(const char *path, const gd_param_table *table, float *values);

/* Writes all parameters as F32, atomically. Local. GD_ERR_FAILED naming the file. */
gd_err gd_safetensors_write(const char *path, const gd_param_table *table, const float *values);

/* ---- PNG ---------------------------------------------------------------------------------------- */

/* Writes n images (n, h, w, c) uint8, c 1 or 3, as a grid of `columns` columns with gaps of 2 pixels, each image
 * enlarged `zoom` times. Local. GD_ERR_FAILED naming the file. */
gd_err gd_png_write_grid(const char *path, const uint8_t *images, int n, int h, int w, int c, int columns, int zoom);

#endif
