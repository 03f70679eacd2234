/* Shared by the fuzz targets: MPI, a folder for files, seeds, leaks and aborts as libFuzzer needs them.
 *
 * A target defines LLVMFuzzerTestOneInput and fuzz_make_seeds. Every input must end in GD_OK or in an error with a
 * message; anything else (a crash, a leak, an abort, a hang, an allocation beyond the limit) is a finding. */
#ifndef GENDISTILL_FUZZ_SUPPORT_H
#define GENDISTILL_FUZZ_SUPPORT_H

#include "gendistill/comm.h"

extern gd_comm *fuzz_comm;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes);

/* Writes the target's first inputs by fuzz_seed: small files made by the project's own writers. */
void fuzz_make_seeds(void);
void fuzz_seed(const char *name, const void *data, size_t nbytes);

/* The folder for files of this process, and FOLDER/NAME: valid until the next call. */
const char *fuzz_folder(void);
const char *fuzz_path(const char *name);

/* Writes FOLDER/NAME, replacing an older one. */
void fuzz_write(const char *name, const void *data, size_t nbytes);

/* The bytes of a file; gd_free. */
uint8_t *fuzz_read(const char *path, size_t *nbytes);

/* If the input was refused: the message must name the file. */
void fuzz_check(gd_err err, const char *must_name);

#endif
