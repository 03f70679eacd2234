/* Files that appear whole or not at all: written to PATH.tmp, made durable, renamed. Local. */
#ifndef GD_STORE_ATOMIC_FILE_H
#define GD_STORE_ATOMIC_FILE_H

#include <stdio.h>

#include "gendistill/base.h"

/* "PATH.tmp"; new string, gd_free. */
char *gd_tmp_name(const char *path);

/* "FOLDER" of FOLDER/NAME, "." of NAME; new string, gd_free. */
char *gd_folder_of(const char *path);

/* Creates `tmp`, the draft of `path`, as a new file in place of one that was left behind. *fd stays open until after
 * the commit and tells the file from another process's draft of the same name. GD_ERR_FAILED naming the file. */
gd_err gd_tmp_create(const char *tmp, const char *path, int *fd);

/* Makes `tmp` durable and renames it to `path`. GD_ERR_FAILED naming the file: `tmp` is removed then; or saying that
 * another process has put its own draft there. */
gd_err gd_tmp_commit(const char *tmp, const char *path, int fd);

/* Whether `path` names the file that `fd` is of; false where another process has put its own file there. */
bool gd_file_is_at(int fd, const char *path);

/* Removes `tmp` if it is still the file that `fd` is of. */
void gd_tmp_remove(const char *tmp, int fd);

/* Takes disk space for the first `nbytes` of `tmp`, as zeros where nothing was; where the file system cannot reserve,
 * nothing happens. GD_ERR_FAILED naming `path`: disk full, over quota. */
gd_err gd_tmp_reserve(const char *tmp, const char *path, int64_t nbytes);

/* Records "PATH: WHAT: the system's reason" for `errno_value` and returns `err`. */
gd_err gd_file_error(gd_err err, const char *path, const char *what, int errno_value);

#endif
