/* Writing of feature sets: so far only tests do, commands read those of other programs. */
#ifndef GD_STORE_FEATURES_H
#define GD_STORE_FEATURES_H

#include "gendistill/store.h"

/* Writes /features float32 (N, width), the attribute `extractor`, and checksums. Collective on comm. GD_ERR_FAILED
 * naming the file. */
gd_err gd_features_write(const gd_comm *comm, const char *path, const gd_features *features, const char *extractor);

#endif
