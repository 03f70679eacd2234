/* Files are written under a name of their own and renamed, so that a job finds a whole file or none. */
#include "eval/cache.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gendistill/store.h"

char *gd_cache_path(const char *folder, const char *kind, uint64_t key, const char *type) {
  return gd_format("%s/%s-%016" PRIx64 ".%s", folder, kind, key, type);
}

bool gd_cache_has(const gd_comm *comm, const char *path) {
  int there = comm->rank == 0 && access(path, F_OK) == 0;
  MPI_Bcast(&there, 1, MPI_INT, 0, comm->mpi);
  return there;
}

enum { DRAFT_SECONDS = 3600 };

// "KIND-KEY.TYPE.HOST-PROCESS", perhaps with .tmp: of a job that was killed, unless it is new.
static void remove_old_draft(const char *folder, const char *name) {
  struct stat status;
  if (!strstr(name, ".h5.") && !strstr(name, ".json.")) return;
  char *path = gd_format("%s/%s", folder, name);
  if (stat(path, &status) == 0 && difftime(time(NULL), status.st_mtime) > DRAFT_SECONDS) unlink(path);
  gd_free(path);
}

static gd_err prepare_folder(const char *folder) {
  gd_err err = gd_folder_make(folder);
  if (err != GD_OK) return err;
  if (access(folder, W_OK | X_OK) != 0)
    return gd_error(GD_ERR_FAILED, "%s: cannot write to the folder: %s", folder, strerror(errno));
  DIR *opened = opendir(folder);
  for (struct dirent *file; opened && (file = readdir(opened));) remove_old_draft(folder, file->d_name);
  if (opened) closedir(opened);
  return err;
}

gd_err gd_cache_begin(const gd_comm *comm, const char *path, char **draft) {
  struct {
    char host[64];
    int process;
  } writer = {.process = (int)getpid()};
  gethostname(writer.host, sizeof writer.host - 1);
  MPI_Bcast(&writer, sizeof writer, MPI_BYTE, 0, comm->mpi);
  *draft = gd_format("%s.%s-%d", path, writer.host, writer.process);
  char *folder = gd_strdup(path);
  *strrchr(folder, '/') = 0;
  gd_err err = gd_comm_agree(comm, comm->rank == 0 ? prepare_folder(folder) : GD_OK);
  gd_free(folder);
  return err;
}

gd_err gd_cache_publish(const gd_comm *comm, const char *draft, const char *path) {
  gd_err err = GD_OK;
  if (comm->rank == 0 && rename(draft, path) != 0) {
    err = gd_error(GD_ERR_FAILED, "%s: cannot rename to %s: %s", draft, path, strerror(errno));
    unlink(draft);
  }
  return gd_comm_agree(comm, err);
}
