/* Requests to stop early: a signal, or a deadline. They are only recorded here; the main thread checks for them between
 * two pieces of work. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gendistill/base.h"

static volatile sig_atomic_t caught;  // number of the last signal, 0: none
static bool has_deadline;
static double deadline;  // on the clock of gd_seconds

static void record_signal(int number) {
  caught = number;
}

static void set_signal_handler(int number, void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(number, &action, NULL);
}

void gd_stop_on_signals(void) {
  set_signal_handler(SIGTERM, record_signal);
  set_signal_handler(SIGUSR1, record_signal);
  set_signal_handler(SIGXCPU, record_signal);
}

static void end_at_cpu_limit(int number) {
  (void)number;
  static const char text[] = "gendistill: error: the limit of CPU time is reached (ulimit -t)\n";
  if (write(STDERR_FILENO, text, sizeof text - 1) < 0) abort();
  _exit(GD_ERR_FAILED);
}

void gd_stop_at_limits(void) {
  signal(SIGXFSZ, SIG_IGN);  // a write past the limit is then an error like a full disk
  set_signal_handler(SIGXCPU, end_at_cpu_limit);
}

void gd_stop_in(double seconds) {
  double moment = gd_seconds() + seconds;
  if (!has_deadline || moment < deadline) deadline = moment;
  has_deadline = true;
}

gd_err gd_stop_check(void) {
  if (caught == SIGXCPU) return gd_error(GD_STOPPED, "the limit of CPU time is near");
  if (caught) return gd_error(GD_STOPPED, "%s", caught == SIGTERM ? "SIGTERM" : "SIGUSR1");
  if (has_deadline && gd_seconds() >= deadline) return gd_error(GD_STOPPED, "the time limit is near");
  return GD_OK;
}
