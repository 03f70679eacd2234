/* Counter-based random numbers: Philox4x32-10 keyed by (seed, purpose, task, step, sample, element).
 *
 * Counter words: element block, sample index (low), step, then purpose (8 bits), task (16) and the sample
 * index's high byte. Each block gives four 32-bit words, that is four uniform or four normal numbers. */
#include <math.h>
#include <Random123/philox.h>

#include "gendistill/base.h"

static philox4x32_ctr_t random_block(gd_random key, uint64_t index, uint32_t block) {
  philox4x32_key_t k = {{(uint32_t)key.seed, (uint32_t)(key.seed >> 32)}};
  philox4x32_ctr_t c = {{block, (uint32_t)index, key.step,
                         (uint32_t)key.purpose << 24 | (key.task & 0xffffu) << 8 | (uint32_t)(index >> 32 & 0xffu)}};
  return philox4x32(c, k);
}

// 24 bits: every value is exact in float32 and below 1.
static float unit_float(uint32_t word) {
  return (float)(word >> 8) * 0x1p-24f;
}

void gd_random_uniform(gd_random key, uint64_t index, size_t n, float *out) {
  gd_random_uniform_part(key, index, 0, n, out);
}

void gd_random_uniform_part(gd_random key, uint64_t index, uint64_t first, size_t n, float *out) {
  GD_REQUIRE(first % 4 == 0);
  for (size_t i = 0; i < n; i += 4) {
    philox4x32_ctr_t words = random_block(key, index, (uint32_t)((first + i) / 4));
    for (size_t j = 0; j < 4 && i + j < n; j++) out[i + j] = unit_float(words.v[j]);
  }
}

void gd_random_normal(gd_random key, uint64_t index, size_t n, float *out) {
  for (size_t i = 0; i < n; i += 4) {
    philox4x32_ctr_t words = random_block(key, index, (uint32_t)(i / 4));
    float normal[4];
    for (int j = 0; j < 4; j += 2) {  // Box-Muller; 1 - u is in (0, 1]
      float radius = sqrtf(-2.0f * logf(1.0f - unit_float(words.v[j])));
      float angle = 6.28318530717958648f * unit_float(words.v[j + 1]);
      normal[j] = radius * cosf(angle);
      normal[j + 1] = radius * sinf(angle);
    }
    for (size_t j = 0; j < 4 && i + j < n; j++) out[i + j] = normal[j];
  }
}

uint32_t gd_random_below(gd_random key, uint64_t index, uint32_t bound) {
  // 64 random bits times the bound: the bias is below 2^-32
  philox4x32_ctr_t words = random_block(key, index, 0);
  uint64_t bits = (uint64_t)words.v[0] << 32 | words.v[1];
  return (uint32_t)(((unsigned __int128)bits * bound) >> 64);
}

void gd_random_permutation(gd_random key, uint32_t n, uint32_t *out) {
  for (uint32_t i = 0; i < n; i++) out[i] = i;
  for (uint32_t i = n; i > 1; i--) {
    uint32_t j = gd_random_below(key, i, i), other = out[i - 1];
    out[i - 1] = out[j];
    out[j] = other;
  }
}
