/* A GD step on SimGrid's SMPI: the messages are those of the project's own src/comm/slot_sum*.c, computation is a delay
 * of the time that `gendistill bench --profile` measured for it, op by op, on one rank of one core.
 *
 *   step PROFILE.json [KEY=VALUE]...          (the keys: see `settings`)
 *
 * Prints one line of KEY=VALUE. Left out: how much the nodes differ among each other and from step to step, and
 * everything between two steps (metrics, data set). */
#define GD_PROJECTION_STEP
#include <jansson.h>
#include <limits.h>
#include <simgrid/actor.h>
#include <simgrid/host.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gendistill/comm.h"
#include "simulated.h"

enum { FOLDED = 1 << 28 };  // most bytes an array

typedef enum reduction { REDUCTION_TREE, REDUCTION_TREE_AFTER, REDUCTION_BLOCKING, REDUCTION_LIBRARY } reduction;

static const char *const reduction_names[] = {"tree", "tree-after", "blocking", "library"};

typedef struct settings {
  double speed;       // of a node's computation, over that of the measured core
  double memory;      // of a node's memory, over that of the measured core
  double add_rate;    // of the measured core, additions a second
  double copy_rate;   // bytes a second that the core itself moves of each message, at both ends; 0: the network does
  double targets;     // storage hosts, the last ones of the platform; 0: no checkpoint
  double hosts;       // of the platform
  double checkpoint;  // bytes
  reduction reduction;
} settings;

// Not told apart by rank: every rank reads the same.
static settings set = {.speed = 1, .memory = 1, .add_rate = 4e9, .hosts = 1056};

typedef struct op {
  double forward, backward;  // seconds
  int64_t first;             // gradients from here on are final after this op's backward
} op;

typedef struct profile {
  int n;
  op *ops;               // (n) in order of execution
  double before, after;  // seconds: teacher and what else comes before the student's forward; norm and optimiser
  double forward, backward;
  int64_t n_parameters;
} profile;

// ---- In place of the project's memory

// Every large array of every rank is the same memory, which nobody writes: SMPI leaves out the copying of it.
void *gd_alloc(size_t nbytes) {
  static void *folded;
  if (nbytes <= 1 << 16) return calloc(1, nbytes);
  GD_REQUIRE(nbytes <= FOLDED);
  if (!folded) folded = SMPI_SHARED_MALLOC(FOLDED);
  return folded;
}

void *gd_alloc_zero(size_t nbytes) {
  return gd_alloc(nbytes);
}

void gd_free(void *pointer) {
  (void)pointer;  // the program ends with its only step
}

static _Noreturn void fail(const char *object, const char *what) {
  fprintf(stderr, "step: %s: %s\n", object, what);
  exit(2);
}

// ---- Delays

static void work(double seconds) {
  if (seconds > 0) sg_actor_sleep_for(seconds);  // one rank a node: nobody else wants its cores
}

void gd_slot_add(float *into, const float *values, int64_t n) {
  (void)into;
  (void)values;
  work((double)n / (set.add_rate * set.memory));
}

// The copies of shared memory: half of them the sender's, half the receiver's.
static void copy(int64_t nbytes) {
  if (set.copy_rate > 0) work((double)nbytes / set.copy_rate / 2);
}

int simulated_isend(const void *buffer, int n, MPI_Datatype type, int to, int tag, MPI_Comm mpi, MPI_Request *request) {
  copy(4 * (int64_t)n);
  return MPI_Isend(buffer, n, type, to, tag, mpi, request);
}

int simulated_irecv(void *buffer, int n, MPI_Datatype type, int from, int tag, MPI_Comm mpi, MPI_Request *request) {
  copy(4 * (int64_t)n);
  return MPI_Irecv(buffer, n, type, from, tag, mpi, request);
}

// ---- Input

static double number(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  if (!json_is_number(value)) fail(key, "no such number in the profile");
  return json_number_value(value);
}

static double milliseconds(const json_t *layer) {
  return number(layer, "milliseconds_forward") + number(layer, "milliseconds_backward_data") +
         number(layer, "milliseconds_backward_weights");
}

