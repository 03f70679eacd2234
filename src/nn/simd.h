/* Vector code without intrinsics: functions marked GD_SIMD are compiled for AVX-512, AVX2 with FMA and the baseline,
 * and the program selects one when it starts. Their loops must vectorise without reordering sums. */
#ifndef GD_NN_SIMD_H
#define GD_NN_SIMD_H

#include <stdint.h>
#include <string.h>

#if !defined(__x86_64__) || !defined(__GNUC__) || defined(__clang__) || defined(GD_SANITIZE)
#define GD_SIMD
#elif __GNUC__ >= 12
#define GD_SIMD __attribute__((target_clones("avx512f", "arch=x86-64-v3", "default")))
#else
#define GD_SIMD __attribute__((target_clones("avx512f", "avx2", "default")))
#endif

/* e^x to about 2 units in the last place, without branches; x is clamped to +-87. */
static inline __attribute__((always_inline)) float gd_exp(float x) {
  x = x > 87.0f ? 87.0f : x;
  x = x < -87.0f ? -87.0f : x;
  // x = n ln 2 + r; adding 1.5 * 2^23 rounds to an integer, which is then in the low mantissa bits
  float shifted = x * 1.44269504088896341f + 12582912.0f;
  float n = shifted - 12582912.0f;
  float r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  // Taylor, degree 7: the last term is below 2^-24 for |r| <= ln(2)/2
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (int32_t)((uint32_t)bits << 23) + 0x3f800000;  // 2^n; the magic constant's own bits are shifted out
  float scale;
  memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

static inline __attribute__((always_inline)) float gd_sigmoid(float x) {
  return 1.0f / (1.0f + gd_exp(-x));
}

#endif
