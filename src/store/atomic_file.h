/* Atomic files: written to PATH.tmp, made durable, renamed, so that a file appears complete or not at all. Local. */
#ifndef GD_STORE_ATOMIC_FILE_H
#define GD_STORE_ATOMIC_FILE_H

#include <stdio.h>

#include "gendistill/base.h"

/* "PATH.tmp"; new string, gd_free. */
char *gd_tmp_name(const char *path);

/* "FOLDER" of FOLDER/NAME, "." of NAME; new string, gd_free. */
char *gd_folder_of(const char *path);

/* Creates `tmp`, the temporary file of `path`, replacing one that was left behind. *fd stays open until after the
 * commit and distinguishes the file from that of another process with the same name. GD_ERR_FAILED naming the file. */
gd_err gd_tmp_create(const char *tmp, const char *path, int *fd);

/* Makes `tmp` durable and renames it to `path`. GD_ERR_FAILED naming the file, after removing `tmp`; or if another
 * process has replaced `tmp` by its own file. */
gd_err gd_tmp_commit(const char *tmp, const char *path, int fd);

/* Whether `path` is the file that is open as `fd`; false if another process has replaced it. */
bool gd_file_is_at(int fd, const char *path);

/* Removes `tmp` if it is still the file that is open as `fd`. */
void gd_tmp_remove(const char *tmp, int fd);

/* Reserves disk space for the first `nbytes` bytes of `tmp`; new bytes are zero. Does nothing on file systems that
 * cannot reserve. GD_ERR_FAILED naming `path`: disk full, over quota. */
gd_err gd_tmp_reserve(const char *tmp, const char *path, int64_t nbytes);

/* Records the message "PATH: WHAT: REASON", the reason being that of `errno_value`, and returns `err`. */
gd_err gd_file_error(gd_err err, const char *path, const char *what, int errno_value);

#endif
