/* Convolutions with 3 x 3 filters by Winograd's algorithm, forward and both gradients, float32: a special class of
 * gd_op_conv.
 *
 * A map is cut into tiles of m x m output pixels, and padded with zeros to whole tiles. Transformed in both
 * directions (winograd_form.h), the input pixels of a tile and each filter have (m + 2) x (m + 2) elements in the
 * Winograd domain, here called positions. At each position the product of input and filter, summed over the input
 * channels, is the transformed output. So a convolution becomes one matrix product per position: (tiles, C) by (C, C').
 * - Backward data: the same products with filters rotated by 180 degrees.
 * - Backward weights: products of transformed input and transformed output gradient, summed over the tiles.
 *
 * The batch is processed in chunks of rows of tiles, so that a chunk's transformed arrays stay in the cache. */
#include <omp.h>
#include <string.h>

#include "nn/bfloat16.h"
#include "nn/dnnl.h"
#include "nn/winograd_form.h"

enum {
  // oneDNN's sgemm processes rows in groups of 4, 6 or 8, and rounds those of a last, smaller group differently. With a
  // multiple of all three the result for an image does not depend on its place in the batch.
  ROWS = 24,
  BLOCK = 4 * ROWS,  // rows of one call
  // Size of both transformed arrays of a chunk. Where the transformed weights, which every chunk reads, are larger, the
  // arrays have their size; twice that would gain 10 % there, and cost 80 MB on the paper's network.
  CHUNK_NBYTES = 4 << 20,
  WEIGHT_BLOCK = 64,  // input channels of one product for the gradient by weights
  FILTER_BLOCK = 16,  // input channels whose filters are transformed together
  BIAS_BLOCK = 32,    // output channels of one sum for the gradient by the bias
  // With 16 x 16 channels the direct convolution is faster, with 16 x 32 this one.
  MIN_CHANNELS = 16,
  MIN_WEIGHTS = 16 * 32,
  SMALL_MAP = 36,  // maximum pixels for tiles of 2 x 2, whose transformed weights grow by 16/9 instead of 4
};

// ---- Work arrays

// One matrix per position: (positions, rows, row_floats), where a row has `channels` floats and padding.
typedef struct gd_stack {
  float *data;
  int channels;
  int64_t row_floats, position_floats;
} gd_stack;

// How the batch is cut, the transformed weights, and the scratch.
typedef struct gd_work {
  const gd_winograd_form *form;
  int height, width;     // of the maps
  int tiles_y, tiles_x;  // of a map
  int n_rows;            // of tiles, in the whole batch
  int chunk_rows;        // of them in a chunk
  int n_positions;
  gd_stack weights, gradient;  // transformed; one row per input channel
  gd_stack x, y;               // the chunk's transformed input and output, or their gradients; one row per tile
  float *lines;                // (threads, line_floats): work memory
  int64_t line_floats;
} gd_work;

static int min_int(int a, int b) {
  return a < b ? a : b;
}

static int count_parts(int n, int part) {
  return (n + part - 1) / part;
}

static const gd_winograd_form *form_of(const gd_op *op) {
  return op->out.h * op->out.w <= SMALL_MAP ? &gd_winograd_2 : &gd_winograd_4;
}

// Floats of a row: more than its channels, because rows at distances of a power of two share few sets of the cache.
static int64_t padded_row(int channels) {
  return channels + 16;
}

static gd_stack stack_of(int rows, int channels) {
  int64_t row_floats = padded_row(channels);
  return (gd_stack){.channels = channels, .row_floats = row_floats, .position_floats = rows * row_floats + 16};
}

static size_t stack_count(const gd_work *w, const gd_stack *s) {
  return (size_t)(w->n_positions * s->position_floats);
}

