/* For programs that read damaged HDF5 files or meet faults while reading: HDF5 1.10 leaks a little memory with each
 * object that it cannot open or read completely. Only these programs tell the leak sanitizer to ignore HDF5. */
#ifndef GD_HDF5_LEAKS_H
#define GD_HDF5_LEAKS_H

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libhdf5\n";
}

#endif
