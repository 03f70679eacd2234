/* A frozen network behind a sampler, and sets of images made by all ranks. */
#ifndef GENDISTILL_GENERATE_H
#define GENDISTILL_GENERATE_H

#include "gendistill/comm.h"
#include "gendistill/config.h"
#include "gendistill/diffusion.h"
#include "gendistill/nn.h"
#include "gendistill/store.h"

/* ---- Generator ----------------------------------------------------------------------------------- */

typedef struct gd_generator gd_generator;

/* Makes an inference plan of `net` for `batch` images; keeps net and schedule. Local. */
gd_err gd_generator_create(gd_generator **out, const gd_net *net, const gd_schedule *schedule, int batch,
                           gd_precision precision);
void gd_generator_destroy(gd_generator **generator);
size_t gd_generator_nbytes(const gd_generator *generator);
gd_plan *gd_generator_plan(gd_generator *generator); /* for its profile */

/* Takes in parameters; they must stay where they are. Local. */
void gd_generator_load(gd_generator *generator, const float *params);

/* The noise that a sampler adds where eta > 0: image i of the batch is image `first` + i of the stream. */
typedef struct gd_sampler_noise {
  gd_random key;
  int64_t first;
  /* Whether key.step is the training step. If so, the sampling step goes into the upper bits of the image's index;
   * otherwise it becomes key.step. */
  bool step_is_taken;
  const int *rows; /* (n) places of the images in the stream, from `first`, where they are not in a row; or NULL */
} gd_sampler_noise;

/* Images for a network: n of them, each with its label where the network is conditional; otherwise label is NULL. */
typedef struct gd_generator_input {
  int n;
  float *x;           /* (n, H, W, C) */
  const float *label; /* (n) */
} gd_generator_input;

/* Samples in->n <= batch images in place: x holds x_T, then x_0. `noise` may be NULL where eta is 0. Local. The result
 * as that of gd_sample. */
gd_nonfinite_sample gd_generator_sample(gd_generator *generator, const gd_sampling *sampling,
                                        const gd_generator_input *in, const gd_sampler_noise *noise);

/* The same, but each image a part of the way only, as gd_sample_partly: without guidance. Local. */
void gd_generator_sample_partly(gd_generator *generator, const gd_sampling *sampling, const gd_generator_input *in,
                                const gd_sampler_noise *noise, const int *steps, const int *ends);

/* The network's output for in->n <= batch images, each at its own time t (n); valid until the next call. Local. */
const float *gd_generator_predict(gd_generator *generator, const gd_generator_input *in, const float *t);

/* ---- Sets of images ------------------------------------------------------------------------------ */

/* Labels in turn: image i has classes[i % n]; n = 0: no labels. */
typedef struct gd_label_cycle {
  int n;
  int classes[GD_MAX_CLASSES];
} gd_label_cycle;

/* The label of an image; labels->n > 0. Local. */
int gd_label_at(const gd_label_cycle *labels, int64_t image);

/* The labels of a range of images, for a sample set: new array (range), gd_free; NULL where there are none. Local. */
uint8_t *gd_label_images(const gd_label_cycle *labels, gd_range images);

/* Images to generate; every number of image i follows from the keys, the labels and i. */
typedef struct gd_sample_request {
  const gd_sampling *sampling;
  gd_shape shape;
  gd_random start, noise;     /* keys of x_T, and of the sampler's noise, whose step is the sampling step */
  const float *initial_noise; /* x_T (first + n_global, C, H, W), or NULL */
  const gd_label_cycle *labels;
  int n_networks; /* 0: the generator has its parameters; otherwise image i is of network i % n_networks ... */
  const float *const *networks; /* ... with these parameters */
  int64_t first;                /* number of the first image */
  int64_t n_global;
  double seconds;      /* begin no more images after this time; 0: no limit */
  const uint8_t *keep; /* (local) images that stay as they are; NULL: none */
} gd_sample_request;

/* Generates the images gd_range_images(comm, n_global), rounded to bytes, in `images` (local, H, W, C), and before
 * rounding in `x_0` (local, C, H, W) unless that is NULL; *n_done: how many of them. The generator's batch must be
 * GD_IMAGE_CHUNK. Collective on comm. GD_STOPPED where a rank was asked to stop; GD_ERR_FAILED naming an image that is
 * not finite. */
gd_err gd_sample_images(const gd_comm *comm, gd_generator *generator, const gd_sample_request *request, uint8_t *images,
                        float *x_0, int64_t *n_done);

/* What a sample set says of n images sampled in this way; the images themselves are left to fill in. Local. */
gd_sample_set gd_sample_set_describe(const gd_sampling *sampling, gd_shape shape, int64_t n, uint64_t seed,
                                     uint64_t checkpoint_digest);

/* Whether two sample sets are of the same parameters, sampler, seed and shape; the numbers of images may differ. Local.
 */
bool gd_sample_set_is_like(const gd_sample_set *set, const gd_sample_set *other);

/* A sample set to make, and where it goes. */
typedef struct gd_sample_order {
  const gd_net *net;
  const float *params;
  int n_earlier;               /* networks of earlier tasks, which make as many images each; 0 but for isolated */
  const float *const *earlier; /* (n_earlier) their parameters */
  uint64_t digest;             /* of the checkpoint, for the file */
  uint32_t task;               /* from 0; part of the random numbers' keys */
  const float *initial_noise;  /* x_T (first + evaluation.samples, C, H, W), or NULL; if given, x_0 is written too */
  gd_label_cycle labels;       /* of a conditional network */
  int64_t first;               /* number of the first image; 0 but for a part of a set */
  const char *path;            /* of the HDF5 file */
  const char *png_path;        /* of a picture of the first images; NULL: none */
} gd_sample_order;

/* Generates evaluation.samples images as the section `evaluation` says, and writes them. Collective on comm. GD_STOPPED
 * and GD_ERR_FAILED as gd_sample_images and gd_sample_set_write. */
gd_err gd_sample_write(const gd_comm *comm, const gd_config *config, const gd_sample_order *order);

#endif
