/* Checks of an output file's path, before the work whose result it will hold. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gendistill/store.h"
#include "store/atomic_file.h"

static const char *file_name_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

// With all links resolved; for a file that does not exist, those of its folder. New string.
static char *resolve_links(const char *path) {
  char real[PATH_MAX];
  if (realpath(path, real)) return gd_strdup(real);
  char *folder = gd_folder_of(path);
  char *resolved = realpath(folder, real) ? gd_format("%s/%s", real, file_name_of(path)) : gd_strdup(path);
  gd_free(folder);
  return resolved;
}

static bool is_same_file(const char *a, const char *b) {
  struct stat one, other;
  if (stat(a, &one) == 0 && stat(b, &other) == 0) return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
  char *path_a = resolve_links(a), *path_b = resolve_links(b);
  bool same = strcmp(path_a, path_b) == 0;
  gd_free(path_a);
  gd_free(path_b);
  return same;
}

static gd_err check_output_folder(const char *option, const char *path) {
  struct stat status;
  char *folder = gd_folder_of(path);
  gd_err err = GD_OK;
  if (stat(folder, &status) != 0)
    err = gd_error(GD_ERR_INPUT, "--%s %s: cannot write there: %s: %s", option, path, folder, strerror(errno));
  else if (!S_ISDIR(status.st_mode))
    err = gd_error(GD_ERR_INPUT, "--%s %s: cannot write there: %s is not a folder", option, path, folder);
  else if (access(folder, W_OK | X_OK) != 0)
    err = gd_file_error(GD_ERR_FAILED, path, "cannot create the file", errno);
  gd_free(folder);
  return err;
}

gd_err gd_output_check(const char *option, const char *path) {
  struct stat status;
  if (!*file_name_of(path)) return gd_error(GD_ERR_INPUT, "--%s %s: names a folder, must be a file", option, path);
  if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
    return gd_error(GD_ERR_INPUT, "--%s %s: is a %s, must be a file", option, path,
                    S_ISDIR(status.st_mode) ? "folder" : "device, pipe or socket");
  return check_output_folder(option, path);
}

gd_err gd_output_check_other(const char *option, const char *path, const char *other_option, const char *other) {
  if (!path || !other || !is_same_file(path, other)) return GD_OK;
  return gd_error(GD_ERR_INPUT, "--%s %s: is the file that --%s names; the output would replace it", option, path,
                  other_option);
}
