/* Floating-point numbers of 16 bits, from their bits; exact. Local. */
#ifndef GD_STORE_HALF_H
#define GD_STORE_HALF_H

#include <stdint.h>

float gd_float_of_half(uint16_t bits);    // IEEE binary16
float gd_float_of_bfloat(uint16_t bits);  // the upper half of a binary32

#endif
