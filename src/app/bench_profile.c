/* What a GD step spends on each op and on each kind of op, on rank 0: as JSON, and as tables for a person. The
 * student's network and the teacher's are separate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/bench.h"

enum { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS, N_PASSES };

// ---- Taking

static gd_bench_row make_row(gd_op_profile p, int repeats) {
  gd_bench_row row = {.kind = p.kind, .name = p.name, .in = p.in, .out = p.out, .n_parameters = p.n_parameters};
  double forward = p.flops * (double)p.n_forward / repeats, backward = p.flops * (double)p.n_backward / repeats;
  bool has_weights = *p.name;
  row.seconds[FORWARD] = p.seconds_forward / repeats;
  row.seconds[BACKWARD_DATA] = p.seconds_backward_data / repeats;
  row.seconds[BACKWARD_WEIGHTS] = p.seconds_backward_weights / repeats;
  row.flops[FORWARD] = forward;
  row.flops[BACKWARD_DATA] = p.by_data ? (has_weights ? 1 : 2) * backward : 0;
  row.flops[BACKWARD_WEIGHTS] = has_weights ? backward : 0;
  return row;
}

void gd_bench_profile_take(gd_bench_profile *out, const gd_plan *plan, int repeats, double step_seconds) {
  *out = (gd_bench_profile){.n = gd_plan_n_ops(plan), .step_seconds = step_seconds};
  out->ops = gd_alloc_zero((size_t)out->n * sizeof *out->ops);
  for (int i = 0; i < out->n; i++) {
    out->ops[i] = make_row(gd_plan_profile(plan, i), repeats);
    out->ops[i].name = gd_strdup(out->ops[i].name);  // the plan goes before the tables are drawn
  }
}

void gd_bench_profile_clear(gd_bench_profile *profile) {
  for (int i = 0; i < profile->n; i++) gd_free((char *)profile->ops[i].name);
  gd_free(profile->ops);
  *profile = (gd_bench_profile){0};
}

// ---- By kind

static double total_seconds(const double passes[N_PASSES]) {
  return passes[FORWARD] + passes[BACKWARD_DATA] + passes[BACKWARD_WEIGHTS];
}

static void add_row(gd_bench_row *into, const gd_bench_row *row) {
  for (int pass = 0; pass < N_PASSES; pass++) {
    into->seconds[pass] += row->seconds[pass];
    into->flops[pass] += row->flops[pass];
  }
}

static int slowest_first(const void *a, const void *b) {
  double x = total_seconds(((const gd_bench_row *)a)->seconds), y = total_seconds(((const gd_bench_row *)b)->seconds);
  return (x < y) - (x > y);
}

// New array of a row a kind and, last, one of all together.
static gd_bench_row *make_kinds(const gd_bench_profile *p, int *n) {
  gd_bench_row *kinds = gd_alloc_zero((size_t)(p->n + 1) * sizeof *kinds), all = {.kind = "all"};
  *n = 0;
  for (int i = 0; i < p->n; i++) {
    int k = 0;
    while (k < *n && strcmp(kinds[k].kind, p->ops[i].kind) != 0) k++;
    if (k == *n) kinds[(*n)++].kind = p->ops[i].kind;
    add_row(&kinds[k], &p->ops[i]);
    add_row(&all, &p->ops[i]);
  }
  qsort(kinds, (size_t)*n, sizeof *kinds, slowest_first);
  kinds[(*n)++] = all;
  return kinds;
}

// ---- JSON

static double gflops(double flops, double seconds) {
  return seconds > 0 ? flops / seconds / 1e9 : 0;
}

static double share_of_matmul(const gd_bench *b, const gd_bench_row *row) {
  return gflops(total_seconds(row->flops), total_seconds(row->seconds)) * 1e9 / b->matmul;
}

static json_t *row_json(const gd_bench *b, const gd_bench_row *row, double step_seconds) {
  const double *s = row->seconds, *f = row->flops;
  return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "kind", row->kind, "milliseconds_forward",
                   s[FORWARD] * 1e3, "milliseconds_backward_data", s[BACKWARD_DATA] * 1e3,
                   "milliseconds_backward_weights", s[BACKWARD_WEIGHTS] * 1e3, "share_of_step",
                   total_seconds(s) / step_seconds, "gflops_per_second", gflops(total_seconds(f), total_seconds(s)),
                   "gflops_per_second_forward", gflops(f[FORWARD], s[FORWARD]), "gflops_per_second_backward_data",
                   gflops(f[BACKWARD_DATA], s[BACKWARD_DATA]), "gflops_per_second_backward_weights",
                   gflops(f[BACKWARD_WEIGHTS], s[BACKWARD_WEIGHTS]), "share_of_matmul", share_of_matmul(b, row));
}

static json_t *shape_json(gd_shape shape) {
  return json_pack("[i, i, i]", shape.h, shape.w, shape.c);
}

static json_t *profile_json(const gd_bench *b, const gd_bench_profile *p) {
  json_t *kinds_json = json_array(), *layers_json = json_array();
  int n;
  gd_bench_row *kinds = make_kinds(p, &n);
  for (int i = 0; i < n; i++) json_array_append_new(kinds_json, row_json(b, &kinds[i], p->step_seconds));
  gd_free(kinds);
  for (int i = 0; i < p->n; i++) {
    json_t *layer = row_json(b, &p->ops[i], p->step_seconds);
    json_object_set_new(layer, "name", json_string(p->ops[i].name));
    json_object_set_new(layer, "parameters", json_integer(p->ops[i].n_parameters));
    json_object_set_new(layer, "in", shape_json(p->ops[i].in));
    json_object_set_new(layer, "out", shape_json(p->ops[i].out));
    json_array_append_new(layers_json, layer);
  }
  return json_pack("{s:o, s:o}", "kinds", kinds_json, "layers", layers_json);
}

void gd_bench_profile_put(gd_bench *b) {
  json_t *profile = json_object();
  json_object_set_new(profile, "student", profile_json(b, &b->student));
  if (b->teacher.n > 0) json_object_set_new(profile, "teacher", profile_json(b, &b->teacher));
  json_object_set_new(b->json, "profile", profile);
}

// ---- Tables

static void print_cell(int width, int digits, double value) {
  if (value > 0)
    fprintf(stderr, " %*.*f", width, digits, value);
  else
    fprintf(stderr, " %*s", width, "-");
}

static void print_milliseconds(const gd_bench_row *row) {
  for (int pass = 0; pass < N_PASSES; pass++) print_cell(9, 3, row->seconds[pass] * 1e3);
}

static void print_kinds(const gd_bench *b, const gd_bench_profile *p) {
  int n;
  gd_bench_row *kinds = make_kinds(p, &n);
  fprintf(stderr, "%-16s %9s %9s %9s %8s %9s %8s\n", "kind", "forward", "data", "weights", "% step", "GFLOP/s",
          "% matmul");
  for (int i = 0; i < n; i++) {
    const gd_bench_row *row = &kinds[i];
    fprintf(stderr, "%-16s", row->kind);
    print_milliseconds(row);
    print_cell(8, 1, 100 * total_seconds(row->seconds) / p->step_seconds);
    print_cell(9, 1, gflops(total_seconds(row->flops), total_seconds(row->seconds)));
    print_cell(8, 1, 100 * share_of_matmul(b, row));
    fputc('\n', stderr);
  }
  gd_free(kinds);
}

static void print_layers(const gd_bench *b, const gd_bench_profile *p) {
  fprintf(stderr, "\n%-38s %-14s %-10s    %-10s %9s %9s %9s %23s %s\n", "layer", "kind", "in", "out", "forward", "data",
          "weights", "GFLOP/s of each", "matmul%");
  for (int i = 0; i < p->n; i++) {
    const gd_bench_row *row = &p->ops[i];
    char in[32], out[32];
    snprintf(in, sizeof in, "%dx%dx%d", row->in.h, row->in.w, row->in.c);
    snprintf(out, sizeof out, "%dx%dx%d", row->out.h, row->out.w, row->out.c);
    fprintf(stderr, "%-38.38s %-14.14s %-10s -> %-10s", row->name, row->kind, in, out);
    print_milliseconds(row);
    for (int pass = 0; pass < N_PASSES; pass++) print_cell(7, 1, gflops(row->flops[pass], row->seconds[pass]));
    print_cell(7, 1, 100 * share_of_matmul(b, row));
    fputc('\n', stderr);
  }
}

static void print_profile(const gd_bench *b, const char *who, const gd_bench_profile *p) {
  if (p->n == 0) return;
  fprintf(stderr,
          "\n---- The %s's network in a GD step of %.3f ms, on rank 0. Milliseconds per step: forward, and backward\n"
          "     for the gradients by data and by weights\n\n",
          who, p->step_seconds * 1e3);
  print_kinds(b, p);
  print_layers(b, p);
}

void gd_bench_profile_print(const gd_bench *b) {
  print_profile(b, "student", &b->student);
  print_profile(b, "teacher", &b->teacher);
}
