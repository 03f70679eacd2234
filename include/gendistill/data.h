/* Labelled images from IDX and CIFAR-10 files, resized; class-incremental tasks; epoch order. */
#ifndef GENDISTILL_DATA_H
#define GENDISTILL_DATA_H

#include "gendistill/comm.h"
#include "gendistill/config.h"

/* n images of size x size pixels and their labels, held whole by every rank. Images that are larger than in the files
 * are held as there and enlarged one by one where they are used: memory does not grow with dataset.image_size. */
typedef struct gd_dataset {
  int64_t n;
  int size;
  int enlarged_from; /* pixels a side of the images held; 0: they are held in their size */
  int channels;
  int n_classes;
  uint8_t *images; /* as held: uint8 (n, side, side, channels) */
  uint8_t *labels;
  bool has_digest; /* gd_dataset_digest keeps it */
  uint64_t digest;
} gd_dataset;

/* Images of size x size pixels that are held in another size, or in the same: uint8 (..., held, held, channels). */
typedef struct gd_images {
  const uint8_t *held;
  int held_size, size, channels;
} gd_images;

typedef enum gd_split { GD_TRAIN, GD_TEST } gd_split;

/* Reads a split of the data set that the configuration names, as images of dataset.image_size
 * (larger than in the files: bilinear; smaller: area averages).
 * Collective on comm: rank 0 reads, all receive. GD_ERR_INPUT naming the file: missing, wrong magic,
 * truncated, label out of range. */
gd_err gd_dataset_read(gd_dataset **out, const gd_comm *comm, const gd_config *config, gd_split split);
void gd_dataset_destroy(gd_dataset **dataset);

/* Digest of all images, in their size, and labels. Local. */
uint64_t gd_dataset_digest(gd_dataset *dataset);

/* Bytes that the data set takes on each rank. Local. */
size_t gd_dataset_nbytes(const gd_dataset *dataset);

/* Bilinear resize with half-pixel centres, rounded to uint8, as Pillow does for enlarging. Local.
 * in: (h_in, w_in, channels), out: (h_out, w_out, channels), h_out >= h_in. */
void gd_resize_bilinear(const uint8_t *in, int h_in, int w_in, int channels, uint8_t *out, int h_out, int w_out);

/* One square image resized as gd_dataset_read does: bilinear to a larger size, area averages to a smaller one. Local.
 */
void gd_resize_image(const uint8_t *in, int size_in, int channels, uint8_t *out, int size_out);

/* Shrinks by area averages: each output pixel is the mean of what it covers, input pixels covered in part
 * weighted by their overlap (28 -> 16 too), rounded to nearest. Local.
 * in: (h_in, w_in, channels), out: (h_out, w_out, channels), h_out <= h_in. */
void gd_resize_area(const uint8_t *in, int h_in, int w_in, int channels, uint8_t *out, int h_out, int w_out);

/* Which classes belong to which task. */
typedef struct gd_task_split {
  int n_tasks;
  int n_classes[GD_MAX_CLASSES];
  int classes[GD_MAX_CLASSES][GD_MAX_CLASSES];
} gd_task_split;

/* Seeded: a permutation of the classes cut into tasks.count equal parts. Local. GD_ERR_INPUT if the classes
 * cannot be divided, or a listed class does not exist or stands twice. */
gd_err gd_task_split_make(gd_task_split *out, const gd_config *config, int n_classes);

/* Number of images that task `task` (from 0) has in a data set; logs a warning where one of its classes has none, or
 * all of them have only one. `kind`: "test" or "training". Local. */
int64_t gd_task_split_warn(const gd_task_split *split, const gd_dataset *dataset, int task, const char *kind);

/* Indices of the images to train on at task `task` (from 0), ascending: of the task's classes, at most
 * `limit` of each task (seeded choice); for `joint` of all tasks, for `cumulative` of the tasks up to this
 * one. New array, gd_free. Local. */
uint32_t *gd_task_indices(const gd_dataset *dataset, const gd_task_split *split, const gd_config *config, int task,
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
