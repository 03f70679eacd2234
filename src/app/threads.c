/* Threads and cores: idle threads must not take the cores of busy ones, and a warning says where ranks times threads do
 * not fit the cores of a node. */
#define _GNU_SOURCE  // CPU sets
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/command.h"

/* ---- CPUs that a process may use; with simultaneous multithreading a core has several ---- */

enum { N_SETS = 8, MAX_CPUS = N_SETS * CPU_SETSIZE };

typedef struct cpu_mask {
  cpu_set_t sets[N_SETS];
} cpu_mask;

static cpu_mask mask_of(pid_t process) {
  cpu_mask mask = {0};
  if (sched_getaffinity(process, sizeof mask, mask.sets) != 0) memset(&mask, 0, sizeof mask);
  return mask;
}

static int count_cpus(const cpu_mask *mask) {
  return CPU_COUNT_S(sizeof *mask, mask->sets);
}

// The lowest CPU of the core that `cpu` belongs to.
static int core_of(int cpu) {
  int first = cpu;
  char *path = gd_format("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
  FILE *file = fopen(path, "r");
  if (file && fscanf(file, "%d", &first) != 1) first = cpu;
  if (file) fclose(file);
  gd_free(path);
  return first >= 0 && first < MAX_CPUS ? first : cpu;
}

static int count_cores(const cpu_mask *mask) {
  cpu_mask cores = {0};
  for (int cpu = 0; cpu < MAX_CPUS; cpu++)
    if (CPU_ISSET_S(cpu, sizeof *mask, mask->sets)) CPU_SET_S(core_of(cpu), sizeof cores, cores.sets);
  return count_cpus(&cores);
}

/* ---- How idle threads wait ---- */

// As the launcher says it before MPI_Init; 1 without a launcher. Slurm's has the form "4(x2),3".
static int ranks_on_node(void) {
  static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *value = getenv(names[i]);
    long n = value ? strtol(value, NULL, 10) : 0;
    if (n > 0 && n < MAX_CPUS) return (int)n;
  }
  return 1;
}

// Whether the threads of the node's ranks get in each other's way. A rank that the launcher has bound has fewer CPUs
// than the launcher itself.
static bool threads_share_cpus(void) {
  cpu_mask own = mask_of(0), launcher = mask_of(getppid());
  int n_threads = omp_get_max_threads(), n_own = count_cpus(&own), n_launcher = count_cpus(&launcher);
  int n_all = n_launcher > n_own ? n_launcher : n_own;
  return n_own > 0 && (n_threads > n_own || (int64_t)n_threads * ranks_on_node() > n_all);
}

void gd_threads_wait_passively(char **argv) {
  char path[4096];
  bool is_chosen = getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || getenv("KMP_BLOCKTIME");
  if (is_chosen || omp_get_max_threads() == 1 || !threads_share_cpus()) return;
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = 0;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv(path, argv);  // OpenMP has read its variables already; where this fails, the run is only slower
}

/* ---- Ranks times threads, and the cores of the node ---- */

typedef struct node_use {
  char name[MPI_MAX_PROCESSOR_NAME];
  int n_ranks, n_threads, n_cpus, n_cores;
} node_use;

// Collective on comm.
static node_use use_of_node(const gd_comm *node) {
  node_use use = {.n_ranks = node->size, .n_threads = omp_get_max_threads()};
  int length;
  cpu_mask mask = mask_of(0);
  MPI_Get_processor_name(use.name, &length);
  MPI_Allreduce(MPI_IN_PLACE, &use.n_threads, 1, MPI_INT, MPI_SUM, node->mpi);
  MPI_Allreduce(MPI_IN_PLACE, &mask, (int)sizeof mask, MPI_BYTE, MPI_BOR, node->mpi);
  use.n_cpus = count_cpus(&mask);
  use.n_cores = count_cores(&mask);
  return use;
}

static gd_err check_too_many(const node_use *use) {
  if (use->n_threads <= use->n_cpus) return GD_OK;
  int fitting = use->n_cores / use->n_ranks;
  char *fewer = fitting > 0 ? gd_format("set OMP_NUM_THREADS=%d", fitting)
                            : gd_format("start at most %d ranks there and set OMP_NUM_THREADS=1", use->n_cores);
  gd_err err =
      gd_error(GD_ERR_FAILED,
               "node %s: ranks: %d, OpenMP threads: %d, cores: %d; the threads slow each other down: %s, or give "
               "each rank more cores (mpirun --map-by slot:PE=N, srun --cpus-per-task=N)",
               use->name, use->n_ranks, use->n_threads, use->n_cores, fewer);
  gd_free(fewer);
  return err;
}

// Not where the cores left over are too few for another thread in each rank.
static gd_err check_too_few(const node_use *use) {
  if (use->n_threads + use->n_ranks > use->n_cores) return GD_OK;
  return gd_error(GD_ERR_FAILED,
                  "node %s: ranks: %d, OpenMP threads: %d, cores: %d; cores stay unused: set OMP_NUM_THREADS=%d, or "
                  "start more ranks",
                  use->name, use->n_ranks, use->n_threads, use->n_cores, use->n_cores / use->n_ranks);
}

void gd_threads_check(const gd_comm *comm) {
  gd_err (*const checks[])(const node_use *) = {check_too_many, check_too_few};
  gd_comm *node = gd_comm_node(comm);
  node_use use = use_of_node(node);
  for (int i = 0; i < 2; i++)
    if (gd_comm_agree(comm, node->rank == 0 && use.n_cpus > 0 ? checks[i](&use) : GD_OK) != GD_OK)
      gd_log(GD_LOG_WARN, "%s", gd_error_message());
  gd_comm_destroy(&node);
}
