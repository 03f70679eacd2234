/* For builds with the address sanitizer only: looks for leaks between the start and the end of MPI.
 *
 * Open MPI leaks while it starts, and unloads its modules when it ends, so that the leak checker at the end of the
 * process could no longer tell its leaks from ours by the modules' names. MPI's profiling interface (PMPI) lets the
 * program put its own functions before MPI's. */
#ifdef __SANITIZE_ADDRESS__
#include <mpi.h>
#include <sanitizer/lsan_interface.h>

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided) {
  __lsan_disable();
  int code = PMPI_Init_thread(argc, argv, required, provided);
  __lsan_enable();
  return code;
}

int MPI_Finalize(void) {
  __lsan_do_leak_check();  // ends the process where there is a leak
  return PMPI_Finalize();
}
#endif
