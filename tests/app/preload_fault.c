/* A library for LD_PRELOAD that makes the file system fail, or kills processes, at one chosen call.
 *
 * GD_FAULT="RANK AFTER CALL PATH NTH ACTION NUMBER": on rank RANK, once AFTER checkpoints have their final names,
 * ACTION happens at the NTH call of CALL - open (for writing), read, write, sync, rename, unlink or any - on a file
 * whose path contains PATH:
 * - fail: the call does nothing and fails with errno NUMBER;
 * - full: the same, and every such call after it fails too;
 * - count: nothing, but at the end the number of such calls is written to $PID_FILE.calls;
 * - kill: SIGKILL, before the call, to the process in line NUMBER of the file $PID_FILE, or to all of them if 0.
 * Reads and writes through streams of the C library are not intercepted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hdf5_leaks.h"

typedef struct fault {
  bool is_read, is_on;
  int rank, after, nth, number;
  char call[8], path[256], action[8];
  int n_checkpoints, n_calls;
} fault;

static fault plan;

static void read_plan(void) {
  const char *text = getenv("GD_FAULT"), *rank = getenv("OMPI_COMM_WORLD_RANK");
  if (!rank) rank = getenv("PMI_RANK");  // MPICH
  plan.is_read = true;
  if (!text || !*text) return;
  if (sscanf(text, "%d %d %7s %255s %d %7s %d", &plan.rank, &plan.after, plan.call, plan.path, &plan.nth, plan.action,
             &plan.number) != 7) {
    fprintf(stderr, "preload_fault: GD_FAULT='%s' is not RANK AFTER CALL PATH NTH ACTION NUMBER\n", text);
    abort();
  }
  plan.is_on = plan.rank == (rank ? atoi(rank) : 0);
}

static void kill_processes(void) {
  const char *name = getenv("PID_FILE");
  FILE *file = name ? fopen(name, "r") : NULL;
  if (!file) abort();
  int mine = 0;
  for (int line = 1, pid; fscanf(file, "%d", &pid) == 1; line++) {
    if (pid == getpid()) mine = line;
    if (pid != getpid() && (plan.number == 0 || plan.number == line)) kill(pid, SIGKILL);
  }
  fclose(file);
  if (plan.number == 0 || plan.number == mine) raise(SIGKILL);
}

__attribute__((destructor)) static void write_count(void) {
  if (!plan.is_on || strcmp(plan.action, "count") != 0) return;
  char name[4096];
  snprintf(name, sizeof name, "%s.calls", getenv("PID_FILE"));
  FILE *file = fopen(name, "w");
  if (file) fprintf(file, "%d\n", plan.n_calls);
  if (file) fclose(file);
}

// Whether this call is to fail; if so, sets errno.
static bool strikes(const char *call, const char *path) {
  if (!plan.is_read) read_plan();
  if (!plan.is_on || plan.n_checkpoints < plan.after || !strstr(path, plan.path)) return false;
  if (strcmp(plan.call, "any") != 0 && strcmp(plan.call, call) != 0) return false;
  bool now = ++plan.n_calls == plan.nth && strcmp(plan.action, "count") != 0;
  if (strcmp(plan.action, "kill") == 0) {
    if (now) kill_processes();
    return false;
  }
  bool fails = now || (plan.n_calls > plan.nth && strcmp(plan.action, "full") == 0);
  if (fails) errno = plan.number;
  return fails;
}

static bool strikes_open(const char *call, int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length > 0 ? length : 0] = 0;
  return path[0] == '/' && strikes(call, path);
}

// The function that this library replaces.
#define REAL(name, type) ((type)real(#name))

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

typedef ssize_t (*read_function)(int, void *, size_t);
typedef ssize_t (*pread_function)(int, void *, size_t, off_t);
typedef ssize_t (*preadv_function)(int, const struct iovec *, int, off_t);
typedef ssize_t (*write_function)(int, const void *, size_t);
typedef ssize_t (*pwrite_function)(int, const void *, size_t, off_t);
typedef ssize_t (*pwritev_function)(int, const struct iovec *, int, off_t);

ssize_t read(int fd, void *data, size_t n) {
  return strikes_open("read", fd) ? -1 : REAL(read, read_function)(fd, data, n);
}

ssize_t pread(int fd, void *data, size_t n, off_t at) {
  return strikes_open("read", fd) ? -1 : REAL(pread, pread_function)(fd, data, n, at);
}

ssize_t pread64(int fd, void *data, size_t n, off_t at) {
  return strikes_open("read", fd) ? -1 : REAL(pread64, pread_function)(fd, data, n, at);
}

ssize_t preadv(int fd, const struct iovec *parts, int n, off_t at) {
  return strikes_open("read", fd) ? -1 : REAL(preadv, preadv_function)(fd, parts, n, at);
}

ssize_t preadv64(int fd, const struct iovec *parts, int n, off_t at) {
  return strikes_open("read", fd) ? -1 : REAL(preadv64, preadv_function)(fd, parts, n, at);
}

ssize_t write(int fd, const void *data, size_t n) {
  return strikes_open("write", fd) ? -1 : REAL(write, write_function)(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
  return strikes_open("write", fd) ? -1 : REAL(pwrite, pwrite_function)(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) {
  return strikes_open("write", fd) ? -1 : REAL(pwrite64, pwrite_function)(fd, data, n, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) {
  return strikes_open("write", fd) ? -1 : REAL(pwritev, pwritev_function)(fd, parts, n, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int n, off_t at) {
  return strikes_open("write", fd) ? -1 : REAL(pwritev64, pwritev_function)(fd, parts, n, at);
}

typedef int (*open_function)(const char *, int, ...);

static int open_or_fail(open_function next, const char *path, int flags, va_list arguments) {
  if ((flags & O_ACCMODE) != O_RDONLY && strikes("open", path)) return -1;
  return flags & O_CREAT ? next(path, flags, va_arg(arguments, int)) : next(path, flags);
}

#define OPEN(name)                                                            \
  int name(const char *path, int flags, ...) {                                \
    va_list arguments;                                                        \
    va_start(arguments, flags);                                               \
    int fd = open_or_fail(REAL(name, open_function), path, flags, arguments); \
    va_end(arguments);                                                        \
    return fd;                                                                \
  }

OPEN(open)
OPEN(open64)

int fsync(int fd) {
  return strikes_open("sync", fd) ? -1 : REAL(fsync, int (*)(int))(fd);
}

int unlink(const char *path) {
  return strikes("unlink", path) ? -1 : REAL(unlink, int (*)(const char *))(path);
}

int rename(const char *from, const char *to) {
  if (strikes("rename", from)) return -1;
  int status = REAL(rename, int (*)(const char *, const char *))(from, to);
  if (status == 0 && strstr(to, "/checkpoints/")) plan.n_checkpoints++;
  return status;
}
