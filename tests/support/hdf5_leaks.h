/* For programs that read damaged HDF5 files, and for faults in reading: HDF5 1.10 loses a little memory with each
 * object that it cannot open or read to its end. The leak sanitizer passes over that there only, so that our own is
 * seen. */
#ifndef GD_HDF5_LEAKS_H
#define GD_HDF5_LEAKS_H

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libhdf5\n";
}

#endif
