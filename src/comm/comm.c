/* The communicator handle, the agreement on errors, transfers of any size and block ranges. */
#include "gendistill/comm.h"

#include <stdio.h>

// Takes ownership of `mpi`.
static gd_comm *comm_of(MPI_Comm mpi) {
  gd_comm *comm = GD_NEW(gd_comm);
  comm->mpi = mpi;
  MPI_Comm_set_errhandler(comm->mpi, MPI_ERRORS_ARE_FATAL);
  MPI_Comm_rank(comm->mpi, &comm->rank);
  MPI_Comm_size(comm->mpi, &comm->size);
  return comm;
}

void gd_comm_create(gd_comm **out, MPI_Comm mpi) {
  MPI_Comm copy;
  MPI_Comm_dup(mpi, &copy);
  *out = comm_of(copy);
}

gd_comm *gd_comm_part(const gd_comm *comm, bool member) {
  MPI_Comm part;
  MPI_Comm_split(comm->mpi, member ? 0 : MPI_UNDEFINED, comm->rank, &part);
  return part == MPI_COMM_NULL ? NULL : comm_of(part);
}

gd_comm *gd_comm_node(const gd_comm *comm) {
  MPI_Comm node;
  MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &node);
  return comm_of(node);
}

void gd_comm_destroy(gd_comm **comm) {
  if (!*comm) return;
  MPI_Comm_free(&(*comm)->mpi);
  gd_free(*comm);
  *comm = NULL;
}

gd_err gd_comm_agree(const gd_comm *comm, gd_err local) {
  struct {
    int err;
    int rank;
  } mine = {(int)local, comm->rank}, worst;
  MPI_Allreduce(&mine, &worst, 1, MPI_2INT, MPI_MAXLOC, comm->mpi);  // the lowest rank with the worst status
  if (worst.err == GD_OK) return GD_OK;
  char message[4096] = "";
  if (comm->rank == worst.rank) snprintf(message, sizeof message, "%s", gd_error_message());
  MPI_Bcast(message, sizeof message, MPI_CHAR, worst.rank, comm->mpi);
  return gd_error((gd_err)worst.err, "%s", message);
}

/* ---- Large transfers ---- */

enum { PIECE_NBYTES = 1 << 28 };

static size_t piece_nbytes = PIECE_NBYTES;

int64_t gd_transfer_piece(size_t nbytes) {
  return nbytes < piece_nbytes ? (int64_t)(piece_nbytes / (nbytes ? nbytes : 1)) : 1;
}

void gd_transfer_limit(size_t nbytes) {
  piece_nbytes = nbytes ? nbytes : PIECE_NBYTES;
}

static int piece_length(int64_t left, int64_t piece) {
  return (int)(left < piece ? left : piece);
}

void gd_comm_broadcast(const gd_comm *comm, void *data, int64_t n, MPI_Datatype type, int root) {
  int size;
  MPI_Type_size(type, &size);
  int64_t piece = gd_transfer_piece((size_t)size);
  for (int64_t at = 0; at < n; at += piece)
    MPI_Bcast((char *)data + at * size, piece_length(n - at, piece), type, root, comm->mpi);
}

void gd_comm_share_images(const gd_comm *comm, void *data, int64_t n, int64_t width, MPI_Datatype type) {
  int size;
  MPI_Type_size(type, &size);
  for (int rank = 0; rank < comm->size; rank++) {
    gd_range part = gd_range_chunks(n, GD_IMAGE_CHUNK, comm->size, rank);
    char *place = (char *)data + part.begin * width * size;
    gd_comm_broadcast(comm, place, (part.end - part.begin) * width, type, rank);
  }
}

void gd_comm_allreduce(const gd_comm *comm, void *data, int64_t n, MPI_Datatype type, MPI_Op op) {
  int size;
  MPI_Type_size(type, &size);
  int64_t piece = gd_transfer_piece((size_t)size);
  for (int64_t at = 0; at < n; at += piece)
    MPI_Allreduce(MPI_IN_PLACE, (char *)data + at * size, piece_length(n - at, piece), type, op, comm->mpi);
}

/* ---- Ranges ---- */

gd_range gd_range_block(int64_t n, int64_t parts, int64_t part) {
  GD_REQUIRE(n >= 0 && parts > 0 && part >= 0 && part < parts);
  int64_t shorter = n / parts, n_longer = n % parts;
  gd_range range;
  range.begin = part * shorter + (part < n_longer ? part : n_longer);
  range.end = range.begin + shorter + (part < n_longer ? 1 : 0);
  return range;
}

gd_range gd_range_chunks(int64_t n, int64_t chunk, int64_t parts, int64_t part) {
  GD_REQUIRE(n >= 0 && chunk > 0 && parts > 0 && part >= 0 && part < parts);
  int64_t n_chunks = (n + chunk - 1) / chunk, length = (n_chunks + parts - 1) / parts * chunk;
  gd_range range = {.begin = part * length, .end = (part + 1) * length};
  if (range.begin > n) range.begin = n;
  if (range.end > n) range.end = n;
  return range;
}

gd_range gd_range_images(const gd_comm *comm, int64_t n) {
  return gd_range_chunks(n, GD_IMAGE_CHUNK, comm->size, comm->rank);
}
