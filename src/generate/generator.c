/* A frozen network behind a sampler: gives the diffusion part an inference plan and a stream of noise. */
#include "generate/generator.h"

#include <string.h>

// Maximum number of images per run of the network: the maps between two of its layers then stay in the cache, which is
// 5 to 10 % faster than with 64.
enum { MAX_AT_ONCE = 16 };

struct gd_generator {
  const gd_schedule *schedule;
  gd_plan *plan;
  int batch;           // maximum number of images of a call
  int64_t n_elements;  // of one image
  float *output;       // (batch, H, W, C)
};

gd_err gd_generator_create(gd_generator **out, const gd_net *net, const gd_schedule *schedule, int batch,
                           gd_precision precision) {
  gd_generator *g = GD_NEW(gd_generator);
  gd_shape shape = gd_net_shape(net, 0);
  int pieces = (batch + MAX_AT_ONCE - 1) / MAX_AT_ONCE;
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

typedef struct generator_call {
  gd_generator *generator;
  int n;
  float *t;  // (n)
  const gd_sampler_noise *noise;
} generator_call;

static const float *call_predict(void *context, const float *x, float time) {
  generator_call *call = context;
  for (int i = 0; i < call->n; i++) call->t[i] = time;
  return gd_generator_predict(call->generator, x, call->t, call->n);
}

static void call_noise(void *context, int k, int image, float *z) {
  const generator_call *call = context;
  gd_random key = call->noise->key;
  uint64_t index = (uint64_t)(call->noise->first + image);
  if (call->noise->step_is_taken)
    index |= (uint64_t)k << 24;
  else
    key.step = (uint32_t)k;
  gd_random_normal(key, index, (size_t)call->generator->n_elements, z);
}

gd_nonfinite_sample gd_generator_sample_with(gd_generator *g, const gd_sampling *sampling, int n,
                                             void (*noise)(void *context, int k, int image, float *z), void *context,
                                             float *x) {
  generator_call call = {.generator = g, .n = n, .t = GD_NEW_ARRAY(float, n)};
  gd_sampling_calls calls = {
      .predict = call_predict, .predict_context = &call, .noise = noise, .noise_context = context};
  gd_nonfinite_sample nonfinite = gd_sample(g->schedule, sampling, &calls, n, g->n_elements, x);
  gd_free(call.t);
  return nonfinite;
}

gd_nonfinite_sample gd_generator_sample(gd_generator *g, const gd_sampling *sampling, int n,
                                        const gd_sampler_noise *noise, float *x) {
  generator_call call = {.generator = g, .noise = noise};
  return gd_generator_sample_with(g, sampling, n, call_noise, &call, x);
}
