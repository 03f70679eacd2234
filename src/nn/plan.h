/* Memory planning for gd_plan: blocks with lifetimes share one arena. */
#ifndef GD_NN_PLAN_H
#define GD_NN_PLAN_H

#include <stddef.h>

/* First and last time, both included, at which a block is in use. */
typedef struct gd_lifetime {
  int first, last;
} gd_lifetime;

typedef struct gd_block {
  size_t nbytes, offset;
  gd_lifetime life;
  void **target;
} gd_block;

typedef struct gd_arena {
  gd_block *blocks;
  int n, capacity;
  void *memory;
  size_t nbytes;
} gd_arena;

/* Asks for a block; *target is set by gd_arena_place. */
void gd_arena_want(gd_arena *arena, size_t nbytes, gd_lifetime life, void **target);
/* Decides all offsets, allocates, and sets the targets. */
void gd_arena_place(gd_arena *arena);
void gd_arena_release(gd_arena *arena);

#endif
