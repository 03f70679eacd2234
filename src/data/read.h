/* What the readers of the file formats hand to dataset.c. */
#ifndef GENDISTILL_DATA_READ_H
#define GENDISTILL_DATA_READ_H

#include "gendistill/data.h"

/* Images as the files have them: (n, size, size, channels) and labels below n_classes. */
typedef struct gd_raw_images {
  int64_t n;
  int size;
  int channels;
  uint8_t *images;
  uint8_t *labels;
} gd_raw_images;

void gd_raw_images_clear(gd_raw_images *raw);

/* Reads FOLDER/NAME or FOLDER/NAME.gz whole, unpacked. `path`: new string, the file that was found.
 * GD_ERR_INPUT naming the file: missing, not a file, unreadable, damaged, larger than 1 GiB. */
gd_err gd_file_read(const char *folder, const char *name, char **path, uint8_t **bytes, size_t *nbytes);

/* IDX: FOLDER/{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]. */
gd_err gd_idx_read(gd_raw_images *out, const char *folder, gd_split split, int n_classes);

/* CIFAR-10's binary version: data_batch_1.bin ..., test_batch.bin in FOLDER or FOLDER/cifar-10-batches-bin. */
gd_err gd_cifar10_read(gd_raw_images *out, const char *folder, gd_split split, int n_classes);

#endif
