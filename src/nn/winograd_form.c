/* Transforms of Winograd convolution: see winograd_form.h. */
#include "nn/winograd_form.h"

#include "nn/simd.h"

// m = 2, by the points 0, 1, -1 and infinity.

GD_SIMD static void input_2(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3];
  float *p = out, *q = out + stride, *r = out + 2 * stride, *s = out + 3 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    p[i] = a[i] - c[i];
    q[i] = b[i] + c[i];
    r[i] = c[i] - b[i];
    s[i] = b[i] - d[i];
  }
}

GD_SIMD static void output_2(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3];
  float *p = out, *q = out + stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    p[i] = a[i] + b[i] + c[i];
    q[i] = b[i] - c[i] - d[i];
  }
}

GD_SIMD static void output_gradient_2(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1];
  float *p = out, *q = out + stride, *r = out + 2 * stride, *s = out + 3 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    p[i] = a[i];
    q[i] = a[i] + b[i];
    r[i] = a[i] - b[i];
    s[i] = -b[i];
  }
}

GD_SIMD static void filter_2(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2];
  float *p = out, *q = out + stride, *r = out + 2 * stride, *s = out + 3 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float outer = 0.5f * (a[i] + c[i]), middle = 0.5f * b[i];
    p[i] = a[i];
    q[i] = outer + middle;
    r[i] = outer - middle;
    s[i] = c[i];
  }
}

GD_SIMD static void filter_gradient_2(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3];
  float *p = out, *q = out + stride, *r = out + 2 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float sum = 0.5f * (b[i] + c[i]);
    p[i] = a[i] + sum;
    q[i] = 0.5f * (b[i] - c[i]);
    r[i] = sum + d[i];
  }
}

// m = 4, by the points 0, +-1/sqrt(2), +-sqrt(2) and infinity. They round half as much as 0, +-1, +-2, and they include
// the inverse of each point, which reversed filters need.

static const float root2 = 1.41421356f;

GD_SIMD static void input_4(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3], *e = in[4], *f = in[5];
  float *p = out, *q = out + stride, *r = out + 2 * stride, *s = out + 3 * stride, *t = out + 4 * stride,
        *u = out + 5 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float even = 2.0f * c[i] - e[i], odd = 0.5f * root2 * (2.0f * b[i] - d[i]);
    float even_2 = 0.5f * e[i] - 0.25f * c[i], odd_2 = 0.5f * root2 * (d[i] - 0.5f * b[i]);
    p[i] = a[i] - 2.5f * c[i] + e[i];
    q[i] = even + odd;
    r[i] = even - odd;
    s[i] = even_2 + odd_2;
    t[i] = even_2 - odd_2;
    u[i] = b[i] - 2.5f * d[i] + f[i];
  }
}

GD_SIMD static void output_4(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3], *e = in[4], *f = in[5];
  float *p = out, *q = out + stride, *r = out + 2 * stride, *s = out + 3 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float even = b[i] + c[i], odd = 0.5f * root2 * (b[i] - c[i]);
    float even_2 = d[i] + e[i], odd_2 = root2 * (d[i] - e[i]);
    p[i] = a[i] + even + even_2;
    q[i] = odd + odd_2;
    r[i] = 0.5f * even + 2.0f * even_2;
    s[i] = 0.5f * odd + 2.0f * odd_2 + f[i];
  }
}

GD_SIMD static void output_gradient_4(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3];
  float *p = out, *q = out + stride, *r = out + 2 * stride, *s = out + 3 * stride, *t = out + 4 * stride,
        *u = out + 5 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float even = a[i] + 0.5f * c[i], odd = 0.5f * root2 * (b[i] + 0.5f * d[i]);
    float even_2 = a[i] + 2.0f * c[i], odd_2 = root2 * (b[i] + 2.0f * d[i]);
    p[i] = a[i];
    q[i] = even + odd;
    r[i] = even - odd;
    s[i] = even_2 + odd_2;
    t[i] = even_2 - odd_2;
    u[i] = d[i];
  }
}

GD_SIMD static void filter_4(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2];
  float *p = out, *q = out + stride, *r = out + 2 * stride, *s = out + 3 * stride, *t = out + 4 * stride,
        *u = out + 5 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float even = (2.0f * a[i] + c[i]) / 3.0f, even_2 = (a[i] + 2.0f * c[i]) / 3.0f, odd = root2 / 3.0f * b[i];
    p[i] = a[i];
    q[i] = even + odd;
    r[i] = even - odd;
    s[i] = even_2 + odd;
    t[i] = even_2 - odd;
    u[i] = c[i];
  }
}

GD_SIMD static void filter_gradient_4(const float *const in[], int n, float *out, int64_t stride) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3], *e = in[4], *f = in[5];
  float *p = out, *q = out + stride, *r = out + 2 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float even = b[i] + c[i], even_2 = d[i] + e[i];
    p[i] = a[i] + (2.0f * even + even_2) / 3.0f;
    q[i] = root2 / 3.0f * (b[i] - c[i] + (d[i] - e[i]));
    r[i] = (even + 2.0f * even_2) / 3.0f + f[i];
  }
}

const gd_winograd_form gd_winograd_2 = {.tile = 2,
                                        .side = 4,
                                        .input = input_2,
                                        .output = output_2,
                                        .output_gradient = output_gradient_2,
                                        .filter = filter_2,
                                        .filter_gradient = filter_gradient_2,
                                        .reversed = {3, 1, 2, 0}};

const gd_winograd_form gd_winograd_4 = {.tile = 4,
                                        .side = 6,
                                        .input = input_4,
                                        .output = output_4,
                                        .output_gradient = output_gradient_4,
                                        .filter = filter_4,
                                        .filter_gradient = filter_gradient_4,
                                        .reversed = {5, 3, 4, 1, 2, 0}};
