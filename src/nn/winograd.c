/* Winograd's convolution: see winograd.h.
 *
 * A map is cut into tiles of 2 x 2 pixels. Transformed, the 4 x 4 input pixels under a tile's windows (B^T d B) and
 * each window (G g G^T) have 16 positions; the sums over channels of their products, position by position, are the
 * output's (A^T m A). So a convolution is 16 matrix products: (tiles, C) by (C, C'). Backward runs the transposes: by
 * data, the same with turned windows, whose transforms are the old ones with first and last row and column exchanged;
 * by weights, the products of transformed input and transformed output gradient (A dy A^T), summed over tiles, then G^T
 * u G.
 *
 * Every transform is one of a few of vectors of 4 (or 2, or 3), down the columns and then along the rows. The batch is
 * worked on in chunks of rows of tiles, so that what is transformed stays near the cores. */
#include "nn/winograd.h"

#include <omp.h>
#include <string.h>

#include "nn/dnnl.h"
#include "nn/simd.h"

enum {
  POSITIONS = 16,
  // oneDNN's sgemm takes its rows 4, 6 or 8 at a time, and rounds a remainder of them otherwise: with whole blocks an
  // image's numbers do not depend on its place in the batch.
  ROWS = 24,
  BLOCK = 4 * ROWS,  // rows of one call
  // A chunk: both transformed arrays in so many bytes, but not fewer tiles than it takes to make up for reading all
  // transformed weights.
  CHUNK_NBYTES = 4 << 20,
  LEAST_TILES = 10 * ROWS,
  WEIGHT_BLOCK = 64,    // output channels of one product for the gradient by weights
  LEAST_CHANNELS = 32,  // with 16, the direct convolution is twice as fast
};

// ---- Transforms of vectors, element by element of n channels; `stride` lies between the vector's parts.

// B^T: 4 to 4
GD_SIMD static void transform_input(const float *const in[4], int n, float *out, int64_t stride) {
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

// A^T: 4 to 2
GD_SIMD static void transform_output(const float *in, int64_t stride, int n, float *y0, float *y1) {
  const float *a = in, *b = in + stride, *c = in + 2 * stride, *d = in + 3 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    y0[i] = a[i] + b[i] + c[i];
    y1[i] = b[i] - c[i] - d[i];
  }
}

// A: 2 to 4
GD_SIMD static void transform_output_gradient(const float *a, const float *b, int n, float *out, int64_t stride) {
  float *p = out, *q = out + stride, *r = out + 2 * stride, *s = out + 3 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    p[i] = a[i];
    q[i] = a[i] + b[i];
    r[i] = a[i] - b[i];
    s[i] = -b[i];
  }
}

