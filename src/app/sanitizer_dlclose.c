/* For builds with the address sanitizer only: keeps shared objects loaded until the process ends.
 *
 * Open MPI unloads its modules in MPI_Finalize, before the leak checker looks: what they leaked could then not be told
 * from our own leaks, because their names are gone. With the modules still there, the suppressions by name hold and our
 * leaks are found. */
#ifdef __SANITIZE_ADDRESS__
#include <dlfcn.h>

int dlclose(void *handle) {
  (void)handle;
  return 0;
}
#endif