// Everything except the pointers.
static gd_work plan_work(const gd_op *op) {
  const gd_winograd_form *f = form_of(op);
  gd_work w = {.form = f, .height = op->out.h, .width = op->out.w, .n_positions = f->side * f->side};
  w.tiles_y = count_parts(w.height, f->tile);
  w.tiles_x = count_parts(w.width, f->tile);
  w.n_rows = op->batch * w.tiles_y;
  int in = op->in[0].c, out = op->out.c, wider = in > out ? in : out;
  int fit = CHUNK_NBYTES / (w.n_positions * (int)sizeof(float) * (in + out));
  int like_weights = in * out / (in + out);  // tiles whose transformed arrays are as large as the weights
  int tiles = fit > like_weights ? fit : like_weights;
  w.chunk_rows = min_int(count_parts(tiles, w.tiles_x), w.n_rows);
  int room = count_parts(w.chunk_rows * w.tiles_x, ROWS) * ROWS;
  w.weights = w.gradient = stack_of(in, out);
  w.x = stack_of(room, in);
  w.y = stack_of(room, out);
  int64_t map_lines = (int64_t)(f->side + f->tile) * (w.tiles_x * f->tile + 2) * wider;
  int64_t filter_lines = (9 * FILTER_BLOCK + 3 * f->side) * padded_row(out);
  w.line_floats = map_lines > filter_lines ? map_lines : filter_lines;
  return w;
}

static gd_work work_of(const gd_op *op) {
  gd_work w = plan_work(op);
  w.weights.data = op->state;
  w.x.data = op->scratch;
  w.y.data = w.x.data + stack_count(&w, &w.x);
  w.gradient.data = w.y.data + stack_count(&w, &w.y);
  w.lines = w.gradient.data + (op->training ? stack_count(&w, &w.gradient) : 0);
  return w;
}

static float *thread_lines(const gd_work *w) {
  return w->lines + omp_get_thread_num() * w->line_floats;
}

// First map row of a row of tiles: within its image, and within the batch.
static int first_row_in_image(const gd_work *w, int row) {
  return row % w->tiles_y * w->form->tile;
}

static int first_row_in_batch(const gd_work *w, int row) {
  return row / w->tiles_y * w->height + first_row_in_image(w, row);
}

// Transforms n_in elements that are in_stride floats apart.
static void transform_strided(gd_winograd_transform *function, int n_in, const float *in, int64_t in_stride, int n,
                              float *out, int64_t stride) {
  const float *vectors[GD_WINOGRAD_MAX_SIDE];
  for (int i = 0; i < n_in; i++) vectors[i] = in + i * in_stride;
  function(vectors, n, out, stride);
}

// ---- Maps to the Winograd domain and back, one row of tiles at a time; `tile` is the row's first tile in the chunk

// Transforms n_in map rows, the first `pad` of them above the row of tiles, down the columns and then along the rows,
// which begin `pad` pixels left of the map. Pixels outside of the map are zero.
static void map_to_domain(const gd_work *w, gd_winograd_transform *function, int n_in, int pad, const float *map,
                          int row, const gd_stack *to, int tile) {
  const gd_winograd_form *f = w->form;
  int c = to->channels, inside = w->width * c, left = pad * c, line = (w->tiles_x * f->tile + 2 * pad) * c;
  float *lines = thread_lines(w), *zeros = lines + f->side * line;
  int top = first_row_in_image(w, row) - pad, first = first_row_in_batch(w, row) - pad;
  const float *in[GD_WINOGRAD_MAX_SIDE];
  if (top < 0 || top + n_in > w->height) memset(zeros, 0, (size_t)inside * sizeof(float));
  for (int i = 0; i < n_in; i++)
    in[i] = top + i < 0 || top + i >= w->height ? zeros : map + (int64_t)(first + i) * inside;
  function(in, inside, lines + left, line);
  for (int i = 0; i < f->side; i++) {
    memset(lines + i * line, 0, (size_t)left * sizeof(float));
    memset(lines + i * line + left + inside, 0, (size_t)(line - left - inside) * sizeof(float));
  }
  for (int t = 0; t < w->tiles_x; t++) {
    float *out = to->data + (tile + t) * to->row_floats;
    for (int i = 0; i < f->side; i++)
      transform_strided(function, n_in, lines + i * line + t * f->tile * c, c, c,
                        out + i * f->side * to->position_floats, to->position_floats);
  }
}

