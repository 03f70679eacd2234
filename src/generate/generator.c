/* A frozen network behind a sampler: gives the diffusion part an inference plan and a stream of noise. */
#include "generate/generator.h"

#include <string.h>

#include "gendistill/model.h"

// Maximum number of images per run of the network: the maps between two of its layers then stay in the cache, which is
// 5 to 10 % faster than with 64.
enum { MAX_AT_ONCE = 16 };

struct gd_generator {
  const gd_schedule *schedule;
  gd_plan *plan;
  int batch;           // maximum number of images of a call
  int null_label;      // -1: the network is not conditional
  int64_t n_elements;  // of one image
  float *output;       // (batch, H, W, C)
  float *guided;       // (batch, H, W, C); this and null_labels (batch) of a conditional network
  float *null_labels;
};

gd_err gd_generator_create(gd_generator **out, const gd_net *net, const gd_schedule *schedule, int batch,
                           gd_precision precision) {
  gd_generator *g = GD_NEW(gd_generator);
  gd_shape shape = gd_net_shape(net, 0);
  int pieces = (batch + MAX_AT_ONCE - 1) / MAX_AT_ONCE;
  g->schedule = schedule;
  g->batch = batch;
  g->null_label = gd_unet_null_label(net);
  g->n_elements = (int64_t)shape.h * shape.w * shape.c;
  g->output = GD_NEW_ARRAY(float, batch * g->n_elements);
  if (g->null_label >= 0) {
    g->guided = GD_NEW_ARRAY(float, batch * g->n_elements);
    g->null_labels = GD_NEW_ARRAY(float, batch);
    for (int i = 0; i < batch; i++) g->null_labels[i] = (float)g->null_label;
  }
  gd_err err = gd_plan_create(&g->plan, net, (batch + pieces - 1) / pieces, GD_INFERENCE, precision);
  if (err != GD_OK) gd_generator_destroy(&g);
  *out = g;
  return err;
}

void gd_generator_destroy(gd_generator **generator) {
  if (!*generator) return;
  gd_plan_destroy(&(*generator)->plan);
  gd_free((*generator)->output);
  gd_free((*generator)->guided);
  gd_free((*generator)->null_labels);
  gd_free(*generator);
  *generator = NULL;
}

size_t gd_generator_nbytes(const gd_generator *generator) {
  size_t images = (size_t)generator->batch * (size_t)generator->n_elements * sizeof(float);
  return gd_plan_nbytes(generator->plan) + (generator->guided ? 2 : 1) * images;
}

gd_plan *gd_generator_plan(gd_generator *generator) {
  return generator->plan;
}

void gd_generator_load(gd_generator *generator, const float *params) {
  gd_plan_load(generator->plan, params);
}

const float *gd_generator_predict(gd_generator *g, const gd_generator_input *in, const float *t) {
  GD_REQUIRE(in->n <= g->batch && !in->label == (g->null_label < 0));
  int step = gd_plan_batch(g->plan);
  for (int first = 0; first < in->n; first += step) {
    int length = in->n - first < step ? in->n - first : step;
    size_t nbytes = (size_t)length * (size_t)g->n_elements * sizeof(float);
    memcpy(gd_plan_input(g->plan, 0), in->x + first * g->n_elements, nbytes);
    memcpy(gd_plan_input(g->plan, 1), t + first, (size_t)length * sizeof(float));
    if (in->label) memcpy(gd_plan_input(g->plan, 2), in->label + first, (size_t)length * sizeof(float));
    memcpy(g->output + first * g->n_elements, gd_plan_forward(g->plan), nbytes);
  }
  return g->output;
}

/* ---- Sampling ---- */

typedef struct generator_call {
  gd_generator *generator;
  const gd_generator_input *in;
  float *t;         // (n)
  double guidance;  // 0: none
  const gd_sampler_noise *noise;
} generator_call;

// Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): away from what the null class predicts.
static const float *guide(const generator_call *call, gd_generator_input in, const float *output) {
  gd_generator *g = call->generator;
  int64_t count = in.n * g->n_elements;
  float with = (float)(1 + call->guidance), without = (float)call->guidance;
  memcpy(g->guided, output, (size_t)count * sizeof *output);
  in.label = g->null_labels;
  output = gd_generator_predict(g, &in, call->t);
#pragma omp parallel for simd
  for (int64_t i = 0; i < count; i++) g->guided[i] = with * g->guided[i] - without * output[i];
  return g->guided;
}

static const float *call_predict(void *context, const float *x, float time) {
  generator_call *call = context;
  gd_generator_input in = *call->in;
  in.x = (float *)x;
  for (int i = 0; i < in.n; i++) call->t[i] = time;
  const float *output = gd_generator_predict(call->generator, &in, call->t);
  return call->guidance > 0 ? guide(call, in, output) : output;
}

static void call_noise(void *context, int k, int image, float *z) {
  const generator_call *call = context;
  gd_random key = call->noise->key;
  uint64_t index = (uint64_t)(call->noise->first + (call->noise->rows ? call->noise->rows[image] : image));
  if (call->noise->step_is_taken)
    index |= (uint64_t)k << 24;
  else
    key.step = (uint32_t)k;
  gd_random_normal(key, index, (size_t)call->generator->n_elements, z);
}

gd_nonfinite_sample gd_generator_sample_with(gd_generator *g, const gd_sampling *sampling, const gd_generator_input *in,
                                             void (*noise)(void *context, int k, int image, float *z), void *context) {
  GD_REQUIRE(sampling->guidance == 0 || in->label);
  generator_call call = {.generator = g, .in = in, .t = GD_NEW_ARRAY(float, in->n), .guidance = sampling->guidance};
  gd_sampling_calls calls = {
      .predict = call_predict, .predict_context = &call, .noise = noise, .noise_context = context};
  gd_nonfinite_sample nonfinite = gd_sample(g->schedule, sampling, &calls, in->n, g->n_elements, in->x);
  gd_free(call.t);
  return nonfinite;
}

gd_nonfinite_sample gd_generator_sample(gd_generator *g, const gd_sampling *sampling, const gd_generator_input *in,
                                        const gd_sampler_noise *noise) {
  generator_call call = {.generator = g, .noise = noise};
  return gd_generator_sample_with(g, sampling, in, call_noise, &call);
}

static const float *call_predict_some(void *context, int n, const int *images, const float *x, const float *times) {
  generator_call *call = context;
  gd_generator_input in = {.n = n, .x = (float *)x};
  if (call->in->label) {
    for (int i = 0; i < n; i++) call->t[i] = call->in->label[images[i]];
    in.label = call->t;
  }
  return gd_generator_predict(call->generator, &in, times);
}

void gd_generator_sample_partly(gd_generator *g, const gd_sampling *sampling, const gd_generator_input *in,
                                const gd_sampler_noise *noise, const int *steps, const int *ends) {
  GD_REQUIRE(sampling->guidance == 0);
  generator_call call = {.generator = g, .in = in, .t = GD_NEW_ARRAY(float, in->n), .noise = noise};
  gd_sampling_calls calls = {
      .predict_some = call_predict_some, .predict_context = &call, .noise = call_noise, .noise_context = &call};
  gd_sample_partly(g->schedule, sampling, &calls, in->n, g->n_elements, steps, ends, in->x);
  gd_free(call.t);
}