static const json_t *layers_of(const json_t *json, const char *who) {
  const json_t *layers = json_object_get(json_object_get(json_object_get(json, "profile"), who), "layers");
  if (!json_is_array(layers)) fail(who, "no profile; bench needs --profile");
  return layers;
}

static void read_ops(profile *p, const json_t *layers) {
  p->n = (int)json_array_size(layers);
  p->ops = calloc((size_t)p->n, sizeof *p->ops);
  for (int i = 0; i < p->n; i++) {
    const json_t *layer = json_array_get(layers, (size_t)i);
    p->ops[i].forward = number(layer, "milliseconds_forward") / 1e3 / set.speed;
    p->ops[i].backward = milliseconds(layer) / 1e3 / set.speed - p->ops[i].forward;
    p->ops[i].first = p->n_parameters;
    p->n_parameters += (int64_t)number(layer, "parameters");
    p->forward += p->ops[i].forward;
    p->backward += p->ops[i].backward;
  }
}

// What is no op's time and not the optimiser's comes before the student's forward: noise, the sampler, the loss.
static profile read_profile(const char *path) {
  json_t *json = json_load_file(path, 0, NULL);
  if (!json) fail(path, "cannot be read as JSON");
  if (number(json, "ranks") != 1) fail(path, "is not from one rank");
  profile p = {0};
  read_ops(&p, layers_of(json, "student"));
  if (p.n_parameters != (int64_t)number(json, "parameters")) fail(path, "its layers do not have all parameters");
  if (p.n_parameters > INT_MAX) fail(path, "has more parameters than an int counts");
  double step = number(json, "batch_size") / number(json, "gd_step_images_per_second");
  double optimiser = number(json, "optimiser_seconds");
  p.before = (step - optimiser) / set.speed - p.forward - p.backward;
  p.after = optimiser / set.memory;
  set.checkpoint = number(json, "checkpoint_bytes");
  json_decref(json);
  if (p.before < 0) fail(path, "the ops take longer than the step");
  return p;
}

static void read_setting(const char *text) {
  const struct {
    const char *key;
    double *value;
  } numbers[] = {{"speed", &set.speed},         {"memory", &set.memory},   {"add_rate", &set.add_rate},
                 {"copy_rate", &set.copy_rate}, {"targets", &set.targets}, {"hosts", &set.hosts}};
  const char *value = strchr(text, '=');
  if (!value) fail(text, "must be KEY=VALUE");
  size_t length = (size_t)(value++ - text);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (strlen(numbers[i].key) != length || strncmp(numbers[i].key, text, length) != 0) continue;
    *numbers[i].value = strtod(value, NULL);
    return;
  }
  for (int i = 0; strncmp(text, "reduction=", 10) == 0 && i <= REDUCTION_LIBRARY; i++) {
    if (strcmp(reduction_names[i], value) != 0) continue;
    set.reduction = (reduction)i;
    return;
  }
  fail(text, "no such setting");
}

// ---- A plain all-reduce

// Recursive halving and doubling of the whole array, one exchange after the other: what MPI libraries do with long
// arrays on a power of two of ranks. SMPI's own needs the memory and the additions of all ranks on this machine.
// Contents mean nothing here, so what arrives may go anywhere.
static void allreduce_blocking(const gd_comm *comm, float *values, int64_t n) {
  int64_t begin[32], end[32];
  int level = 0;
  begin[0] = 0;
  end[0] = n;
  for (; 1 << level < comm->size; level++) {
    int partner = comm->rank ^ 1 << level;
    int64_t middle = begin[level] + (end[level] - begin[level]) / 2;
    bool upper = comm->rank >> level & 1;
    gd_range low = {begin[level], middle}, high = {middle, end[level]}, mine = upper ? high : low;
    gd_range other = upper ? low : high;
    MPI_Sendrecv(values + other.begin, (int)(other.end - other.begin), MPI_FLOAT, partner, 0, values,
                 (int)(mine.end - mine.begin), MPI_FLOAT, partner, 0, comm->mpi, MPI_STATUS_IGNORE);
    gd_slot_add(values + mine.begin, values, mine.end - mine.begin);
    begin[level + 1] = mine.begin;
    end[level + 1] = mine.end;
  }
  while (level-- > 0) {
    int partner = comm->rank ^ 1 << level;
    int64_t middle = begin[level] + (end[level] - begin[level]) / 2;
    gd_range low = {begin[level], middle}, high = {middle, end[level]};
    gd_range mine = comm->rank >> level & 1 ? high : low, other = comm->rank >> level & 1 ? low : high;
    MPI_Sendrecv(values + mine.begin, (int)(mine.end - mine.begin), MPI_FLOAT, partner, 0, values + other.begin,
                 (int)(other.end - other.begin), MPI_FLOAT, partner, 0, comm->mpi, MPI_STATUS_IGNORE);
  }
}

