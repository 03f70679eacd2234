/* Allocation that aborts instead of failing; every block is 64-byte aligned for vector code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gendistill/base.h"

void *gd_alloc(size_t nbytes) {
  size_t rounded = (nbytes + 63) / 64 * 64;
  void *pointer = rounded >= nbytes ? aligned_alloc(64, rounded ? rounded : 64) : NULL;
  if (!pointer) gd_abort("out of memory: %zu bytes", nbytes);
  return pointer;
}

void *gd_alloc_zero(size_t nbytes) {
  return memset(gd_alloc(nbytes), 0, nbytes);
}

void gd_free(void *pointer) {
  free(pointer);
}

char *gd_strdup(const char *text) {
  size_t nbytes = strlen(text) + 1;
  return memcpy(gd_alloc(nbytes), text, nbytes);
}

char *gd_format(const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n < 0) gd_abort("bad format '%s'", format);
  char *text = gd_alloc((size_t)n + 1);
  vsnprintf(text, (size_t)n + 1, format, again);
  va_end(again);
  return text;
}
