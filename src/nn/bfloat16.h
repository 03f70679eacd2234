/* bfloat16 is the upper half of a float32: conversion, and access to tensors of either precision as floats. */
#ifndef GD_NN_BFLOAT16_H
#define GD_NN_BFLOAT16_H

#include "gendistill/nn.h"

typedef uint16_t gd_bfloat16;

static inline size_t gd_element_nbytes(gd_precision type) {
  return type == GD_BFLOAT16 ? sizeof(gd_bfloat16) : sizeof(float);
}

/* Address of element number `i` of a tensor. */
static inline void *gd_element(gd_precision type, const void *x, int64_t i) {
  return (char *)x + i * (int64_t)gd_element_nbytes(type);
}

/* Elements first .. first+n-1 of a tensor as floats: in the tensor itself where it is float32, otherwise widened into
 * `buffer` (n). */
const float *gd_floats_read(gd_precision type, const void *x, int64_t first, int64_t n, float *buffer);

/* The inverse. begin: where to write the floats, in the tensor itself or in `buffer`; end: rounds them to nearest even
 * into the tensor. */
float *gd_floats_begin(gd_precision type, void *y, int64_t first, float *buffer);
void gd_floats_end(gd_precision type, void *y, int64_t first, int64_t n, const float *buffer);

/* sum += term, by the calling thread; both may be the same array. */
void gd_floats_add(float *sum, const float *term, int64_t n);

/* On whole tensors of n elements, with all threads: copies from one type to another; adds a term of the same type. */
void gd_tensor_convert(gd_precision from_type, const void *from, gd_precision to_type, void *to, int64_t n);
void gd_tensor_add(gd_precision type, void *sum, const void *term, int64_t n);

#endif
