/* 16-bit floating-point numbers to float32, without support by compiler or processor. */
#include "store/half.h"

#include <math.h>
#include <string.h>

static float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

float gd_float_of_bfloat(uint16_t bits) {
  return float_of_bits((uint32_t)bits << 16);
}

float gd_float_of_half(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 31) return float_of_bits(sign | 0x7f800000u | fraction << 13);  // infinite or not a number
  if (exponent > 0) return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
  float small = ldexpf((float)fraction, -24);  // zero or subnormal
  return sign ? -small : small;
}
