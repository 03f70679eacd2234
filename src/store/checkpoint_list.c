/* Which checkpoints a folder holds, and removing old ones.
 *
 * Rank 0 reads the folder and removes; the others learn the outcome. A file belongs to us only if its name is exactly
 * the one that gd_checkpoint_path gives. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gendistill/store.h"
#include "store/atomic_file.h"

typedef struct entry {
  char *path;
  int task;
  int64_t step;
  bool is_tmp;
} entry;

typedef struct entry_list {
  entry *entries;
  int n, n_tmp, room;
} entry_list;

static void list_clear(entry_list *list) {
  for (int i = 0; i < list->n; i++) gd_free(list->entries[i].path);
  gd_free(list->entries);
  *list = (entry_list){0};
}

static bool parse_name(const char *directory, const char *name, entry *out) {
  int64_t step;
  int task;
  if (sscanf(name, "checkpoint-task%5d-step%18" SCNd64, &task, &step) != 2) return false;
  if (task < 1 || step < 0) return false;
  char *path = gd_checkpoint_path(directory, task - 1, step);
  const char *expected = path + strlen(directory) + 1;
  size_t length = strlen(expected);
  *out = (entry){.path = path, .task = task - 1, .step = step, .is_tmp = strcmp(name + length, ".tmp") == 0};
  bool fits = strncmp(name, expected, length) == 0 && (name[length] == 0 || out->is_tmp);
  if (!fits) gd_free(path);
  return fits;
}

static void list_add(entry_list *list, entry added) {
  if (list->n == list->room) {
    list->room = list->room ? 2 * list->room : 16;
    entry *longer = GD_NEW_ARRAY(entry, list->room);
    if (list->n) memcpy(longer, list->entries, (size_t)list->n * sizeof *longer);
    gd_free(list->entries);
    list->entries = longer;
  }
  list->entries[list->n++] = added;
  list->n_tmp += added.is_tmp;
}

static int newest_first(const void *left, const void *right) {
  const entry *a = left, *b = right;
  if (a->task != b->task) return a->task < b->task ? 1 : -1;
  return a->step < b->step ? 1 : a->step > b->step ? -1 : 0;
}

// A folder that is not there yet holds no checkpoints.
static gd_err scan_folder(const char *directory, entry_list *out) {
  DIR *folder = opendir(directory);
  if (!folder)
    return errno == ENOENT ? GD_OK : gd_file_error(GD_ERR_FAILED, directory, "cannot read the folder", errno);
  entry found;
  errno = 0;
  for (struct dirent *file; (file = readdir(folder)); errno = 0)
    if (parse_name(directory, file->d_name, &found)) list_add(out, found);
  gd_err err = errno ? gd_file_error(GD_ERR_FAILED, directory, "cannot read the folder", errno) : GD_OK;
  closedir(folder);
  if (out->n) qsort(out->entries, (size_t)out->n, sizeof *out->entries, newest_first);
  return err;
}

/* ---- List ---- */

// The whole paths one after the other, each with its zero.
static char *pack_names(const entry_list *list, int *nbytes) {
  size_t room = 1, used = 0;
  for (int i = 0; i < list->n; i++) room += strlen(list->entries[i].path) + 1;
  char *text = gd_alloc_zero(room);
  for (int i = 0; i < list->n; i++) {
    if (list->entries[i].is_tmp) continue;
    size_t length = strlen(list->entries[i].path) + 1;
    memcpy(text + used, list->entries[i].path, length);
    used += length;
  }
  GD_REQUIRE(used <= INT_MAX);
  *nbytes = (int)used;
  return text;
}

gd_err gd_checkpoint_list(const gd_comm *comm, const char *directory, char ***paths, int *n) {
  *paths = NULL;
  *n = 0;
  entry_list list = {0};
  gd_err err = gd_comm_agree(comm, comm->rank == 0 ? scan_folder(directory, &list) : GD_OK);
  if (err == GD_OK) {
    int sizes[2] = {0, list.n - list.n_tmp};
    char *text = comm->rank == 0 ? pack_names(&list, &sizes[0]) : NULL;
    MPI_Bcast(sizes, 2, MPI_INT, 0, comm->mpi);
    if (comm->rank != 0) text = gd_alloc_zero((size_t)sizes[0] + 1);
    MPI_Bcast(text, sizes[0], MPI_CHAR, 0, comm->mpi);
    *n = sizes[1];
    *paths = GD_NEW_ARRAY(char *, *n);
    const char *next = text;
    for (int i = 0; i < *n; i++) {
      (*paths)[i] = gd_strdup(next);
      next += strlen(next) + 1;
    }
    gd_free(text);
  }
  list_clear(&list);
  return err;
}

void gd_checkpoint_list_free(char ***paths, int n) {
  if (*paths)
    for (int i = 0; i < n; i++) gd_free((*paths)[i]);
  gd_free(*paths);
  *paths = NULL;
}

/* ---- Prune ---- */

static gd_err remove_file(const char *path) {
  if (unlink(path) == 0 || errno == ENOENT) return GD_OK;
  return gd_file_error(GD_ERR_FAILED, path, "cannot remove the file", errno);
}

static gd_err remove_tmp(const char *path) {
  char *tmp = gd_tmp_name(path);
  gd_err err = remove_file(tmp);
  gd_free(tmp);
  return err;
}

// Opened by rank 0 alone. A damaged file stays, to be examined, and does not count.
static bool may_remove(const char *path) {
  const gd_comm alone = {.mpi = MPI_COMM_SELF, .rank = 0, .size = 1};
  gd_checkpoint header;
  if (gd_checkpoint_read_header(&alone, path, &header) != GD_OK) {
    gd_log(GD_LOG_WARN, "%s", gd_error_message());
    return false;
  }
  bool done = header.task_done;
  gd_checkpoint_clear(&header);
  return !done;
}

static gd_err prune_folder(const char *directory, int keep) {
  entry_list list = {0};
  gd_err err = scan_folder(directory, &list);
  bool all_stay = list.n - list.n_tmp <= keep;  // then none needs to be opened
  int n_kept = 0;
  for (int i = 0; i < list.n && err == GD_OK; i++) {
    const entry *e = &list.entries[i];
    if (e->is_tmp)
      err = remove_tmp(e->path);
    else if (!all_stay && may_remove(e->path) && ++n_kept > keep)
      err = remove_file(e->path);
  }
  list_clear(&list);
  return err;
}

gd_err gd_checkpoint_prune(const gd_comm *comm, const char *directory, int keep) {
  return gd_comm_agree(comm, comm->rank == 0 ? prune_folder(directory, keep) : GD_OK);
}
