/* Data sets as labelled images, resized; class-incremental tasks; the order of an epoch. */
#ifndef GENDISTILL_DATA_H
#define GENDISTILL_DATA_H

#include "gendistill/comm.h"

enum { GD_MAX_CLASSES = 256 };

/* ---- Data sets --------------------------------------------------------------------------------- */

/* All data sets by name. A new one is one word here, and a gd_dataset_kind gd_dataset_<name> in src/data. */
#define GD_DATASETS(ROW) ROW(fashion_mnist) ROW(mnist) ROW(cifar10)

#define GD_DATASET_ID(name) GD_DATASET_##name,
typedef enum gd_dataset_id { GD_DATASETS(GD_DATASET_ID) GD_N_DATASETS } gd_dataset_id;

typedef enum gd_split { GD_TRAIN, GD_TEST } gd_split;

typedef struct gd_raw_images gd_raw_images; /* data/read.h */

/* What is particular to a data set. */
typedef struct gd_dataset_kind {
  int n_classes;
  const char *const *class_names; /* (n_classes) */
  int channels;                   /* 1 or 3 */
  const char *path;               /* default folder; NULL: none */
  bool mirrors;                   /* a mirrored image is one of the same class: default of classifier.horizontal_flip */
  /* Reads a split from the files in `folder`. Local. GD_ERR_INPUT naming the file: missing, damaged, label out of
   * range. */
  gd_err (*read)(gd_raw_images *out, const char *folder, gd_split split, int n_classes);
} gd_dataset_kind;

const gd_dataset_kind *gd_dataset_kind_get(gd_dataset_id id);
const char *gd_dataset_name(gd_dataset_id id);

/* The section `dataset` of a configuration. */
typedef struct gd_dataset_config {
  gd_dataset_id name;
  char *path;           /* folder with the data set's files */
  int image_size;       /* larger than the files' images: bilinear; smaller: area averages */
  int limit;            /* maximum number of training images per task, 0: all */
  bool horizontal_flip; /* of training images */
} gd_dataset_config;

/* n images of size x size pixels and their labels, held whole by every node: its ranks see the same memory. Images that
 * are larger than in the files are held as there and enlarged one by one where they are used: memory does not grow with
 * dataset.image_size. */
typedef struct gd_dataset {
  int64_t n;
  int size;
  int enlarged_from; /* pixels per side of the images held; 0: they are held in their size */
  int channels;
  int n_classes;
  gd_node_array *memory; /* has the images, then the labels */
  uint8_t *images;       /* as held: uint8 (n, side, side, channels) */
  uint8_t *labels;
  bool has_digest; /* gd_dataset_digest keeps it */
  uint64_t digest;
} gd_dataset;

/* Images of size x size pixels that are held in another size, or in the same: uint8 (..., held, held, channels). */
typedef struct gd_images {
  const uint8_t *held;
  int held_size, size, channels;
} gd_images;

/* Reads a split of the data set that the configuration names, as images of image_size pixels (larger than in the files:
 * bilinear; smaller: area averages). Collective on comm: rank 0 reads, all receive. GD_ERR_INPUT naming the file:
 * missing, wrong magic, truncated, label out of range. */
gd_err gd_dataset_read(gd_dataset **out, const gd_comm *comm, const gd_dataset_config *config, gd_split split);
/* Collective on the comm that it was read on. Accepts NULL, sets NULL. */
void gd_dataset_destroy(gd_dataset **dataset);

/* Digest of all images, in their size, and labels. Local. */
uint64_t gd_dataset_digest(gd_dataset *dataset);

/* Bytes that this rank holds of the data set: none where it sees those of another rank of its node. Local. */
size_t gd_dataset_nbytes(const gd_dataset *dataset);

/* ---- Tasks -------------------------------------------------------------------------------------- */

/* The section `tasks` of a configuration. */
typedef struct gd_tasks_config {
  int count;
  bool seeded;                   /* classes are assigned to tasks by the seed */
  int n_classes[GD_MAX_CLASSES]; /* listed order: number of classes of each task ... */
  int *classes[GD_MAX_CLASSES];  /* ... and which */
} gd_tasks_config;

/* Which images a run trains on at a task. */
typedef enum gd_data_scope {
  GD_DATA_TASK,   /* the current task's */
  GD_DATA_SO_FAR, /* those of all tasks up to the current one */
  GD_DATA_ALL     /* all tasks' at once: the run has a single task */
} gd_data_scope;

/* Which classes belong to which task. */
typedef struct gd_task_split {
  int n_tasks;
  int n_classes[GD_MAX_CLASSES];
  int classes[GD_MAX_CLASSES][GD_MAX_CLASSES];
} gd_task_split;

/* Seeded: a permutation of the classes, cut into `count` equal parts. Local. GD_ERR_INPUT if the classes cannot be
 * divided, or a listed class does not exist or is listed twice. */
gd_err gd_task_split_make(gd_task_split *out, const gd_tasks_config *config, uint64_t seed, int n_classes);

/* The classes of the tasks 0 .. n_tasks-1, ascending; returns their number. Local. */
int gd_task_split_classes(const gd_task_split *split, int n_tasks, int classes[GD_MAX_CLASSES]);

/* Number of images that task `task` (from 0) has in a data set; logs a warning where one of its classes has none, or
 * all of them have only one. `kind`: "test" or "training". Local. */
int64_t gd_task_split_warn(const gd_task_split *split, const gd_dataset *dataset, int task, const char *kind);

/* Which images of a data set a run trains on. */
typedef struct gd_task_choice {
  gd_data_scope scope;
  int limit; /* maximum number of images of each task, a seeded choice; 0: all */
  uint64_t seed;
} gd_task_choice;

/* Indices of the images to train on at task `task` (from 0), ascending. New array, gd_free. Local. */
uint32_t *gd_task_indices(const gd_dataset *dataset, const gd_task_split *split, gd_task_choice choice, int task,
                          int64_t *n_out);

/* Order in which epoch `epoch` of task `task` visits n images: a permutation of 0 .. n-1, independent of the
 * rank count. Local. */
void gd_epoch_order(uint64_t seed, int task, int epoch, int64_t n, uint32_t *out);

/* The images from `first` on. Local. */
gd_images gd_dataset_images(const gd_dataset *dataset, int64_t first);

/* Image i in its size and then resized to `size`: new array (size, size, channels), gd_free. Local. */
uint8_t *gd_images_get(const gd_images *images, int64_t i, int size);

/* Bytes 0 .. 255 to [-1, 1]. Local. */
void gd_pixels_normalise(const uint8_t *pixels, int64_t n, float *out);

/* Image `index` as float32 (size, size, channels) in [-1, 1], mirrored if `flip`. Local. */
void gd_dataset_image(const gd_dataset *dataset, int64_t index, bool flip, float *out);

#endif
