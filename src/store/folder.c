/* Folders of results, made where needed. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "gendistill/store.h"

gd_err gd_folder_make(const char *path) {
  char *partial = gd_strdup(path);
  for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(partial, 0777);  // the last one tells whether it worked
    *slash = '/';
  }
  gd_err err = GD_OK;
  if (mkdir(partial, 0777) != 0 && errno != EEXIST)
    err = gd_error(GD_ERR_FAILED, "%s: cannot make the folder: %s", path, strerror(errno));
  gd_free(partial);
  return err;
}
