/* A library for LD_PRELOAD that makes one allocation fail.
 *
 * GD_MEMORY="RANK OBJECT NTH": on rank RANK, of the places where the program or library whose file name contains OBJECT
 * allocates memory, the NTH to be reached gets NULL the first time. A place is the chain of DEPTH calls that leads to
 * the allocation: the memory of two layers of a network belongs to one place, two arrays of one layer to two. If NTH is
 * 0, nothing fails, and the number of places is printed to standard error at the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 5, N_PLACES = 1 << 14 };

static struct {
  bool is_read, is_on;
  int rank, nth, n;
  char object[64];
  uintptr_t places[N_PLACES]; /* hashes of those reached; 0: none */
} plan;

static _Thread_local bool inside;  // the functions called here allocate too

static void read_plan(void) {
  const char *text = getenv("GD_MEMORY"), *rank = getenv("OMPI_COMM_WORLD_RANK");
  if (!rank) rank = getenv("PMI_RANK");  // MPICH
  plan.is_read = true;
  if (!text) return;
  if (sscanf(text, "%d %63s %d", &plan.rank, plan.object, &plan.nth) != 3) abort();
  plan.is_on = plan.rank == (rank ? atoi(rank) : 0);
}

static bool is_of_object(const void *address) {
  Dl_info info;
  return dladdr(address, &info) && info.dli_fname && strstr(info.dli_fname, plan.object);
}

// Whether the place with this chain of calls is reached for the first time.
static bool is_new(void *const *calls, int n) {
  uintptr_t hash = 1;
  for (int i = 0; i < n; i++) hash = (hash ^ (uintptr_t)calls[i]) * 0x9e3779b97f4a7c15u;
  for (uintptr_t at = hash >> 20;; at++) {
    uintptr_t *place = &plan.places[at % N_PLACES];
    if (*place == hash) return false;
    if (*place) continue;
    *place = hash;
    return true;
  }
}

static __attribute__((noinline)) bool is_chosen(void) {
  enum { OWN = 3 };  // frames of this library
  void *calls[OWN + DEPTH];
  int n = backtrace(calls, OWN + DEPTH) - OWN;
  if (n <= 0 || !is_of_object(calls[OWN]) || !is_new(calls + OWN, n)) return false;
  if (plan.n >= N_PLACES / 2) abort();
  return ++plan.n == plan.nth;
}

// Whether this allocation is to fail.
static __attribute__((noinline)) bool strikes(void) {
  if (inside) return false;
  inside = true;
  if (!plan.is_read) read_plan();
  bool fails = plan.is_on && is_chosen();
  inside = false;
  if (fails) errno = ENOMEM;
  return fails;
}

__attribute__((destructor)) static void report(void) {
  if (plan.is_on && plan.nth == 0) fprintf(stderr, "preload_memory: %d places\n", plan.n);
}

// The function that this library replaces, looked for once: dlerror allocates, and dlsym would spoil its message.
#define REAL(name)               \
  static void *next;             \
  if (!next) next = real(#name); \
  typeof(name) *call = (typeof(name) *)next

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

void *malloc(size_t n) {
  REAL(malloc);
  return strikes() ? NULL : call(n);
}

void *calloc(size_t n, size_t size) {
  REAL(calloc);
  return strikes() ? NULL : call(n, size);
}

void *realloc(void *old, size_t n) {
  REAL(realloc);
  return strikes() ? NULL : call(old, n);
}

void *aligned_alloc(size_t alignment, size_t n) {
  REAL(aligned_alloc);
  return strikes() ? NULL : call(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n) {
  REAL(posix_memalign);
  return strikes() ? ENOMEM : call(out, alignment, n);
}
