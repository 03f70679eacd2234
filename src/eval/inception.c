/* Inception-v3 as a feature extractor: reading its weights, and images the way the FID wants them. */
#include "eval/inception.h"

#include <math.h>
#include <string.h>

#include "gendistill/model.h"

enum { SIZE = GD_INCEPTION_SIZE, BATCH = 8 };

struct gd_inception {
  const gd_comm *comm;
  gd_net *net;
  gd_plan *plan;
  float *params;
};

static bool ends_with(const char *text, const char *end) {
  size_t n = strlen(text), n_end = strlen(end);
  return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

static gd_err check_shape(const char *path, const gd_param *param, int n_dims, const int64_t *dims) {
  bool same = n_dims == param->n_dims;
  for (int i = 0; i < n_dims && same; i++) same = dims[i] == param->dims[i];
  if (same) return GD_OK;
  return gd_error(GD_ERR_INPUT, "%s: dataset '%s' has another shape than Inception-v3's", path, param->name);
}

static gd_err read_hdf5(const gd_comm *comm, const char *path, const gd_param_table *table, float *params) {
  for (int i = 0; i < table->n; i++) {
    const gd_param *param = &table->params[i];
    float *values;
    int n_dims;
    int64_t dims[4];
    gd_err err = gd_array_read(comm, path, param->name, &values, &n_dims, dims);
    if (err == GD_OK) err = check_shape(path, param, n_dims, dims);
    if (err == GD_OK) memcpy(params + param->offset, values, (size_t)param->count * sizeof *values);
    gd_free(values);
    if (err != GD_OK) return err;
  }
  return GD_OK;
}

gd_err gd_inception_create(gd_inception **out, const gd_comm *comm, const char *path) {
  gd_err err;
  gd_inception *in = GD_NEW(gd_inception);
  *out = NULL;
  in->comm = comm;
  gd_inception_v3_create(&in->net, GD_INCEPTION_FID, SIZE, 1);
  const gd_param_table *table = gd_net_params(in->net);
  in->params = GD_NEW_ARRAY(float, table->total);
  if (ends_with(path, ".h5") || ends_with(path, ".hdf5"))
    GD_TRY(read_hdf5(comm, path, table, in->params));
  else
    GD_TRY(gd_comm_agree(comm, gd_safetensors_read(path, table, in->params)));
  GD_TRY(gd_comm_agree(comm, gd_plan_create(&in->plan, in->net, BATCH, GD_INFERENCE, GD_FLOAT32)));
  gd_plan_load(in->plan, in->params);
  *out = in;
  in = NULL;
done:
  gd_inception_destroy(&in);
  return err;
}

void gd_inception_destroy(gd_inception **inception) {
  gd_inception *in = *inception;
  if (!in) return;
  gd_plan_destroy(&in->plan);
  gd_net_destroy(&in->net);
  gd_free(in->params);
  gd_free(in);
  *inception = NULL;
}

int gd_inception_width(const gd_inception *in) {
  return gd_net_output_shape(in->net).c;
}

uint64_t gd_inception_digest(const gd_inception *in) {
  return gd_param_table_digest(gd_net_params(in->net), in->params);
}

// Where output pixel i lies between two input pixels: half-pixel centres, edges repeated.
static void place(int i, int size, int *first, int *second, float *share) {
  float at = ((float)i + 0.5f) * (float)size / SIZE - 0.5f;
  if (at < 0) at = 0;
  *first = (int)at;
  *second = *first < size - 1 ? *first + 1 : *first;
  *share = at - (float)*first;
}

void gd_inception_prepare(const uint8_t *image, int size, int channels, float *out) {
  for (int y = 0; y < SIZE; y++) {
    int top, bottom;
    float down;
    place(y, size, &top, &bottom, &down);
    for (int x = 0; x < SIZE; x++) {
      int left, right;
      float along;
      place(x, size, &left, &right, &along);
      for (int c = 0; c < 3; c++) {
        int from = channels == 3 ? c : 0;
        float a = image[(top * size + left) * channels + from], b = image[(top * size + right) * channels + from];
        float d = image[(bottom * size + left) * channels + from], e = image[(bottom * size + right) * channels + from];
        float value = (1 - down) * ((1 - along) * a + along * b) + down * ((1 - along) * d + along * e);
        out[((int64_t)y * SIZE + x) * 3 + c] = value / 127.5f - 1.0f;
      }
    }
  }
}

void gd_inception_extract(gd_inception *in, int64_t n_global, const gd_images *images, gd_features *features) {
  int width = gd_inception_width(in);
  gd_range local = gd_range_images(in->comm, n_global);
  int64_t n = local.end - local.begin;
  *features =
      (gd_features){.n_global = n_global, .width = width, .local = local, .values = GD_NEW_ARRAY(double, n *width)};
  for (int64_t first = 0; first < n; first += BATCH) {
    int count = (int)(n - first < BATCH ? n - first : BATCH);
#pragma omp parallel for
    for (int i = 0; i < count; i++) {
      uint8_t *image = gd_images_get(images, first + i, images->size);
      gd_inception_prepare(image, images->size, images->channels,
                           gd_plan_input(in->plan, 0) + (int64_t)i * SIZE * SIZE * 3);
      gd_free(image);
    }
    const float *out = gd_plan_forward(in->plan);
    for (int64_t k = 0; k < (int64_t)count * width; k++) features->values[first * width + k] = out[k];
  }
}
