/* A thread that works from time to time beside the main one. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "gendistill/base.h"

struct gd_side_thread {
  void (*run)(gd_side_thread *thread, void *context);
  void *context;
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  bool is_over;
};

static void *side_thread_main(void *argument) {
  gd_side_thread *t = argument;
  t->run(t, t->context);
  return NULL;
}

static void side_thread_free(gd_side_thread *t) {
  pthread_cond_destroy(&t->wake);
  pthread_mutex_destroy(&t->mutex);
  gd_free(t);
}

int gd_side_thread_start(gd_side_thread **out, void (*run)(gd_side_thread *thread, void *context), void *context) {
  gd_side_thread *t = GD_NEW(gd_side_thread);
  sigset_t all, before;  // signals are for the main thread
  t->run = run;
  t->context = context;
  pthread_mutex_init(&t->mutex, NULL);
  pthread_cond_init(&t->wake, NULL);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int reason = pthread_create(&t->thread, NULL, side_thread_main, t);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (reason) side_thread_free(t);
  *out = reason ? NULL : t;
  return reason;
}

bool gd_side_thread_rest(gd_side_thread *t, double seconds) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  int64_t nanoseconds = until.tv_nsec + (int64_t)(seconds * 1e9);
  until.tv_sec += nanoseconds / 1000000000;
  until.tv_nsec = nanoseconds % 1000000000;
  pthread_mutex_lock(&t->mutex);
  int code = 0;
  while (!t->is_over && code != ETIMEDOUT) code = pthread_cond_timedwait(&t->wake, &t->mutex, &until);
  bool is_over = t->is_over;
  pthread_mutex_unlock(&t->mutex);
  return !is_over;
}

void gd_side_thread_end(gd_side_thread **thread) {
  gd_side_thread *t = *thread;
  if (!t) return;
  pthread_mutex_lock(&t->mutex);
  t->is_over = true;
  pthread_cond_signal(&t->wake);
  pthread_mutex_unlock(&t->mutex);
  pthread_join(t->thread, NULL);
  side_thread_free(t);
  *thread = NULL;
}
