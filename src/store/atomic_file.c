/* Atomic files.
 *
 * The order matters: the content must be on disk before the name refers to it, and the name is on disk only once its
 * folder is. */
#include "store/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gendistill/store.h"

char *gd_tmp_name(const char *path) {
  return gd_format("%s.tmp", path);
}

gd_err gd_file_error(gd_err err, const char *path, const char *what, int errno_value) {
  return gd_error(err, "%s: %s: %s", path, what, strerror(errno_value));
}

static int sync_path(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) return errno;
  int reason = fsync(fd) == 0 ? 0 : errno;
  if (close(fd) != 0 && !reason) reason = errno;
  return reason;
}

gd_err gd_tmp_reserve(const char *tmp, const char *path, int64_t nbytes) {
  int fd = open(tmp, O_RDWR | O_CLOEXEC);
  if (fd < 0) return gd_file_error(GD_ERR_FAILED, path, "cannot reserve disk space", errno);
  int reason = nbytes > 0 ? posix_fallocate(fd, 0, (off_t)nbytes) : 0;
  if (reason == EOPNOTSUPP || reason == EINVAL) reason = 0;
  if (fsync(fd) != 0 && !reason) reason = errno;  // network file systems report a full disk only now
  if (close(fd) != 0 && !reason) reason = errno;
  return reason ? gd_file_error(GD_ERR_FAILED, path, "cannot reserve disk space", reason) : GD_OK;
}

char *gd_folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return gd_strdup(".");
  return gd_format("%.*s", slash == path ? 1 : (int)(slash - path), path);
}

// Some file systems cannot sync a folder. The file is complete all the same, so this is no error.
static void sync_folder_of(const char *path) {
  char *folder = gd_folder_of(path);
  sync_path(folder, O_RDONLY | O_DIRECTORY);
  gd_free(folder);
}

bool gd_file_is_at(int fd, const char *path) {
  struct stat opened, named;
  return fstat(fd, &opened) == 0 && stat(path, &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

gd_err gd_tmp_create(const char *tmp, const char *path, int *fd) {
  const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
  *fd = open(tmp, flags, 0666);
  if (*fd < 0 && errno == EEXIST && unlink(tmp) == 0) *fd = open(tmp, flags, 0666);
  return *fd < 0 ? gd_file_error(GD_ERR_FAILED, path, "cannot create the file", errno) : GD_OK;
}

void gd_tmp_remove(const char *tmp, int fd) {
  if (fd >= 0 && gd_file_is_at(fd, tmp)) unlink(tmp);
}

gd_err gd_tmp_commit(const char *tmp, const char *path, int fd) {
  const char *what = "cannot make the file durable";
  int reason = sync_path(tmp, O_RDWR);
  if (!gd_file_is_at(fd, tmp))
    return gd_error(GD_ERR_FAILED, "%s: cannot write the file: another process writes to the same name", path);
  if (!reason && rename(tmp, path) != 0) {
    what = "cannot give the file its final name";
    reason = errno;
  }
  if (reason) {
    unlink(tmp);
    return gd_file_error(GD_ERR_FAILED, path, what, reason);
  }
  sync_folder_of(path);
  return GD_OK;
}

FILE *gd_file_begin(const char *path, gd_err *err) {
  char *tmp = gd_tmp_name(path);
  int fd;
  FILE *file = NULL;
  *err = gd_tmp_create(tmp, path, &fd);
  if (*err == GD_OK && !(file = fdopen(fd, "wb"))) gd_out_of_memory("for %s", path);
  gd_free(tmp);
  return file;
}

gd_err gd_file_end(FILE *file, const char *path, gd_err err) {
  char *tmp = gd_tmp_name(path);
  int reason = ferror(file) ? (errno ? errno : EIO) : 0;  // errno is still that of the write that failed
  if (fflush(file) != 0 && !reason) reason = errno;
  if (reason) err = gd_file_error(GD_ERR_FAILED, path, "cannot write the file", reason);
  if (err == GD_OK)
    err = gd_tmp_commit(tmp, path, fileno(file));
  else
    gd_tmp_remove(tmp, fileno(file));
  fclose(file);
  gd_free(tmp);
  return err;
}
