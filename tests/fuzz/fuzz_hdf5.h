/* HDF5 files from the fuzzer's bytes: as they are, or made by HDF5 from a recipe. */
#ifndef GENDISTILL_FUZZ_HDF5_H
#define GENDISTILL_FUZZ_HDF5_H

#include "fuzz_support.h"

/* Makes FOLDER/a.h5 of an input and returns its path; NULL if these targets cannot use the input.
 *
 * Inputs that begin with 'R' are the bytes of the file; HDF5 verifies their checksums before it uses them. All others
 * are recipes: a base (nothing, or one of the project's files), then objects and attributes that are added or replaced,
 * with any type, shape and storage, then the project's seal over all of it. So the readers get files with correct
 * checksums that are valid HDF5 but not what they expect. Files in the older format, without checksums, are tested only
 * with GD_FUZZ_OLD_HDF5=1 and ASAN_OPTIONS=allocator_may_return_null=1: for damaged ones HDF5 1.10 allocates absurd
 * sizes, and continues with an error when that fails. */
const char *fuzz_hdf5_make(const uint8_t *data, size_t nbytes);

/* Seeds for all HDF5 targets. */
void fuzz_hdf5_seeds(void);

#endif
