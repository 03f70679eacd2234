/* Greedy placement, largest blocks first: each gets the lowest offset where it overlaps no placed block that is in use
 * at the same time. */
#include <stdlib.h>
#include <string.h>

#include "nn/plan.h"

void gd_arena_request(gd_arena *arena, size_t nbytes, gd_lifetime life, void **target) {
  if (arena->n == arena->capacity) {
    arena->capacity = arena->capacity ? 2 * arena->capacity : 64;
    gd_block *bigger = gd_alloc((size_t)arena->capacity * sizeof(gd_block));
    if (arena->n) memcpy(bigger, arena->blocks, (size_t)arena->n * sizeof(gd_block));
    gd_free(arena->blocks);
    arena->blocks = bigger;
  }
  nbytes = (nbytes + 63) / 64 * 64;
  arena->blocks[arena->n++] = (gd_block){.nbytes = nbytes, .life = life, .target = target};
}

static int larger_block_first(const void *a, const void *b) {
  const gd_block *x = a, *y = b;
  if (x->nbytes != y->nbytes) return x->nbytes > y->nbytes ? -1 : 1;
  return (x->life.first > y->life.first) - (x->life.first < y->life.first);
}

static int lower_block_first(const void *a, const void *b) {
  const gd_block *x = *(gd_block *const *)a, *y = *(gd_block *const *)b;
  return (x->offset > y->offset) - (x->offset < y->offset);
}

static bool are_alive_together(const gd_block *a, const gd_block *b) {
  return a->life.first <= b->life.last && b->life.first <= a->life.last;
}

// For block number i, among the blocks before it. others: room for that many pointers.
static size_t lowest_free_offset(const gd_arena *arena, int i, gd_block **others) {
  const gd_block *block = &arena->blocks[i];
  int n_others = 0;
  size_t offset = 0;
  for (int j = 0; j < i; j++)
    if (are_alive_together(block, &arena->blocks[j])) others[n_others++] = &arena->blocks[j];
  qsort(others, (size_t)n_others, sizeof *others, lower_block_first);
  for (int j = 0; j < n_others && others[j]->offset < offset + block->nbytes; j++) {
    size_t end = others[j]->offset + others[j]->nbytes;
    if (end > offset) offset = end;
  }
  return offset;
}

void gd_arena_place(gd_arena *arena) {
  qsort(arena->blocks, (size_t)arena->n, sizeof(gd_block), larger_block_first);
  gd_block **others = GD_NEW_ARRAY(gd_block *, arena->n);
  for (int i = 0; i < arena->n; i++) {
    gd_block *block = &arena->blocks[i];
    block->offset = lowest_free_offset(arena, i, others);
    if (block->offset + block->nbytes > arena->nbytes) arena->nbytes = block->offset + block->nbytes;
  }
  gd_free(others);
  arena->memory = gd_alloc_zero(arena->nbytes);
  for (int i = 0; i < arena->n; i++) *arena->blocks[i].target = (char *)arena->memory + arena->blocks[i].offset;
}

void gd_arena_release(gd_arena *arena) {
  gd_free(arena->blocks);
  gd_free(arena->memory);
  *arena = (gd_arena){0};
}
