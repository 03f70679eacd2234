/* Inside of a generator. */
#ifndef GD_GENERATE_GENERATOR_H
#define GD_GENERATE_GENERATOR_H

#include "gendistill/generate.h"

/* gd_generator_sample with noise that the caller makes. */
gd_nonfinite_sample gd_generator_sample_with(gd_generator *generator, const gd_sampling *sampling,
                                             const gd_generator_input *in,
                                             void (*noise)(void *context, int k, int image, float *z), void *context);

#endif
