/* Outputs of an inference plan for many images. */
#ifndef GD_EVAL_EXTRACT_H
#define GD_EVAL_EXTRACT_H

#include "gendistill/data.h"
#include "gendistill/nn.h"

/* Runs `plan` (of `net`, one input, batch GD_IMAGE_CHUNK) over n images, enlarged where the network's input is
 * larger, and writes the outputs (n, width). Chunks of fixed size and place: the same bits for any
 * rank count, where `images` starts at a whole chunk. Local. */
void gd_extract(gd_plan *plan, const gd_net *net, int64_t n, const gd_images *images, float *out);

/* Index of the largest of n values. */
int gd_largest(const float *values, int n);

#endif
