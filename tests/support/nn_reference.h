/* The network's ops as plain loops in double precision, to compare src/nn with.
 *
 * Written from the definitions, not from src/nn: one loop per index, no blocking. All tensors are (N, H, W, C);
 * weights are (O, I, kh, kw) and (O, I). `s` is always the shape of the input. */
#ifndef GENDISTILL_TESTS_NN_REFERENCE_H
#define GENDISTILL_TESTS_NN_REFERENCE_H

#include "gendistill/nn.h"

/* b may be NULL. */
void ref_conv(const double *x, int batch, gd_shape s, const double *w, const double *b, int c_out, int kernel,
              int stride, int pad, double *y);
void ref_conv_rect(const double *x, int batch, gd_shape s, const double *w, const double *b, int c_out, int kernel_h,
                   int kernel_w, int stride, int pad_h, int pad_w, double *y);
void ref_linear(const double *x, int batch, gd_shape s, const double *w, const double *b, int c_out, double *y);

void ref_group_norm(const double *x, int batch, gd_shape s, const double *w, const double *b, int groups, double eps,
                    double *y);
/* of x + v, v: the channels begin .. begin+C-1 of the vectors (N, n_shifts); followed by SiLU if `silu` */
void ref_group_norm_shifted(const double *x, int batch, gd_shape s, const double *shifts, int n_shifts, int begin,
                            const double *w, const double *b, int groups, double eps, bool silu, double *y);
/* mean and biased variance of each channel over images and pixels */
void ref_channel_statistics(const double *x, int batch, gd_shape s, double *mean, double *variance);
void ref_channel_norm(const double *x, int batch, gd_shape s, const double *w, const double *b, const double *mean,
                      const double *variance, double eps, double *y);

void ref_silu(const double *x, int64_t n, double *y);
void ref_relu(const double *x, int64_t n, double *y);
void ref_add(const double *a, const double *b, int64_t n, double *y);
void ref_multiply(const double *a, const double *b, int64_t n, double *y);
/* v: the channels begin .. begin+C-1 of the vectors (N, n_v) */
void ref_add_vector(const double *x, int batch, gd_shape s, const double *v, int n_v, int begin, double *y);
void ref_concat(const double *a, int ca, const double *b, int cb, int64_t pixels, double *y);
void ref_upsample(const double *x, int batch, gd_shape s, double *y);
void ref_time_embedding(const double *t, int batch, int channels, double *y);

void ref_attention(const double *q, const double *k, const double *v, int batch, gd_shape s, int head_dim, double *y);
typedef enum ref_pooling { REF_MAX, REF_AVERAGE_INSIDE, REF_AVERAGE_PADDED } ref_pooling;
void ref_pool(const double *x, int batch, gd_shape s, int kernel, int stride, int pad, ref_pooling kind, double *y);

#endif
