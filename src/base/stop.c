/* Requests to stop early: a signal, or a moment that has come. Only the note is made here; who works looks at it
 * between two pieces of work. */
#include <signal.h>
#include <stdio.h>

#include "gendistill/base.h"

static volatile sig_atomic_t caught;  // number of the signal, 0 before
static bool has_deadline;
static double deadline;  // on the clock of gd_seconds

static void note(int number) {
  caught = number;
}

void gd_stop_on_signals(void) {
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
}

void gd_stop_in(double seconds) {
  double moment = gd_seconds() + seconds;
  if (!has_deadline || moment < deadline) deadline = moment;
  has_deadline = true;
}

gd_err gd_stop_check(void) {
  if (caught) return gd_error(GD_STOPPED, "%s", caught == SIGTERM ? "SIGTERM" : "SIGUSR1");
  if (has_deadline && gd_seconds() >= deadline) return gd_error(GD_STOPPED, "the time limit is near");
  return GD_OK;
}