// G: 3 to 4
GD_SIMD static void transform_window(const float *in, int64_t in_stride, int n, float *out, int64_t stride) {
  const float *a = in, *b = in + in_stride, *c = in + 2 * in_stride;
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

// G^T: 4 to 3
GD_SIMD static void transform_window_gradient(const float *in, int64_t in_stride, int n, float *out, int64_t stride) {
  const float *a = in, *b = in + in_stride, *c = in + 2 * in_stride, *d = in + 3 * in_stride;
  float *p = out, *q = out + stride, *r = out + 2 * stride;
#pragma omp simd
  for (int i = 0; i < n; i++) {
    float sum = 0.5f * (b[i] + c[i]);
    p[i] = a[i] + sum;
    q[i] = 0.5f * (b[i] - c[i]);
    r[i] = sum + d[i];
  }
}

// to += sign * from
GD_SIMD static void add(float *to, float sign, const float *from, int n) {
#pragma omp simd
  for (int i = 0; i < n; i++) to[i] += sign * from[i];
}

// ---- What is where

// A matrix for each position: (POSITIONS, rows, row_floats), of which `channels` floats of a row are used. Rows and
// matrices are a little longer than that, since powers of two would share few sets of a cache.
typedef struct gd_stack {
  float *data;
  int channels;
  int64_t row_floats, position_floats;
} gd_stack;

static gd_stack stack_of(float *data, int rows, int channels) {
  int64_t row_floats = channels + 16;
  return (gd_stack){data, channels, row_floats, rows * row_floats + 16};
}

static size_t stack_count(const gd_stack *s) {
  return POSITIONS * (size_t)s->position_floats;
}

// The weights: a row per output channel.
static gd_stack weights_of(const gd_op *op, float *data) {
  return stack_of(data, op->out.c, op->in[0].c);
}

// How the batch is cut, and the scratch.
typedef struct gd_work {
  int height, width;  // of the maps
  int n_rows;         // of tiles, in the whole batch
  int chunk_rows;     // of them in a chunk
  gd_stack x, y;      // the chunk's transformed input and output, or their gradients; a row per tile
  gd_stack gradient;  // of the weights
  float *lines;       // (threads, line_floats)
  int64_t line_floats;
} gd_work;

static int at_most(int a, int b) {
  return a < b ? a : b;
}

static int round_up(int n, int multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// All but the pointers into scratch.
static gd_work plan_work(const gd_op *op) {
  gd_work w = {.height = op->out.h, .width = op->out.w, .n_rows = op->batch * (op->out.h / 2)};
  int channels = op->in[0].c + op->out.c, wider = op->in[0].c > op->out.c ? op->in[0].c : op->out.c;
  int tiles = CHUNK_NBYTES / (POSITIONS * (int)sizeof(float) * channels);
  if (tiles < LEAST_TILES) tiles = LEAST_TILES;
  w.chunk_rows = at_most((tiles + w.width / 2 - 1) / (w.width / 2), w.n_rows);
  int room = round_up(w.chunk_rows * (w.width / 2), ROWS);
  w.x = stack_of(NULL, room, op->in[0].c);
  w.y = stack_of(NULL, room, op->out.c);
  w.gradient = weights_of(op, NULL);
  w.line_floats = 6 * (int64_t)(w.width + 2) * wider;
  return w;
}

static gd_work work_of(const gd_op *op) {
  gd_work w = plan_work(op);
  w.x.data = op->scratch;
  w.y.data = w.x.data + stack_count(&w.x);
  w.gradient.data = w.y.data + stack_count(&w.y);
  w.lines = w.gradient.data + (op->training ? stack_count(&w.gradient) : 0);
  return w;
}

static float *thread_lines(const gd_work *w) {
  return w->lines + omp_get_thread_num() * w->line_floats;
}

// First pixel of a row of tiles in a map with so many channels.
static int64_t first_pixel(const gd_work *w, int row, int channels) {
  return (int64_t)row * 2 * w->width * channels;
}

// ---- From maps to positions and back, a row of tiles at a time; `tile` is the row's first in the chunk.

static void input_to_positions(const gd_work *w, const float *map, int row, const gd_stack *to, int tile) {
  int c = to->channels, inside = w->width * c, line = inside + 2 * c, first = 2 * (row % (w->height / 2)) - 1;
  float *lines = thread_lines(w), *zeros = lines + 4 * (int64_t)line;
  if (first < 0 || first + 4 > w->height) memset(zeros, 0, (size_t)inside * sizeof(float));
  const float *in[4], *pixels = map + first_pixel(w, row, c);
  for (int i = 0; i < 4; i++) {
    in[i] = first + i < 0 || first + i >= w->height ? zeros : pixels + (i - 1) * (int64_t)inside;
    memset(lines + i * line, 0, (size_t)c * sizeof(float));
    memset(lines + i * line + c + inside, 0, (size_t)c * sizeof(float));
  }
  transform_input(in, inside, lines + c, line);
  for (int t = 0; t < w->width / 2; t++) {
    float *out = to->data + (tile + t) * to->row_floats;
    for (int i = 0; i < 4; i++) {
      const float *p = lines + i * line + 2 * t * c, *const along[4] = {p, p + c, p + 2 * c, p + 3 * c};
      transform_input(along, c, out + 4 * i * to->position_floats, to->position_floats);
    }
  }
}

static void output_gradient_to_positions(const gd_work *w, const float *map, int row, const gd_stack *to, int tile) {
  int c = to->channels, line = w->width * c;
  float *lines = thread_lines(w);
  const float *dy = map + first_pixel(w, row, c);
  transform_output_gradient(dy, dy + line, line, lines, line);
  for (int t = 0; t < w->width / 2; t++) {
    float *out = to->data + (tile + t) * to->row_floats;
    for (int i = 0; i < 4; i++) {
      const float *p = lines + i * line + 2 * t * c;
      transform_output_gradient(p, p + c, c, out + 4 * i * to->position_floats, to->position_floats);
    }
  }
}

// Bias and residual go to the line that only the upper pixels are made of, and negative to that of the lower ones: the
// output may stand where the residual does.
static void positions_to_output(const gd_work *w, const gd_stack *from, int tile, float *map, int row,
                                const float *bias, const float *residual) {
  int c = from->channels, line = w->width * c;
  float *lines = thread_lines(w);
  for (int t = 0; t < w->width / 2; t++) {
    const float *in = from->data + (tile + t) * from->row_floats;
    for (int i = 0; i < 4; i++) {
      float *p = lines + i * line + 2 * t * c;
      transform_output(in + 4 * i * from->position_floats, from->position_floats, c, p, p + c);
    }
  }
  int64_t first = first_pixel(w, row, c);
  for (int i = 0; i < 2; i++) {
    float sign = i == 0 ? 1.0f : -1.0f, *to = lines + 3 * i * line;
    for (int x = 0; bias && x < w->width; x++) add(to + x * c, sign, bias, c);
    if (residual) add(to, sign, residual + first + i * line, line);
  }
  transform_output(lines, line, line, map + first, map + first + line);
}

// ---- Products

// Row and column 0 and 3 of a position exchanged.
static int turned_position(int p) {
  static const int turned[4] = {3, 1, 2, 0};
  return 4 * turned[p / 4] + turned[p % 4];
}

// (tiles, C) by the weights to (tiles, C'); backward to (tiles, C') by the turned weights to (tiles, C).
static void multiply(const gd_stack *from, const gd_stack *weights, bool backward, const gd_stack *to, int n_tiles) {
  int n_rows = round_up(n_tiles, ROWS), n_blocks = (n_rows + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic)
  for (int k = 0; k < POSITIONS * n_blocks; k++) {
    int p = k / n_blocks, row = k % n_blocks * BLOCK;
    const float *w = weights->data + (backward ? turned_position(p) : p) * weights->position_floats;
    GD_DNNL(dnnl_sgemm('N', backward ? 'N' : 'T', at_most(BLOCK, n_rows - row), to->channels, from->channels, 1,
                       from->data + p * from->position_floats + row * from->row_floats, from->row_floats, w,
                       weights->row_floats, 0, to->data + p * to->position_floats + row * to->row_floats,
                       to->row_floats));
  }
}

static void convolve(const gd_work *w, const gd_stack *from, const float *in, const gd_stack *weights, bool backward,
                     const gd_stack *to, float *out, const float *bias, const float *residual) {
  int tiles = w->width / 2;
  for (int first = 0; first < w->n_rows; first += w->chunk_rows) {
    int n = at_most(w->chunk_rows, w->n_rows - first);
#pragma omp parallel for
    for (int r = 0; r < n; r++) input_to_positions(w, in, first + r, from, r * tiles);
    multiply(from, weights, backward, to, n * tiles);
#pragma omp parallel for
    for (int r = 0; r < n; r++) positions_to_output(w, to, r * tiles, out, first + r, bias, residual);
  }
}

// Adds a chunk's tiles to the gradient of the transformed weights, and to that of the bias: position 5 is the sum of a
// tile's pixels.
static void accumulate_gradient(const gd_work *w, int n_tiles, bool first, float *bias) {
  int n_blocks = (w->y.channels + WEIGHT_BLOCK - 1) / WEIGHT_BLOCK;
#pragma omp parallel for schedule(dynamic)
  for (int k = 0; k < POSITIONS * n_blocks; k++) {
    int p = k / n_blocks, channel = k % n_blocks * WEIGHT_BLOCK, n = at_most(WEIGHT_BLOCK, w->y.channels - channel);
    const float *dy = w->y.data + p * w->y.position_floats + channel;
    GD_DNNL(dnnl_sgemm('T', 'N', n, w->x.channels, n_tiles, 1, dy, w->y.row_floats,
                       w->x.data + p * w->x.position_floats, w->x.row_floats, first ? 0 : 1,
                       w->gradient.data + p * w->gradient.position_floats + channel * w->gradient.row_floats,
                       w->gradient.row_floats));
    if (p != 5 || !bias) continue;
    if (first) memset(bias + channel, 0, (size_t)n * sizeof(float));
    for (int t = 0; t < n_tiles; t++) add(bias + channel, 1, dy + t * w->y.row_floats, n);
  }
}

// ---- Windows: an output channel at a time

static void window_to_positions(const float *windows, const gd_stack *to, int row, float *lines) {
  int c = to->channels;
  float *columns = lines + 9 * c, *out = to->data + row * to->row_floats;
  for (int i = 0; i < c; i++)
    for (int k = 0; k < 9; k++) lines[k * c + i] = windows[9 * i + k];
  transform_window(lines, 3 * c, 3 * c, columns, 3 * c);
  for (int i = 0; i < 4; i++)
    transform_window(columns + 3 * i * c, c, c, out + 4 * i * to->position_floats, to->position_floats);
}

static void positions_to_window(const gd_stack *from, int row, float *windows, float *lines) {
  int c = from->channels;
  float *columns = lines + 9 * c;
  const float *in = from->data + row * from->row_floats;
  for (int j = 0; j < 4; j++)
    transform_window_gradient(in + j * from->position_floats, 4 * from->position_floats, c, columns + j * c, 4 * c);
  for (int i = 0; i < 3; i++) transform_window_gradient(columns + 4 * i * c, c, c, lines + 3 * i * c, c);
  for (int i = 0; i < c; i++)
    for (int k = 0; k < 9; k++) windows[9 * i + k] = lines[k * c + i];
}

// ---- The op's passes

bool gd_winograd_suits(const gd_op *op) {
  const gd_attributes *a = &op->node->attributes;
  bool windows = op->node->kind == &gd_op_conv && a->kernel[0] == 3 && a->kernel[1] == 3 && a->stride == 1 &&
                 a->pad[0] == 1 && a->pad[1] == 1;
  if (!windows || op->x_type[0] != GD_FLOAT32) return false;
  if (op->out.h % 2 || op->out.w % 2 || op->in[0].c < LEAST_CHANNELS || op->out.c < LEAST_CHANNELS) return false;
  return !gd_dnnl_has_avx512();
}

size_t gd_winograd_weights_count(const gd_op *op) {
  gd_stack weights = weights_of(op, NULL);
  return stack_count(&weights);
}

size_t gd_winograd_scratch_nbytes(const gd_op *op) {
  gd_work w = plan_work(op);
  size_t gradient = op->training ? stack_count(&w.gradient) : 0,
         lines = (size_t)(omp_get_max_threads() * w.line_floats);
  return (stack_count(&w.x) + stack_count(&w.y) + gradient + lines) * sizeof(float);
}

void gd_winograd_load(const gd_op *op, float *transformed) {
  gd_work w = work_of(op);
  gd_stack weights = weights_of(op, transformed);
#pragma omp parallel for
  for (int c = 0; c < op->out.c; c++)
    window_to_positions(gd_op_param(op, 0) + 9 * (int64_t)c * op->in[0].c, &weights, c, thread_lines(&w));
}

void gd_winograd_forward(const gd_op *op, const float *transformed) {
  gd_work w = work_of(op);
  gd_stack weights = weights_of(op, (float *)transformed);
  const float *bias = op->node->attributes.bias ? gd_op_param(op, 1) : NULL;
  convolve(&w, &w.x, op->x[0], &weights, false, &w.y, op->y, bias, op->node->n_inputs == 2 ? op->x[1] : NULL);
}

void gd_winograd_backward_data(const gd_op *op, const float *transformed) {
  gd_work w = work_of(op);
  gd_stack weights = weights_of(op, (float *)transformed);
  convolve(&w, &w.y, op->dy, &weights, true, &w.x, op->dx[0], NULL, NULL);
}

void gd_winograd_backward_weights(const gd_op *op, float *grads) {
  gd_work w = work_of(op);
  int tiles = w.width / 2;
  float *windows = gd_op_grad(op, grads, 0), *bias = op->node->attributes.bias ? gd_op_grad(op, grads, 1) : NULL;
  for (int first = 0; first < w.n_rows; first += w.chunk_rows) {
    int n = at_most(w.chunk_rows, w.n_rows - first);
#pragma omp parallel for
    for (int r = 0; r < n; r++) {
      input_to_positions(&w, op->x[0], first + r, &w.x, r * tiles);
      output_gradient_to_positions(&w, op->dy, first + r, &w.y, r * tiles);
    }
    accumulate_gradient(&w, n * tiles, first == 0, bias);
  }
#pragma omp parallel for
  for (int c = 0; c < op->out.c; c++)
    positions_to_window(&w.gradient, c, windows + 9 * (int64_t)c * op->in[0].c, thread_lines(&w));
}
