/* Shared by the fuzz targets. Files are in a folder below TMPDIR, which tools/fuzz places in memory.
 *
 * With GD_FUZZ_SEEDS=FOLDER a target writes its seeds there and ends. */
#include "fuzz_support.h"

#include <omp.h>
#include <sanitizer/lsan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

gd_comm *fuzz_comm = NULL;

static char folder[512], path[1024];

int LLVMFuzzerInitialize(int *argc, char ***argv);
const char *__lsan_default_suppressions(void);

// Open MPI does not free its memory, and HDF5 1.10 leaks a little with each damaged file; neither is our leak.
const char *__lsan_default_suppressions(void) {
  return "leak:libmpi\nleak:libopen-rte\nleak:libopen-pal\nleak:libpmix\nleak:libhwloc\nleak:libevent\nleak:mca_\n"
         "leak:libhdf5\nleak:libdl\nleak:ld-linux\n";
}

// MPI's own MPI_Abort would end the process unnoticed by libFuzzer: an abort of the program is a finding.
int MPI_Abort(MPI_Comm comm, int code) {
  (void)comm, (void)code;
  abort();
}

// MPI starts as a single process with its own folder, and leaves signals to libFuzzer, which would otherwise not save
// the input.
static void set_environment(void) {
  char session[64];
  snprintf(session, sizeof session, "/tmp/ompi-%d", (int)getpid());
  setenv("OMPI_MCA_orte_top_session_dir", session, 0);
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  setenv("OMPI_MCA_opal_signal", "", 0);
  setenv("OMP_NUM_THREADS", "1", 0);
}

// The OpenMP library removes its registration only at exit, which libFuzzer skips.
static void remove_registration(void) {
  char name[64];
  omp_get_max_threads();
  snprintf(name, sizeof name, "/__KMP_REGISTERED_LIB_%d_%d", (int)getpid(), (int)getuid());
  shm_unlink(name);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  int provided = 0;
  set_environment();
  remove_registration();
  __lsan_disable();
  MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
  gd_comm_create(&fuzz_comm, MPI_COMM_SELF);
  __lsan_enable();
  gd_log_setup(0, GD_LOG_ERROR);
  const char *parent = getenv("TMPDIR"), *seeds = getenv("GD_FUZZ_SEEDS");
  snprintf(folder, sizeof folder, "%s/gendistill-fuzz-%d", parent ? parent : "/tmp", (int)getpid());
  if (mkdir(folder, 0777) != 0) gd_abort("%s: cannot make the folder", folder);
  if (seeds) {
    fuzz_make_seeds();
    fflush(NULL);
    _exit(0);  // without a search for leaks
  }
  return 0;
}

const char *fuzz_folder(void) {
  return folder;
}

const char *fuzz_path(const char *name) {
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void write_file(const char *to, const void *data, size_t nbytes) {
  FILE *file = fopen(to, "wb");
  if (!file || fwrite(data, 1, nbytes, file) != nbytes || fclose(file) != 0) gd_abort("%s: cannot write", to);
}

void fuzz_write(const char *name, const void *data, size_t nbytes) {
  write_file(fuzz_path(name), data, nbytes);
}

void fuzz_seed(const char *name, const void *data, size_t nbytes) {
  char *to = gd_format("%s/%s", getenv("GD_FUZZ_SEEDS"), name);
  write_file(to, data, nbytes);
  gd_free(to);
}

uint8_t *fuzz_read(const char *from, size_t *nbytes) {
  FILE *file = fopen(from, "rb");
  if (!file) gd_abort("%s: cannot open", from);
  fseek(file, 0, SEEK_END);
  *nbytes = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = gd_alloc(*nbytes);
  if (fread(bytes, 1, *nbytes, file) != *nbytes) gd_abort("%s: cannot read", from);
  fclose(file);
  return bytes;
}

void fuzz_check(gd_err err, const char *must_name) {
  if (err == GD_OK) return;
  if (err != GD_ERR_INPUT) gd_abort("error %d is not the input's: %s", (int)err, gd_error_message());
  if (!strstr(gd_error_message(), must_name)) gd_abort("'%s' is not in the message: %s", must_name, gd_error_message());
}
