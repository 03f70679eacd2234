/* Inside of a generator. */
#ifndef GD_GENERATE_GENERATOR_H
#define GD_GENERATE_GENERATOR_H

#include "gendistill/generate.h"

/* gd_generator_sample with noise that the caller makes. */
gd_nonfinite_sample gd_generator_sample_with(gd_generator *generator, const gd_sampling *sampling, int n,
                                             void (*noise)(void *context, int k, int image, float *z), void *context,
                                             float *x);

#endif
