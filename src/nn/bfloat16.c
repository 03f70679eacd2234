/* Conversion between bfloat16 and float32, and operations on whole tensors: see bfloat16.h. */
#include "nn/bfloat16.h"

#include <string.h>

#include "nn/simd.h"

// Elements per piece of a whole tensor.
enum { PIECE = 4096 };

GD_SIMD static void widen_bfloat16(const gd_bfloat16 *restrict x, int64_t n, float *restrict out) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits = (uint32_t)x[i] << 16;
    memcpy(&out[i], &bits, sizeof bits);
  }
}

// Rounds to nearest even: adds half a unit of the last kept bit, or slightly less where that bit is even, and
// truncates. The carry would destroy a NaN, so NaNs are only truncated.
GD_SIMD static void narrow_to_bfloat16(const float *restrict x, int64_t n, gd_bfloat16 *restrict out) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof bits);
    uint32_t rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    uint32_t nan = bits | 0x400000u;
    out[i] = (gd_bfloat16)(((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded) >> 16);
  }
}

const float *gd_floats_read(gd_precision type, const void *x, int64_t first, int64_t n, float *buffer) {
  if (type == GD_FLOAT32) return (const float *)x + first;
  widen_bfloat16((const gd_bfloat16 *)x + first, n, buffer);
  return buffer;
}

float *gd_floats_begin(gd_precision type, void *y, int64_t first, float *buffer) {
  return type == GD_FLOAT32 ? (float *)y + first : buffer;
}

void gd_floats_end(gd_precision type, void *y, int64_t first, int64_t n, const float *buffer) {
  if (type == GD_BFLOAT16) narrow_to_bfloat16(buffer, n, (gd_bfloat16 *)y + first);
}

void gd_tensor_convert(gd_precision from_type, const void *from, gd_precision to_type, void *to, int64_t n) {
#pragma omp parallel for
  for (int64_t i = 0; i < n; i += PIECE) {
    int64_t length = n - i < PIECE ? n - i : PIECE;
    if (from_type == to_type)
      memcpy(gd_element(to_type, to, i), gd_element(from_type, from, i), (size_t)length * gd_element_nbytes(to_type));
    else if (to_type == GD_BFLOAT16)
      narrow_to_bfloat16((const float *)from + i, length, (gd_bfloat16 *)to + i);
    else
      widen_bfloat16((const gd_bfloat16 *)from + i, length, (float *)to + i);
  }
}

GD_SIMD void gd_floats_add(float *sum, const float *term, int64_t n) {
  for (int64_t i = 0; i < n; i++) sum[i] += term[i];
}

void gd_tensor_add(gd_precision type, void *sum, const void *term, int64_t n) {
#pragma omp parallel for
  for (int64_t i = 0; i < n; i += PIECE) {
    int64_t length = n - i < PIECE ? n - i : PIECE;
    float sum_buffer[PIECE], term_buffer[PIECE];
    float *total = gd_floats_begin(type, sum, i, sum_buffer);
    gd_floats_read(type, sum, i, length, sum_buffer);
    gd_floats_add(total, gd_floats_read(type, term, i, length, term_buffer), length);
    gd_floats_end(type, sum, i, length, total);
  }
}
