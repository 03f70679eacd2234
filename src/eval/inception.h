/* Features of Inception-v3, the network behind the FID, with weights from the user's file. */
#ifndef GD_EVAL_INCEPTION_H
#define GD_EVAL_INCEPTION_H

#include "gendistill/comm.h"
#include "gendistill/data.h"
#include "gendistill/store.h"

enum { GD_INCEPTION_SIZE = 299 };

typedef struct gd_inception gd_inception;

/* Reads the parameters from `path`, a safetensors file, or an HDF5 file (.h5, .hdf5) with one dataset a parameter.
 * Collective on comm (kept). GD_ERR_INPUT naming file and tensor. */
gd_err gd_inception_create(gd_inception **out, const gd_comm *comm, const char *path);
void gd_inception_destroy(gd_inception **inception);

int gd_inception_width(const gd_inception *inception);
uint64_t gd_inception_digest(const gd_inception *inception); /* of its parameters */

/* One image (size, size, channels) to (299, 299, 3) in [-1, 1]: bilinear with half-pixel centres, not rounded; grey
 * three times. Local. */
void gd_inception_prepare(const uint8_t *image, int size, int channels, float *out);

/* Features of this rank's images, as gd_classifier_extract gives them. Local. */
void gd_inception_extract(gd_inception *inception, int64_t n_global, const gd_images *images, gd_features *features);

#endif
