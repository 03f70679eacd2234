/* A frozen network behind a sampler: joins an inference plan to the diffusion part's `predict` callback. */
#include <string.h>

#include "gendistill/replay.h"

// Images that the network takes at a time: the maps between two of its layers then stay in the cache, which is 5 to 10
// % faster than 64 at a time.
enum { MOST_AT_ONCE = 16 };

struct gd_generator {
  const gd_schedule *schedule;
  gd_plan *plan;
  int batch;           // images of a call, at most
  int64_t n_elements;  // of one image
  float *output;       // (batch, H, W, C)
};

gd_err gd_generator_create(gd_generator **out, const gd_net *net, const gd_schedule *schedule, int batch,
                           gd_precision precision) {
  gd_generator *g = GD_NEW(gd_generator);
  gd_shape shape = gd_net_shape(net, 0);
  int pieces = (batch + MOST_AT_ONCE - 1) / MOST_AT_ONCE;
  g->schedule = schedule;
  g->batch = batch;
  g->n_elements = (int64_t)shape.h * shape.w * shape.c;
  g->output = GD_NEW_ARRAY(float, batch * g->n_elements);
  gd_err err = gd_plan_create(&g->plan, net, (batch + pieces - 1) / pieces, GD_INFERENCE, precision);
  if (err != GD_OK) gd_generator_destroy(&g);
  *out = g;
  return err;
}

void gd_generator_destroy(gd_generator **generator) {
  if (!*generator) return;
  gd_plan_destroy(&(*generator)->plan);
  gd_free((*generator)->output);
  gd_free(*generator);
  *generator = NULL;
}

size_t gd_generator_nbytes(const gd_generator *generator) {
  return gd_plan_nbytes(generator->plan) + (size_t)generator->batch * (size_t)generator->n_elements * sizeof(float);
}

gd_plan *gd_generator_plan(gd_generator *generator) {
  return generator->plan;
}

void gd_generator_load(gd_generator *generator, const float *params) {
  gd_plan_load(generator->plan, params);
}

const float *gd_generator_predict(gd_generator *g, const float *x, const float *t, int n) {
  GD_REQUIRE(n <= g->batch);
  int step = gd_plan_batch(g->plan);
  for (int first = 0; first < n; first += step) {
    int length = n - first < step ? n - first : step;
    size_t nbytes = (size_t)length * (size_t)g->n_elements * sizeof(float);
    memcpy(gd_plan_input(g->plan, 0), x + first * g->n_elements, nbytes);
    memcpy(gd_plan_input(g->plan, 1), t + first, (size_t)length * sizeof(float));
    memcpy(g->output + first * g->n_elements, gd_plan_forward(g->plan), nbytes);
  }
  return g->output;
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

gd_nonfinite_sample gd_generator_sample(gd_generator *g, const gd_config_sampling *sampling, int n,
                                        gd_sampling_noise noise, void *noise_context, float *x) {
  predict_context context = {.generator = g, .n = n, .t = GD_NEW_ARRAY(float, n)};
  gd_nonfinite_sample nonfinite =
      gd_sample(g->schedule, sampling, n, g->n_elements, predict, &context, noise, noise_context, x);
  gd_free(context.t);
  return nonfinite;
}
