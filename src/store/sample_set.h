/* The checksum of a sample set's images, which does not depend on which rank has them. */
#ifndef GD_STORE_SAMPLE_SET_H
#define GD_STORE_SAMPLE_SET_H

#include "store/hdf5_file.h"

/* Digest of the array of all images' digests, in their order. `images`: those of `local`, image_nbytes each.
 * Collective on comm; the ranks' ranges cover 0 .. n_global-1 without overlap. */
uint64_t gd_sample_images_digest(const gd_comm *comm, int64_t n_global, gd_range local, const uint8_t *images,
                                 size_t image_nbytes);

#endif
