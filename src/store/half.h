/* Exact conversion of 16-bit floating-point numbers to float32. Local. */
#ifndef GD_STORE_HALF_H
#define GD_STORE_HALF_H

#include <stdint.h>

float gd_float_of_half(uint16_t bits);    // IEEE binary16
float gd_float_of_bfloat(uint16_t bits);  // the upper half of a binary32

#endif
