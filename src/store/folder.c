/* Creation of folders. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gendistill/store.h"

// mkdir also fails for folders that exist, not only with EEXIST.
static bool make_one_folder(const char *path, const char **reason) {
  struct stat status;
  if (mkdir(path, 0777) == 0) return true;
  int why = errno;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) return true;
  if (why != EEXIST)
    *reason = strerror(why);
  else if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode))
    *reason = "it is a symbolic link to nothing";
  else
    *reason = "it is a file";
  return false;
}

// Names the folder that could not be created by its absolute path, because a relative one says little in a job's log.
static gd_err folder_error(const char *path, const char *part, const char *reason) {
  char here[PATH_MAX] = "";
  bool is_relative = *part != '/' && getcwd(here, sizeof here);
  if (!is_relative && strcmp(part, path) == 0)
    return gd_error(GD_ERR_FAILED, "%s: cannot make the folder: %s", path, reason);
  return gd_error(GD_ERR_FAILED, "%s: cannot make the folder %s%s%s: %s", path, here, is_relative ? "/" : "", part,
                  reason);
}

gd_err gd_folder_make(const char *path) {
  gd_err err = GD_OK;
  const char *reason = NULL;
  char *partial = gd_strdup(path);
  for (char *at = partial + 1; err == GD_OK && *at; at++) {
    bool is_end = at[1] == 0;
    if (*at != '/' && !is_end) continue;
    if (*at == '/') *at = 0;
    if (!make_one_folder(partial, &reason)) err = folder_error(path, partial, reason);
    if (!is_end) *at = '/';
  }
  gd_free(partial);
  return err;
}
