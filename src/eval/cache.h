/* The folder of results that many runs share: trained classifiers, statistics of real images. */
#ifndef GD_EVAL_CACHE_H
#define GD_EVAL_CACHE_H

#include "gendistill/comm.h"

/* FOLDER/KIND-KEY.TYPE (h5, json), the key as 16 hexadecimal digits; new string, gd_free. Local. */
char *gd_cache_path(const char *folder, const char *kind, uint64_t key, const char *type);

/* Whether the file is there. Collective on comm: rank 0 checks. */
bool gd_cache_has(const gd_comm *comm, const char *path);

/* Makes the folder where needed and gives a name beside `path` that no other process uses, to write to first: jobs that
 * run side by side share the folder. New string, gd_free. Collective on comm. GD_ERR_FAILED naming the folder,
 * also where nothing can be written to it: call it before the work. Drafts that killed jobs have left are removed. */
gd_err gd_cache_begin(const gd_comm *comm, const char *path, char **draft);

/* Gives the written draft its name. Collective on comm. GD_ERR_FAILED naming the file. */
gd_err gd_cache_publish(const gd_comm *comm, const char *draft, const char *path);

#endif