// ---- The step

typedef struct times {
  double step, reduction, checkpoint;
} times;

static void backward(const profile *p, gd_slot_sum *sum) {
  for (int i = p->n - 1; i >= 0; i--) {
    if (p->ops[i].backward <= 0) continue;
    work(p->ops[i].backward);
    if (set.reduction == REDUCTION_TREE) gd_slot_sum_ready(sum, true, p->ops[i].first);
  }
}

static void reduce(const gd_comm *comm, gd_slot_sum *sum, int64_t n) {
  if (set.reduction <= REDUCTION_TREE_AFTER) {
    gd_slot_sum_push(sum, comm->rank);
    gd_slot_sum_finish(sum);
    return;
  }
  float *values = gd_slot_sum_buffer(sum);
  if (set.reduction == REDUCTION_LIBRARY)
    MPI_Allreduce(MPI_IN_PLACE, values, (int)n, MPI_FLOAT, MPI_SUM, comm->mpi);
  else
    allreduce_blocking(comm, values, n);
}

// Every rank's part to a storage host, which takes it in at its link's rate.
static void checkpoint(const gd_comm *comm) {
  if (set.targets == 0) return;
  char name[32];
  snprintf(name, sizeof name, "node%d", (int)set.hosts - 1 - comm->rank % (int)set.targets);
  sg_host_t target = sg_host_by_name(name);
  if (!target) fail(name, "no such host in the platform");
  sg_host_sendto(sg_host_self(), target, set.checkpoint / comm->size);
  MPI_Barrier(comm->mpi);
}

static times step(const gd_comm *comm, const profile *p) {
  times t;
  gd_slot_sum *sum;
  gd_slot_sum_create(&sum, comm, comm->size, p->n_parameters, GD_REDUCTION_TREE);
  gd_slot_sum_buffer(sum);
  MPI_Barrier(comm->mpi);
  double start = MPI_Wtime();
  work(p->before + p->forward);
  backward(p, sum);
  double worked = MPI_Wtime();
  reduce(comm, sum, p->n_parameters);
  t.reduction = MPI_Wtime() - worked;
  work(p->after);
  MPI_Barrier(comm->mpi);
  double stepped = MPI_Wtime();
  t.step = stepped - start;
  checkpoint(comm);
  t.checkpoint = MPI_Wtime() - stepped;
  return t;
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  if (argc < 2) fail("usage", "step PROFILE.json [KEY=VALUE]...");
  for (int i = 2; i < argc; i++) read_setting(argv[i]);
  profile p = read_profile(argv[1]);
  gd_comm *comm;
  gd_comm_create(&comm, MPI_COMM_WORLD);
  times t = step(comm, &p), mean;
  MPI_Allreduce(&t.reduction, &mean.reduction, 1, MPI_DOUBLE, MPI_SUM, comm->mpi);
  if (comm->rank == 0)
    printf("nodes=%d step=%.9g alone=%.9g reduction=%.9g backward=%.9g checkpoint=%.9g\n", comm->size, t.step,
           p.before + p.forward + p.backward + p.after, mean.reduction / comm->size, p.backward, t.checkpoint);
  free(p.ops);
  MPI_Finalize();
  return 0;
}
