/* HDF5 files from the fuzzer's bytes: as they are, or made by HDF5 after a recipe. */
#ifndef GENDISTILL_FUZZ_HDF5_H
#define GENDISTILL_FUZZ_HDF5_H

#include "fuzz_support.h"

/* Makes FOLDER/a.h5 of an input and returns its path; NULL where the input is none for these targets.
 *
 * Inputs that begin with 'R' are the file's bytes, whose checksums HDF5 verifies before it follows them. All others are
 * recipes: a base (nothing, or one of the project's files), then objects and attributes that are added or replaced,
 * with any type, shape and storage, then the project's seal over it all: so that the readers behind the checksums meet
 * files that are sound HDF5 but not what they expect. Files in the format of old, without checksums, are left to
 * GD_FUZZ_OLD_HDF5=1 with ASAN_OPTIONS=allocator_may_return_null=1: for damaged ones HDF5 1.10 asks for absurd sizes,
 * and goes on with an error when it does not get them. */
const char *fuzz_hdf5_make(const uint8_t *data, size_t nbytes);

/* Seeds for all HDF5 targets. */
void fuzz_hdf5_seeds(void);

#endif
