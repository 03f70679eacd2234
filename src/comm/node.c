/* The ranks of a node, and arrays of which they hold one copy together. */
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "gendistill/comm.h"

struct gd_node_array {
  size_t nbytes;
  void *data;
  MPI_Win window;    // of the node's ranks; MPI_WIN_NULL: `data` is this rank's own copy
  gd_comm *holders;  // the ranks with memory of their own, rank 0 of the array's comm first; NULL on the others
};

// Shared memory is a file in /dev/shm. MPI needs some room beside ours.
enum { SPARE_NBYTES = 16 << 20 };

// Before MPI is asked: where it finds no room, Open MPI 4 returns on the first rank and waits forever on the others.
static gd_err check_room(size_t nbytes) {
  double room = (double)nbytes + SPARE_NBYTES, needed = room;
  const char *where = "";
  struct statvfs system;
  struct rlimit limit;
  if (statvfs("/dev/shm", &system) == 0 && system.f_blocks > 0 &&  // none: no such limit
      (double)system.f_bavail * (double)system.f_frsize < room) {
    room = (double)system.f_bavail * (double)system.f_frsize;
    where = "in /dev/shm";
  }
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && (double)limit.rlim_cur < room) {
    room = (double)limit.rlim_cur;
    where = "within the limit of file size (ulimit -f)";
  }
  if (room >= needed) return GD_OK;
  char node[MPI_MAX_PROCESSOR_NAME];
  int length;
  MPI_Get_processor_name(node, &length);
  return gd_error(GD_ERR_FAILED, "node %s: shared memory has room for %.1f MiB %s", node, room / 1048576, where);
}

// Pages lie in the memory of the rank that touches them first, the node's first one.
static void share_memory(gd_node_array *array, const gd_comm *node) {
  MPI_Aint nbytes = node->rank == 0 ? (MPI_Aint)array->nbytes : 0;
  int unit, code;
  MPI_Comm_set_errhandler(node->mpi, MPI_ERRORS_RETURN);
  code = MPI_Win_allocate_shared(nbytes, 1, MPI_INFO_NULL, node->mpi, &array->data, &array->window);
  if (code == MPI_SUCCESS) code = MPI_Win_shared_query(array->window, 0, &nbytes, &unit, &array->data);
  if (code == MPI_SUCCESS) return;
  char reason[MPI_MAX_ERROR_STRING];
  int length;
  MPI_Error_string(code, reason, &length);
  gd_abort("the ranks of a node cannot share %.1f MiB of memory through MPI: %s", (double)array->nbytes / 1048576,
           reason);
}

void gd_node_array_create(gd_node_array **out, const gd_comm *comm, size_t nbytes) {
  gd_node_array *array = GD_NEW(gd_node_array);
  gd_comm *node = gd_comm_node(comm);
  gd_err room = node->rank == 0 && node->size > 1 ? check_room(nbytes) : GD_OK;
  int is_shared = node->size > 1 && room == GD_OK;
  MPI_Bcast(&is_shared, 1, MPI_INT, 0, node->mpi);
  if (gd_comm_agree(comm, room) != GD_OK)
    gd_log(GD_LOG_WARN, "%s: each of its ranks holds a copy of %.1f MiB instead of sharing one", gd_error_message(),
           (double)nbytes / 1048576);
  *array = (gd_node_array){.nbytes = nbytes, .window = MPI_WIN_NULL};
  array->holders = gd_comm_part(comm, !is_shared || node->rank == 0);
  if (is_shared)
    share_memory(array, node);
  else
    array->data = gd_alloc(nbytes);
  gd_comm_destroy(&node);
  *out = array;
}

void gd_node_array_destroy(gd_node_array **array) {
  if (!*array) return;
  if ((*array)->window != MPI_WIN_NULL)
    MPI_Win_free(&(*array)->window);
  else
    gd_free((*array)->data);
  gd_comm_destroy(&(*array)->holders);
  gd_free(*array);
  *array = NULL;
}

void *gd_node_array_data(const gd_node_array *array) {
  return array->data;
}

size_t gd_node_array_nbytes(const gd_node_array *array) {
  return array->holders ? array->nbytes : 0;
}

void gd_node_array_publish(gd_node_array *array) {
  if (array->holders) gd_comm_broadcast(array->holders, array->data, (int64_t)array->nbytes, MPI_UINT8_T, 0);
  if (array->window != MPI_WIN_NULL) MPI_Win_fence(MPI_MODE_NOSUCCEED, array->window);
}