static void input_to_domain(const gd_work *w, const float *map, int row, const gd_stack *to, int tile) {
  map_to_domain(w, w->form->input, w->form->side, 1, map, row, to, tile);
}

static void output_gradient_to_domain(const gd_work *w, const float *map, int row, const gd_stack *to, int tile) {
  map_to_domain(w, w->form->output_gradient, w->form->tile, 0, map, row, to, tile);
}

// map and residual may be the same array.
static void domain_to_output(const gd_work *w, const gd_stack *from, int tile, float *map, int row, const float *bias,
                             const float *residual) {
  const gd_winograd_form *f = w->form;
  int c = from->channels, inside = w->width * c, line = w->tiles_x * f->tile * c;
  float *lines = thread_lines(w), *out = lines + f->side * line;
  for (int t = 0; t < w->tiles_x; t++) {
    const float *in = from->data + (tile + t) * from->row_floats;
    for (int i = 0; i < f->side; i++)
      transform_strided(f->output, f->side, in + i * f->side * from->position_floats, from->position_floats, c,
                        lines + i * line + t * f->tile * c, c);
  }
  transform_strided(f->output, f->side, lines, line, inside, out, line);
  for (int i = 0; i < min_int(f->tile, w->height - first_row_in_image(w, row)); i++) {
    int64_t first = (int64_t)(first_row_in_batch(w, row) + i) * inside;
    float *sum = out + i * line;
    for (int x = 0; bias && x < w->width; x++) gd_floats_add(sum + x * c, bias, c);
    if (residual) gd_floats_add(sum, residual + first, inside);
    memcpy(map + first, sum, (size_t)inside * sizeof(float));
  }
}

// ---- Products

// At position p, the transform of the rotated filter equals that of the filter at the returned position.
static int rotated_position(const gd_winograd_form *f, int p) {
  return f->reversed[p / f->side] * f->side + f->reversed[p % f->side];
}

// Forward: (tiles, C) by the weights to (tiles, C'). Backward: (tiles, C') by the rotated weights to (tiles, C).
static void multiply_positions(const gd_work *w, const gd_stack *from, bool backward, const gd_stack *to, int n_tiles) {
  int n_rows = count_parts(n_tiles, ROWS) * ROWS, n_blocks = count_parts(n_rows, BLOCK);
#pragma omp parallel for schedule(dynamic)
  for (int k = 0; k < w->n_positions * n_blocks; k++) {
    int p = k / n_blocks, row = k % n_blocks * BLOCK;
    const float *weights = w->weights.data + (backward ? rotated_position(w->form, p) : p) * w->weights.position_floats;
    GD_DNNL(dnnl_sgemm('N', backward ? 'T' : 'N', min_int(BLOCK, n_rows - row), to->channels, from->channels, 1,
                       from->data + p * from->position_floats + row * from->row_floats, from->row_floats, weights,
                       w->weights.row_floats, 0, to->data + p * to->position_floats + row * to->row_floats,
                       to->row_floats));
  }
}

static void winograd_convolve(const gd_work *w, const gd_stack *from, const float *in, bool backward,
                              const gd_stack *to, float *out, const float *bias, const float *residual) {
  for (int first = 0; first < w->n_rows; first += w->chunk_rows) {
    int n = min_int(w->chunk_rows, w->n_rows - first);
#pragma omp parallel for
    for (int r = 0; r < n; r++) input_to_domain(w, in, first + r, from, r * w->tiles_x);
    multiply_positions(w, from, backward, to, n * w->tiles_x);
#pragma omp parallel for
    for (int r = 0; r < n; r++) domain_to_output(w, to, r * w->tiles_x, out, first + r, bias, residual);
  }
}

