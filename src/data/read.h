/* What the readers of the file formats give to dataset.c. */
#ifndef GENDISTILL_DATA_READ_H
#define GENDISTILL_DATA_READ_H

#include "gendistill/data.h"

/* Images as the files have them: (n, size, size, channels) and labels below n_classes. */
struct gd_raw_images {
  int64_t n;
  int size;
  int channels;
  uint8_t *images;
  uint8_t *labels;
};

void gd_raw_images_clear(gd_raw_images *raw);

/* Reads FOLDER/NAME or FOLDER/NAME.gz whole, unpacked. `path`: new string, the file that was found.
 * GD_ERR_INPUT naming the file: missing, not a file, unreadable, damaged, larger than 1 GiB. */
gd_err gd_file_read(const char *folder, const char *name, char **path, uint8_t **bytes, size_t *nbytes);

#endif
