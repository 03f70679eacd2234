/* What this rank is doing: recorded by the main thread, read by the watchdog's. */
#include <stdatomic.h>

#include "gendistill/base.h"

static atomic_uint_fast64_t count;
static _Atomic(const char *) current_work = "starting";
static _Atomic(const char *) current_call;
static atomic_int current_task;
static atomic_int_fast64_t current_step;

static void count_progress(void) {
  atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
}

void gd_progress(const char *work) {
  if (work) atomic_store_explicit(&current_work, work, memory_order_relaxed);
  count_progress();
}

void gd_progress_step(int task, int64_t step) {
  atomic_store_explicit(&current_task, task, memory_order_relaxed);
  atomic_store_explicit(&current_step, step, memory_order_relaxed);
  count_progress();
}

const char *gd_progress_call(const char *name) {
  count_progress();
  return atomic_exchange_explicit(&current_call, name, memory_order_relaxed);
}

gd_progress_state gd_progress_read(void) {
  return (gd_progress_state){.count = atomic_load(&count),
                             .work = atomic_load(&current_work),
                             .call = atomic_load(&current_call),
                             .task = atomic_load(&current_task),
                             .step = atomic_load(&current_step)};
}
