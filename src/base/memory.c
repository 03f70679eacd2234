/* Allocation that ends all ranks instead of failing; every block is 64-byte aligned for vector code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "gendistill/base.h"

// Size of a huge page on x86-64 and most other processors. Where it differs, the advice below is rounded or ignored.
enum { HUGE_PAGE = 2 << 20 };

// Large arrays ask for huge pages: weight gradients, which are written in blocks spread over megabytes, are a third
// faster with them.
void *gd_alloc(size_t nbytes) {
  size_t alignment = nbytes >= HUGE_PAGE ? HUGE_PAGE : 64, rounded = (nbytes + alignment - 1) / alignment * alignment;
  void *pointer = rounded >= nbytes ? aligned_alloc(alignment, rounded ? rounded : alignment) : NULL;
  if (!pointer) gd_out_of_memory("%zu bytes requested", nbytes);
#ifdef MADV_HUGEPAGE
  if (alignment == HUGE_PAGE) madvise(pointer, rounded, MADV_HUGEPAGE);  // advice only: a failure changes nothing
#endif
  return pointer;
}

// All threads take part in the first touch, so that large arrays are spread over the memory of all cores of a rank.
void *gd_alloc_zero(size_t nbytes) {
  char *pointer = gd_alloc(nbytes);
#pragma omp parallel for schedule(static) if (nbytes >= HUGE_PAGE)
  for (size_t i = 0; i < nbytes; i += HUGE_PAGE)
    memset(pointer + i, 0, nbytes - i < HUGE_PAGE ? nbytes - i : HUGE_PAGE);
  return pointer;
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

FILE *gd_text_begin(char **text) {
  static size_t nbytes;  // open_memstream wants it, nobody reads it
  FILE *stream = open_memstream(text, &nbytes);
  if (!stream) gd_out_of_memory("for a text");
  return stream;
}

void gd_text_end(FILE *stream) {
  bool failed = ferror(stream) != 0;
  if (fclose(stream) != 0 || failed) gd_out_of_memory("for a text");
}
