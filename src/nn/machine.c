/* What this machine can do: its instructions, and its measured rates, which limit everything else. A rate is that of
 * the fastest of several runs, because disturbances only make a run slower. */
#include <float.h>

#include "nn/bfloat16.h"
#include "nn/dnnl.h"

enum {
  MIN_RUNS = 3,
  SMALL_SIDE = 512,  // of a matrix
  LARGE_SIDE = 2048,
  TRIAD_FLOATS = 1 << 24,  // 64 MiB per array
};

static const double min_seconds = 0.3;
static const double slow_matmul_seconds = 0.05;  // of the small product; the large one takes 64 times as long

char *gd_nn_library(void) {
  static const struct {
    dnnl_cpu_isa_t isa;
    const char *name;
  } all[] = {{dnnl_cpu_isa_avx512_core_amx, "AVX512_CORE_AMX"},
             {dnnl_cpu_isa_avx512_core_bf16, "AVX512_CORE_BF16"},
             {dnnl_cpu_isa_avx512_core_vnni, "AVX512_CORE_VNNI"},
             {dnnl_cpu_isa_avx512_core, "AVX512_CORE"},
             {dnnl_cpu_isa_avx2, "AVX2"},
             {dnnl_cpu_isa_avx, "AVX"},
             {dnnl_cpu_isa_sse41, "SSE41"}};
  const dnnl_version_t *version = dnnl_version();
#ifdef __aarch64__
  const char *name = "AArch64";
#else
  const char *name = "no vector instructions";
#endif
  for (size_t i = sizeof all / sizeof *all; i-- > 0;)
    if (gd_dnnl_has_isa(all[i].isa)) name = all[i].name;
  return gd_format("oneDNN %d.%d.%d (%s)", version->major, version->minor, version->patch, name);
}

bool gd_precision_supported(gd_precision precision) {
  return precision == GD_FLOAT32 || gd_dnnl_has_isa(dnnl_cpu_isa_avx512_core_bf16);
}

gd_precision gd_precision_agree(const gd_comm *comm, gd_precision wanted) {
  static bool warned;
  int supported = gd_precision_supported(wanted);
  MPI_Allreduce(MPI_IN_PLACE, &supported, 1, MPI_INT, MPI_MIN, comm->mpi);
  if (supported) return wanted;
  if (!warned)
    gd_log(GD_LOG_WARN,
           "training.precision is bfloat16, but not every rank's CPU has instructions for it (AVX512_BF16 or AMX): "
           "computing in float32");
  warned = true;
  return GD_FLOAT32;
}

// Of the fastest run, after one that is not measured.
static double best_seconds(void (*run)(void *), void *context) {
  run(context);
  double best = DBL_MAX, begin = gd_seconds();
  for (int i = 0; i < MIN_RUNS || gd_seconds() - begin < min_seconds; i++) {
    double start = gd_seconds();
    run(context);
    double seconds = gd_seconds() - start;
    if (seconds < best) best = seconds;
  }
  return best;
}

// ---- Matrix product

typedef struct matmul {
  gd_primitive primitive;
  gd_op op;
} matmul;

static void run_matmul(void *context) {
  matmul *m = context;
  gd_primitive_run(&m->primitive, &m->op);
}

static gd_md square_matrix(int side, gd_precision precision, dnnl_format_tag_t layout) {
  return gd_md_get(2, (dnnl_dims_t){side, side}, gd_dnnl_type(precision), layout);
}

// Adds an argument and its memory, filled with arbitrary numbers; gd_free.
static void *add_matrix(matmul *m, int name, dnnl_query_t which, gd_precision precision) {
  gd_md md = gd_primitive_md(&m->primitive, which, 0);
  size_t nbytes = dnnl_memory_desc_get_size(md);
  int64_t n = (int64_t)(nbytes / gd_element_nbytes(precision));
  float *numbers = gd_alloc((size_t)n * sizeof(float));
  for (int64_t i = 0; i < n; i++) numbers[i] = (float)(i * 37 % 251) / 251.0f - 0.5f;
  void *data = gd_alloc(nbytes);
  gd_tensor_convert(GD_FLOAT32, numbers, precision, data, n);
  gd_free(numbers);
  gd_primitive_arg(&m->primitive, name, md);
  gd_primitive_set(&m->primitive, name, data);
  return data;
}

static double matmul_seconds(int side, gd_precision precision) {
  const gd_op_class kind = {.kind = "matrix product"};
  const gd_node node = {.kind = &kind};
  matmul m = {.op = {.node = &node, .batch = 1}};
  // the weights in oneDNN's preferred layout, like those of a plan
  gd_operation product = {.kind = dnnl_matmul,
                          .x = square_matrix(side, precision, dnnl_ab),
                          .weights = square_matrix(side, precision, dnnl_format_tag_any),
                          .y = square_matrix(side, GD_FLOAT32, dnnl_ab)};
  if (gd_primitive_create(&m.primitive, &m.op, &product, GD_PASS_FORWARD, (gd_primitive_options){0}) != GD_OK)
    gd_abort("%s", gd_error_message());
  m.op.scratch = gd_alloc(m.op.scratch_nbytes);
  void *a = add_matrix(&m, DNNL_ARG_SRC, dnnl_query_src_md, precision);
  void *b = add_matrix(&m, DNNL_ARG_WEIGHTS, dnnl_query_weights_md, precision);
  void *c = add_matrix(&m, DNNL_ARG_DST, dnnl_query_dst_md, GD_FLOAT32);
  double seconds = best_seconds(run_matmul, &m);
  gd_primitive_release(&m.primitive);
  gd_free(m.op.scratch);
  gd_free(a);
  gd_free(b);
  gd_free(c);
  return seconds;
}

double gd_measure_matmul(gd_precision precision) {
  int side = SMALL_SIDE;
  double seconds = matmul_seconds(side, precision);
  if (seconds < slow_matmul_seconds) {
    side = LARGE_SIDE;
    seconds = matmul_seconds(side, precision);
  }
  return 2.0 * side * side * side / seconds;
}

// ---- Memory

typedef struct triad {
  float *a, *b, *c;  // (TRIAD_FLOATS)
} triad;

static void run_triad(void *context) {
  const triad *t = context;
  float *restrict a = t->a;
  const float *restrict b = t->b, *restrict c = t->c;
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < TRIAD_FLOATS; i++) a[i] = b[i] + 3.0f * c[i];
}

double gd_measure_memory(void) {
  size_t nbytes = TRIAD_FLOATS * sizeof(float);
  triad t = {.a = gd_alloc(nbytes), .b = gd_alloc(nbytes), .c = gd_alloc(nbytes)};
  // first touched by the threads that work on them, so that they are placed in those threads' memory
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < TRIAD_FLOATS; i++) {
    t.a[i] = 0;
    t.b[i] = 1;
    t.c[i] = 2;
  }
  double seconds = best_seconds(run_triad, &t);
  GD_REQUIRE(t.a[0] == 7 && t.a[TRIAD_FLOATS - 1] == 7);
  gd_free(t.a);
  gd_free(t.b);
  gd_free(t.c);
  return 3.0 * (double)nbytes / seconds;
}
