/* A frozen network behind a sampler: joins an inference plan to the diffusion part's `predict` callback. */
#include <string.h>

#include "gendistill/replay.h"

struct gd_generator {
  const gd_schedule *schedule;
  gd_plan *plan;
  int64_t n_elements;  // of one image
};

gd_err gd_generator_create(gd_generator **out, const gd_net *net, const gd_schedule *schedule, int batch) {
  gd_generator *g = GD_NEW(gd_generator);
  g->schedule = schedule;
  gd_shape shape = gd_net_shape(net, 0);
  g->n_elements = (int64_t)shape.h * shape.w * shape.c;
  gd_err err = gd_plan_create(&g->plan, net, batch, GD_INFERENCE);
  if (err != GD_OK) gd_generator_destroy(&g);
  *out = g;
  return err;
}

void gd_generator_destroy(gd_generator **generator) {
  if (!*generator) return;
  gd_plan_destroy(&(*generator)->plan);
  gd_free(*generator);
  *generator = NULL;
}

size_t gd_generator_nbytes(const gd_generator *generator) {
  return gd_plan_nbytes(generator->plan);
}

void gd_generator_load(gd_generator *generator, const float *params) {
  gd_plan_load(generator->plan, params);
}

const float *gd_generator_predict(gd_generator *g, const float *x, const float *t, int n) {
  GD_REQUIRE(n <= gd_plan_batch(g->plan));
  memcpy(gd_plan_input(g->plan, 0), x, (size_t)n * (size_t)g->n_elements * sizeof(float));
  memcpy(gd_plan_input(g->plan, 1), t, (size_t)n * sizeof(float));
  return gd_plan_forward(g->plan);
}

typedef struct predict_context {
  gd_generator *generator;
  int n;
  float *t;  // (n)
} predict_context;

static const float *predict(void *context, const float *x, int t) {
  predict_context *c = context;
  for (int i = 0; i < c->n; i++) c->t[i] = (float)t;
  return gd_generator_predict(c->generator, x, c->t, c->n);
}

void gd_generator_sample(gd_generator *g, const gd_config_sampling *sampling, int n, gd_sampling_noise noise,
                         void *noise_context, float *x) {
  predict_context context = {.generator = g, .n = n, .t = GD_NEW_ARRAY(float, n)};
  gd_sample(g->schedule, sampling, n, g->n_elements, predict, &context, noise, noise_context, x);
  gd_free(context.t);
}
