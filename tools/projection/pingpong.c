/* What messages and additions cost between two ranks of this machine, for the projection's validation: latency of a
 * small message; bytes a second each way of an exchange of messages as long as the reduction's; additions a second of
 * one rank while the other rests, and while it does the same. Medians, over arrays as large as the network's gradient.
 * Prints one line of KEY=VALUE. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  ROUNDS = 2000,    // of small messages
  CHUNK = 1 << 18,  // floats a message, and an addition: GD_SLOT_CHUNK's
  N_CHUNKS = 160,   // 168 MB
  REPEATS = 15,
};

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values) {
  qsort(values, REPEATS, sizeof *values, ascending);
  return values[REPEATS / 2];
}

static double latency(int rank) {
  double seconds[REPEATS];
  char byte = 0;
  for (int r = 0; r < REPEATS; r++) {
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int i = 0; i < ROUNDS; i++) {
      if (rank == 0) MPI_Send(&byte, 1, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
      MPI_Recv(&byte, 1, MPI_CHAR, !rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      if (rank == 1) MPI_Send(&byte, 1, MPI_CHAR, 0, 0, MPI_COMM_WORLD);
    }
    seconds[r] = (MPI_Wtime() - start) / ROUNDS / 2;
  }
  return median(seconds);
}

// Seconds of an exchange of CHUNK floats each way, the arrays out of the cache.
static double exchange(int rank, float *out, float *in) {
  double seconds[REPEATS];
  for (int r = 0; r < REPEATS; r++) {
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int i = 0; i < N_CHUNKS; i++)
      MPI_Sendrecv(out + (size_t)i * CHUNK, CHUNK, MPI_FLOAT, !rank, 0, in + (size_t)i % 6 * CHUNK, CHUNK, MPI_FLOAT,
                   !rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    seconds[r] = (MPI_Wtime() - start) / N_CHUNKS;
  }
  return median(seconds);
}

// Seconds of CHUNK additions of what has just arrived to an array out of the cache, on the ranks below n_busy.
static double addition(int rank, int n_busy, float *into, const float *values) {
  double seconds[REPEATS];
  for (int r = 0; r < REPEATS; r++) {
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    for (int i = 0; i < N_CHUNKS && rank < n_busy; i++) {
      float *a = into + (size_t)i * CHUNK;
      const float *b = values + (size_t)i % 6 * CHUNK;
#pragma GCC ivdep
      for (int k = 0; k < CHUNK; k++) a[k] += b[k];
    }
    seconds[r] = (MPI_Wtime() - start) / N_CHUNKS;
  }
  return median(seconds);
}

static float large[(size_t)N_CHUNKS * CHUNK], small[(size_t)6 * CHUNK];

int main(int argc, char **argv) {
  int rank, size;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size != 2) {
    if (rank == 0) fprintf(stderr, "pingpong: needs two ranks\n");
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  for (size_t i = 0; i < (size_t)N_CHUNKS * CHUNK; i++) large[i] = (float)rank;
  double lat = latency(rank), exchanged = exchange(rank, large, small);
  double alone = addition(rank, 1, large, small), both = addition(rank, 2, large, small);
  if (rank == 0)
    printf("latency=%.4g exchange=%.4g add_alone=%.4g add_both=%.4g\n", lat, 4.0 * CHUNK / exchanged, CHUNK / alone,
           CHUNK / both);
  MPI_Finalize();
  return 0;
}
