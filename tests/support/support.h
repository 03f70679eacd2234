/* Shared by all tests: cmocka with its prerequisites, MPI start and end, golden files, comparisons, folders. */
#ifndef GENDISTILL_TESTS_SUPPORT_H
#define GENDISTILL_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four headers above */
#include <cmocka.h>

#include "gendistill/comm.h"
#include "gendistill/nn.h"

/* MPI_Init, and a search for memory leaks followed by MPI_Finalize; Open MPI's own leaks are ignored. */
void test_mpi_begin(void);
void test_mpi_end(void);

/* The communicator of the whole test; made by gd_test_main. */
extern gd_comm *test_comm;

/* Initialises MPI, runs a cmocka group on every rank, and returns a non-zero exit status if it failed on any. */
int gd_test_main(const struct CMUnitTest *tests, size_t n_tests);
#define GD_TEST_MAIN(tests) gd_test_main(tests, sizeof(tests) / sizeof((tests)[0]))

/* Fails the test with the recorded message unless `err` is GD_OK. */
#define assert_ok(expr)                                                 \
  do {                                                                  \
    if ((expr) != GD_OK) fail_msg("%s: %s", #expr, gd_error_message()); \
  } while (0)

/* A dataset of tests/golden/FILE with exactly `count` elements, converted from float32, float64 or any integer type.
 * gd_free. Fails the test if the dataset is missing or of another size. */
float *golden(const char *file, const char *dataset, int64_t count);
bool golden_has(const char *file, const char *dataset);

/* Loads GROUP/<name> of a golden file for every parameter of the table into `values`; returns how many it found. */
int golden_params(const char *file, const char *group, const gd_param_table *table, float *values);

/* Largest |a-b| over the largest |b|. */
double relative_error(const float *a, const float *b, int64_t n);

/* (N,C,H,W) -> (N,H,W,C) and back. */
void nchw_to_nhwc(const float *in, int n, int c, int h, int w, float *out);
void nhwc_to_nchw(const float *in, int n, int c, int h, int w, float *out);

/* A new folder, the same on all ranks; test_folder_remove removes it with its files. Collective. */
char *test_folder_create(void);
void test_folder_remove(char *folder);

/* Setup and teardown of a test that has a folder of its own, test_folder. Collective. */
extern char *test_folder;
int test_folder_setup(void **state);
int test_folder_teardown(void **state);

#endif