// Adds a chunk's tiles to the gradient of the transformed weights.
static void accumulate_gradient(const gd_work *w, int n_tiles, bool first) {
  int n_blocks = count_parts(w->x.channels, WEIGHT_BLOCK);
#pragma omp parallel for schedule(dynamic)
  for (int k = 0; k < w->n_positions * n_blocks; k++) {
    int p = k / n_blocks, channel = k % n_blocks * WEIGHT_BLOCK, n = min_int(WEIGHT_BLOCK, w->x.channels - channel);
    GD_DNNL(dnnl_sgemm('T', 'N', n, w->y.channels, n_tiles, 1, w->x.data + p * w->x.position_floats + channel,
                       w->x.row_floats, w->y.data + p * w->y.position_floats, w->y.row_floats, first ? 0 : 1,
                       w->gradient.data + p * w->gradient.position_floats + channel * w->gradient.row_floats,
                       w->gradient.row_floats));
  }
}

// Adds the map rows begin .. end-1 to the gradient of the bias; each row is summed first.
static void accumulate_bias(const gd_work *w, const float *dy, int begin, int end, float *bias) {
  int c = w->y.channels;
#pragma omp parallel for
  for (int channel = 0; channel < c; channel += BIAS_BLOCK) {
    int n = min_int(BIAS_BLOCK, c - channel);
    for (int row = begin; row < end; row++) {
      float sum[BIAS_BLOCK] = {0};
      for (int x = 0; x < w->width; x++) gd_floats_add(sum, dy + ((int64_t)row * w->width + x) * c + channel, n);
      gd_floats_add(bias + channel, sum, n);
    }
  }
}

// ---- Filters (C', C, 3, 3): all output channels of `n` input channels from `channel` on

static void filters_to_domain(const gd_work *w, const float *filters, int channel, int n) {
  const gd_winograd_form *f = w->form;
  const gd_stack *to = &w->weights;
  int c = w->x.channels, c_out = to->channels;
  int64_t line = padded_row(c_out);
  float *lines = thread_lines(w), *columns = lines + 9 * n * line;
  for (int o = 0; o < c_out; o++)
    for (int k = 0; k < 9 * n; k++) lines[k * line + o] = filters[9 * ((int64_t)o * c + channel) + k];
  for (int i = 0; i < n; i++) {
    float *out = to->data + (channel + i) * to->row_floats;
    for (int j = 0; j < 3; j++)
      transform_strided(f->filter, 3, lines + (9 * i + j) * line, 3 * line, c_out, columns + j * line, 3 * line);
    for (int j = 0; j < f->side; j++)
      transform_strided(f->filter, 3, columns + 3 * j * line, line, c_out, out + j * f->side * to->position_floats,
                        to->position_floats);
  }
}

static void domain_to_filters(const gd_work *w, float *filters, int channel, int n) {
  const gd_winograd_form *f = w->form;
  const gd_stack *from = &w->gradient;
  int c = w->x.channels, c_out = from->channels;
  int64_t line = padded_row(c_out);
  float *lines = thread_lines(w), *columns = lines + 9 * n * line;
  for (int i = 0; i < n; i++) {
    const float *in = from->data + (channel + i) * from->row_floats;
    for (int j = 0; j < f->side; j++)
      transform_strided(f->filter_gradient, f->side, in + j * from->position_floats, f->side * from->position_floats,
                        c_out, columns + j * line, f->side * line);
    for (int j = 0; j < 3; j++)
      transform_strided(f->filter_gradient, f->side, columns + j * f->side * line, line, c_out,
                        lines + (9 * i + 3 * j) * line, line);
  }
  for (int o = 0; o < c_out; o++)
    for (int k = 0; k < 9 * n; k++) filters[9 * ((int64_t)o * c + channel) + k] = lines[k * line + o];
}

// ---- The op's passes

