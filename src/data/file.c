/* Reads a whole file into memory, gzipped or not.
 *
 * The buffer grows with what the file really holds, so that no header can make it allocate. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "data/read.h"

enum { MAX_NBYTES = 1 << 30 };

// FOLDER/NAME, else FOLDER/NAME.gz; NULL with an error if neither is there.
static char *find_file(const char *folder, const char *name) {
  for (int gz = 0; gz < 2; gz++) {
    char *path = gd_format("%s/%s%s", folder, name, gz ? ".gz" : "");
    struct stat status;
    int rc = stat(path, &status);
    if (rc == 0 && S_ISREG(status.st_mode)) return path;
    if (rc == 0)  // a pipe would block in open
      gd_error(GD_ERR_INPUT, "%s: not a file", path);
    else if (errno != ENOENT && errno != ENOTDIR)
      gd_error(GD_ERR_INPUT, "%s: cannot read: %s", path, strerror(errno));
    else
      gd_error(GD_ERR_INPUT, "%s/%s: there is no such file, nor %s.gz", folder, name, name);
    bool stop = rc == 0 || (errno != ENOENT && errno != ENOTDIR);
    gd_free(path);
    if (stop) return NULL;
  }
  return NULL;
}

static gd_err refuse_damaged(const char *path, gzFile file) {
  int code = Z_OK;
  const char *reason = gzerror(file, &code);
  if (code == Z_BUF_ERROR) return gd_error(GD_ERR_INPUT, "%s: truncated: its gzip stream ends too early", path);
  if (code == Z_ERRNO) return gd_error(GD_ERR_INPUT, "%s: cannot read: %s", path, strerror(errno));
  size_t length = strlen(path);  // zlib puts the name before its reason, too
  if (strncmp(reason, path, length) == 0 && strncmp(reason + length, ": ", 2) == 0) reason += length + 2;
  return gd_error(GD_ERR_INPUT, "%s: damaged: %s", path, reason);
}

static gd_err too_large(const char *path) {
  return gd_error(GD_ERR_INPUT, "%s: larger than 1 GiB", path);
}

static gd_err read_all(const char *path, gzFile file, uint8_t **bytes, size_t *nbytes) {
  gd_err err = GD_OK;
  size_t room = 1 << 16, n = 0;
  uint8_t *buffer = gd_alloc(room);
  for (;;) {
    int got = gzread(file, buffer + n, (unsigned)(room - n));
    if (got < 0) GD_TRY(refuse_damaged(path, file));
    n += (size_t)got;
    if (n < room) break;
    if (room >= MAX_NBYTES) GD_TRY(too_large(path));
    uint8_t *larger = gd_alloc(2 * room);
    memcpy(larger, buffer, n);
    gd_free(buffer);
    buffer = larger;
    room *= 2;
  }
  int code = Z_OK;
  gzerror(file, &code);  // a stream cut short gives its bytes first, then this
  if (code != Z_OK) GD_TRY(refuse_damaged(path, file));
  *bytes = buffer;
  *nbytes = n;
  buffer = NULL;
done:
  gd_free(buffer);
  return err;
}

gd_err gd_file_read(const char *folder, const char *name, char **path, uint8_t **bytes, size_t *nbytes) {
  gd_err err = GD_OK;
  *bytes = NULL;
  *path = find_file(folder, name);
  if (!*path) return GD_ERR_INPUT;
  gzFile file = gzopen(*path, "rb");
  if (!file) return gd_error(GD_ERR_INPUT, "%s: cannot open: %s", *path, strerror(errno));
  struct stat status;
  if (gzdirect(file) && stat(*path, &status) == 0 && status.st_size > MAX_NBYTES)  // before any of it is read
    err = too_large(*path);
  else
    err = read_all(*path, file, bytes, nbytes);
  gzclose_r(file);
  return err == GD_OK ? gd_refuse_lfs_pointer(*path, *bytes, *nbytes) : err;
}

void gd_raw_images_clear(gd_raw_images *raw) {
  gd_free(raw->images);
  gd_free(raw->labels);
  *raw = (gd_raw_images){0};
}
