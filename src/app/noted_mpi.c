/* Wrappers of the MPI functions that may wait for other ranks or for a file system: each is recorded for the watchdog
 * while it runs. Part of the program, not of the library, which leaves the calls of whoever links it alone.
 *
 * By MPI's profiling interface a program's own MPI_X replaces the library's, which is also called PMPI_X. So the calls
 * of HDF5 and ScaLAPACK are recorded as well. Only the main thread may call these; the watchdog's thread calls PMPI_X.
 * store/write_errors.c does the same for opening and writing files. */
#include <mpi.h>

#include "gendistill/base.h"

#define NOTED(function, parameters, ...)                    \
  int MPI_##function parameters {                           \
    const char *outer = gd_progress_call("MPI_" #function); \
    int code = PMPI_##function(__VA_ARGS__);                \
    gd_progress_call(outer);                                \
    return code;                                            \
  }

#define TYPE MPI_Datatype

NOTED(Barrier, (MPI_Comm comm), comm)
NOTED(Bcast, (void *data, int n, TYPE type, int root, MPI_Comm comm), data, n, type, root, comm)
NOTED(Reduce, (const void *in, void *out, int n, TYPE type, MPI_Op op, int root, MPI_Comm comm), in, out, n, type, op,
      root, comm)
NOTED(Allreduce, (const void *in, void *out, int n, TYPE type, MPI_Op op, MPI_Comm comm), in, out, n, type, op, comm)
NOTED(Exscan, (const void *in, void *out, int n, TYPE type, MPI_Op op, MPI_Comm comm), in, out, n, type, op, comm)
NOTED(Gather, (const void *in, int n, TYPE type, void *out, int m, TYPE out_type, int root, MPI_Comm comm), in, n, type,
      out, m, out_type, root, comm)
NOTED(Gatherv,
      (const void *in, int n, TYPE type, void *out, const int m[], const int at[], TYPE out_type, int root,
       MPI_Comm comm),
      in, n, type, out, m, at, out_type, root, comm)
NOTED(Allgather, (const void *in, int n, TYPE type, void *out, int m, TYPE out_type, MPI_Comm comm), in, n, type, out,
      m, out_type, comm)
NOTED(Allgatherv,
      (const void *in, int n, TYPE type, void *out, const int m[], const int at[], TYPE out_type, MPI_Comm comm), in, n,
      type, out, m, at, out_type, comm)
NOTED(Alltoallv,
      (const void *in, const int n[], const int from[], TYPE type, void *out, const int m[], const int at[],
       TYPE out_type, MPI_Comm comm),
      in, n, from, type, out, m, at, out_type, comm)

NOTED(Send, (const void *data, int n, TYPE type, int to, int tag, MPI_Comm comm), data, n, type, to, tag, comm)
NOTED(Recv, (void *data, int n, TYPE type, int from, int tag, MPI_Comm comm, MPI_Status *status), data, n, type, from,
      tag, comm, status)
NOTED(Wait, (MPI_Request * request, MPI_Status *status), request, status)
NOTED(Waitall, (int n, MPI_Request requests[], MPI_Status statuses[]), n, requests, statuses)

NOTED(Comm_dup, (MPI_Comm comm, MPI_Comm *copy), comm, copy)
NOTED(Comm_split, (MPI_Comm comm, int color, int key, MPI_Comm *part), comm, color, key, part)
NOTED(Comm_split_type, (MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *part), comm, type, key, info, part)
NOTED(Comm_create, (MPI_Comm comm, MPI_Group group, MPI_Comm *part), comm, group, part)
NOTED(Comm_free, (MPI_Comm * comm), comm)

NOTED(Win_allocate_shared, (MPI_Aint n, int unit, MPI_Info info, MPI_Comm comm, void *data, MPI_Win *window), n, unit,
      info, comm, data, window)
NOTED(Win_fence, (int assertion, MPI_Win window), assertion, window)
NOTED(Win_free, (MPI_Win * window), window)

NOTED(File_close, (MPI_File * file), file)
NOTED(File_set_view, (MPI_File file, MPI_Offset at, TYPE element, TYPE type, const char *representation, MPI_Info info),
      file, at, element, type, representation, info)
NOTED(File_read_at, (MPI_File file, MPI_Offset at, void *data, int n, TYPE type, MPI_Status *status), file, at, data, n,
      type, status)
NOTED(File_read_at_all, (MPI_File file, MPI_Offset at, void *data, int n, TYPE type, MPI_Status *status), file, at,
      data, n, type, status)
NOTED(File_write_at_all, (MPI_File file, MPI_Offset at, const void *data, int n, TYPE type, MPI_Status *status), file,
      at, data, n, type, status)