// Whether the op is a convolution that this class computes, and faster on this CPU.
static bool winograd_suits(const gd_op *op) {
  const gd_attributes *a = &op->node->attributes;
  bool is_3x3 = a->kernel[0] == 3 && a->kernel[1] == 3 && a->stride == 1 && a->pad[0] == 1 && a->pad[1] == 1;
  if (!is_3x3 || op->x_type[0] != GD_FLOAT32 || gd_dnnl_has_avx512()) return false;
  int in = op->in[0].c, out = op->out.c;
  if (in < MIN_CHANNELS || out < MIN_CHANNELS || in * out < MIN_WEIGHTS) return false;
  gd_work w = plan_work(op);
  return 3 * w.tiles_y * w.tiles_x * w.n_positions <= 2 * 9 * w.height * w.width;  // at most two thirds of the products
}

static gd_err winograd_prepare(gd_op *op) {
  gd_work w = plan_work(op);
  size_t gradient = op->training ? stack_count(&w, &w.gradient) : 0;
  size_t lines = (size_t)(omp_get_max_threads() * w.line_floats);
  op->scratch_nbytes = (stack_count(&w, &w.x) + stack_count(&w, &w.y) + gradient + lines) * sizeof(float);
  op->state = gd_alloc_zero(stack_count(&w, &w.weights) * sizeof(float));
  return GD_OK;
}

static void winograd_load(gd_op *op, const float *params) {
  (void)params;
  gd_work w = work_of(op);
#pragma omp parallel for
  for (int c = 0; c < op->in[0].c; c += FILTER_BLOCK)
    filters_to_domain(&w, gd_op_param(op, 0), c, min_int(FILTER_BLOCK, op->in[0].c - c));
}

static void winograd_forward(gd_op *op) {
  gd_work w = work_of(op);
  const float *bias = op->node->attributes.bias ? gd_op_param(op, 1) : NULL;
  winograd_convolve(&w, &w.x, op->x[0], false, &w.y, op->y, bias, op->node->n_inputs == 2 ? op->x[1] : NULL);
}

static void winograd_backward_weights(gd_op *op, float *grads) {
  gd_work w = work_of(op);
  bool has_bias = op->node->attributes.bias;
  float *bias = has_bias ? gd_op_grad(op, grads, 1) : NULL;
  if (has_bias) memset(bias, 0, (size_t)op->out.c * sizeof(float));
  for (int first = 0; first < w.n_rows; first += w.chunk_rows) {
    int n = min_int(w.chunk_rows, w.n_rows - first);
#pragma omp parallel for
    for (int r = 0; r < n; r++) {
      input_to_domain(&w, op->x[0], first + r, &w.x, r * w.tiles_x);
      output_gradient_to_domain(&w, op->dy, first + r, &w.y, r * w.tiles_x);
    }
    accumulate_gradient(&w, n * w.tiles_x, first == 0);
    if (has_bias) accumulate_bias(&w, op->dy, first_row_in_batch(&w, first), first_row_in_batch(&w, first + n), bias);
  }
#pragma omp parallel for
  for (int c = 0; c < op->in[0].c; c += FILTER_BLOCK)
    domain_to_filters(&w, gd_op_grad(op, grads, 0), c, min_int(FILTER_BLOCK, op->in[0].c - c));
}

static void winograd_backward(gd_op *op, float *grads) {
  double start = gd_seconds();
  winograd_backward_weights(op, grads);
  op->seconds_weights += gd_seconds() - start;
  gd_work w = work_of(op);
  if (op->dx[0]) winograd_convolve(&w, &w.y, op->dy, true, &w.x, op->dx[0], NULL, NULL);
}

static void winograd_release(gd_op *op) {
  gd_free(op->state);
}

const gd_op_class gd_op_winograd = {.suits = winograd_suits,
                                    .prepare = winograd_prepare,
                                    .load = winograd_load,
                                    .forward = winograd_forward,
                                    .backward = winograd_backward,
                                    .release = winograd_release};
