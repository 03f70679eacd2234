/* Plain loops in double precision: see nn_reference.h. Slow on purpose, without any optimisation of src/nn. */
#include "nn_reference.h"

#include <math.h>

static int64_t at(gd_shape s, int n, int h, int w, int c) {
  return (((int64_t)n * s.h + h) * s.w + w) * s.c + c;
}

static bool inside(gd_shape s, int h, int w) {
  return h >= 0 && h < s.h && w >= 0 && w < s.w;
}

static int n_windows(int n, int kernel, int stride, int pad) {
  return (n + 2 * pad - kernel) / stride + 1;
}

// ---- Ops with weights

void ref_conv_rect(const double *x, int batch, gd_shape s, const double *w, const double *b, int c_out, int kernel_h,
                   int kernel_w, int stride, int pad_h, int pad_w, double *y) {
  gd_shape out = {n_windows(s.h, kernel_h, stride, pad_h), n_windows(s.w, kernel_w, stride, pad_w), c_out};
  for (int n = 0; n < batch; n++)
    for (int oh = 0; oh < out.h; oh++)
      for (int ow = 0; ow < out.w; ow++)
        for (int o = 0; o < c_out; o++) {
          double sum = b ? b[o] : 0;
          for (int i = 0; i < s.c; i++)
            for (int kh = 0; kh < kernel_h; kh++)
              for (int kw = 0; kw < kernel_w; kw++) {
                int h = oh * stride + kh - pad_h, ww = ow * stride + kw - pad_w;
                if (inside(s, h, ww))
                  sum += x[at(s, n, h, ww, i)] * w[(((int64_t)o * s.c + i) * kernel_h + kh) * kernel_w + kw];
              }
          y[at(out, n, oh, ow, o)] = sum;
        }
}

void ref_conv(const double *x, int batch, gd_shape s, const double *w, const double *b, int c_out, int kernel,
              int stride, int pad, double *y) {
  ref_conv_rect(x, batch, s, w, b, c_out, kernel, kernel, stride, pad, pad, y);
}

void ref_linear(const double *x, int batch, gd_shape s, const double *w, const double *b, int c_out, double *y) {
  ref_conv(x, batch, s, w, b, c_out, 1, 1, 0, y);  // a linear layer on each pixel's channels is a 1x1 convolution
}

// ---- Normalisation

void ref_group_norm(const double *x, int batch, gd_shape s, const double *w, const double *b, int groups, double eps,
                    double *y) {
  int pixels = s.h * s.w, width = s.c / groups;
  for (int n = 0; n < batch; n++)
    for (int g = 0; g < groups; g++) {
      double mean = 0, variance = 0;
      for (int p = 0; p < pixels; p++)
        for (int c = g * width; c < (g + 1) * width; c++) mean += x[at(s, n, 0, p, c)];
      mean /= pixels * width;
      for (int p = 0; p < pixels; p++)
        for (int c = g * width; c < (g + 1) * width; c++) variance += pow(x[at(s, n, 0, p, c)] - mean, 2);
      variance /= pixels * width;
      for (int p = 0; p < pixels; p++)
        for (int c = g * width; c < (g + 1) * width; c++)
          y[at(s, n, 0, p, c)] = (x[at(s, n, 0, p, c)] - mean) / sqrt(variance + eps) * w[c] + b[c];
    }
}

void ref_group_norm_shifted(const double *x, int batch, gd_shape s, const double *shifts, int n_shifts, int begin,
                            const double *w, const double *b, int groups, double eps, bool silu, double *y) {
  ref_add_vector(x, batch, s, shifts, n_shifts, begin, y);
  ref_group_norm(y, batch, s, w, b, groups, eps, y);
  if (silu) ref_silu(y, (int64_t)batch * s.h * s.w * s.c, y);
}

void ref_channel_statistics(const double *x, int batch, gd_shape s, double *mean, double *variance) {
  int64_t rows = (int64_t)batch * s.h * s.w;
  for (int c = 0; c < s.c; c++) {
    mean[c] = variance[c] = 0;
    for (int64_t r = 0; r < rows; r++) mean[c] += x[r * s.c + c] / (double)rows;
    for (int64_t r = 0; r < rows; r++) variance[c] += pow(x[r * s.c + c] - mean[c], 2) / (double)rows;
  }
}

void ref_channel_norm(const double *x, int batch, gd_shape s, const double *w, const double *b, const double *mean,
                      const double *variance, double eps, double *y) {
  for (int64_t r = 0; r < (int64_t)batch * s.h * s.w; r++)
    for (int c = 0; c < s.c; c++) y[r * s.c + c] = (x[r * s.c + c] - mean[c]) / sqrt(variance[c] + eps) * w[c] + b[c];
}

// ---- Elementwise operations and copies

void ref_silu(const double *x, int64_t n, double *y) {
  for (int64_t i = 0; i < n; i++) y[i] = x[i] / (1 + exp(-x[i]));
}

void ref_relu(const double *x, int64_t n, double *y) {
  for (int64_t i = 0; i < n; i++) y[i] = fmax(x[i], 0);
}

void ref_add(const double *a, const double *b, int64_t n, double *y) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void ref_multiply(const double *a, const double *b, int64_t n, double *y) {
  for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

void ref_add_vector(const double *x, int batch, gd_shape s, const double *v, int n_v, int begin, double *y) {
  for (int n = 0; n < batch; n++)
    for (int p = 0; p < s.h * s.w; p++)
      for (int c = 0; c < s.c; c++) y[at(s, n, 0, p, c)] = x[at(s, n, 0, p, c)] + v[(int64_t)n * n_v + begin + c];
}

void ref_concat(const double *a, int ca, const double *b, int cb, int64_t pixels, double *y) {
  for (int64_t p = 0; p < pixels; p++)
    for (int c = 0; c < ca + cb; c++) y[p * (ca + cb) + c] = c < ca ? a[p * ca + c] : b[p * cb + c - ca];
}

void ref_upsample(const double *x, int batch, gd_shape s, double *y) {
  gd_shape out = {2 * s.h, 2 * s.w, s.c};
  for (int n = 0; n < batch; n++)
    for (int h = 0; h < out.h; h++)
      for (int w = 0; w < out.w; w++)
        for (int c = 0; c < s.c; c++) y[at(out, n, h, w, c)] = x[at(s, n, h / 2, w / 2, c)];
}

void ref_time_embedding(const double *t, int batch, int channels, double *y) {
  int half = channels / 2;
  for (int n = 0; n < batch; n++)
    for (int i = 0; i < half; i++) {
      double angle = t[n] / pow(10000, (double)i / half);
      y[(int64_t)n * channels + i] = cos(angle);
      y[(int64_t)n * channels + half + i] = sin(angle);
    }
}

// ---- Attention and pooling

// Output pixel i of one image and one head, whose channels start at c0.
static void attend(const double *q, const double *k, const double *v, gd_shape s, int n, int c0, int dim, int i,
                   double *y) {
  int length = s.h * s.w;
  double sum = 0;
  for (int c = 0; c < dim; c++) y[at(s, n, 0, i, c0 + c)] = 0;
  for (int j = 0; j < length; j++) {
    double dot = 0;
    for (int c = 0; c < dim; c++) dot += q[at(s, n, 0, i, c0 + c)] * k[at(s, n, 0, j, c0 + c)];
    double weight = exp(dot / sqrt(dim));
    sum += weight;
    for (int c = 0; c < dim; c++) y[at(s, n, 0, i, c0 + c)] += weight * v[at(s, n, 0, j, c0 + c)];
  }
  for (int c = 0; c < dim; c++) y[at(s, n, 0, i, c0 + c)] /= sum;
}

void ref_attention(const double *q, const double *k, const double *v, int batch, gd_shape s, int head_dim, double *y) {
  for (int n = 0; n < batch; n++)
    for (int c0 = 0; c0 < s.c; c0 += head_dim)
      for (int i = 0; i < s.h * s.w; i++) attend(q, k, v, s, n, c0, head_dim, i, y);
}

void ref_pool(const double *x, int batch, gd_shape s, int kernel, int stride, int pad, ref_pooling kind, double *y) {
  gd_shape out = {n_windows(s.h, kernel, stride, pad), n_windows(s.w, kernel, stride, pad), s.c};
  for (int n = 0; n < batch; n++)
    for (int oh = 0; oh < out.h; oh++)
      for (int ow = 0; ow < out.w; ow++)
        for (int c = 0; c < s.c; c++) {
          double sum = 0, largest = -INFINITY;
          int count = 0;
          for (int h = oh * stride - pad; h < oh * stride - pad + kernel; h++)
            for (int w = ow * stride - pad; w < ow * stride - pad + kernel; w++) {
              if (!inside(s, h, w)) continue;
              sum += x[at(s, n, h, w, c)];
              largest = fmax(largest, x[at(s, n, h, w, c)]);
              count++;
            }
          if (kind == REF_AVERAGE_PADDED) count = kernel * kernel;
          y[at(out, n, oh, ow, c)] = kind == REF_MAX ? largest : sum / count;
        }
}
