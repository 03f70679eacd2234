/* Inception-v3 as feature extractor: weights from safetensors and from HDF5, images resized as for the FID, the same
 * features on any number of ranks, and files that do not fit. The network itself: model/test_inception_golden.c. */
#include <hdf5.h>
#include <math.h>
#include <string.h>

#include "eval/inception.h"
#include "gendistill/model.h"
#include "support.h"

enum { N_IMAGES = 40, SMALL = 16 };

static gd_net *net;
static float *params;
static char *folder, *weights;

static int open_weights(void **state) {
  (void)state;
  folder = test_folder_create();
  weights = gd_format("%s/inception.safetensors", folder);
  gd_inception_v3_create(&net, GD_INCEPTION_FID, GD_INCEPTION_SIZE, 1);
  const gd_param_table *table = gd_net_params(net);
  params = GD_NEW_ARRAY(float, table->total);
  gd_param_table_initialise(table, 3, params);
  if (test_comm->rank == 0) assert_ok(gd_safetensors_write(weights, table, params));
  MPI_Barrier(test_comm->mpi);
  return 0;
}

static int close_weights(void **state) {
  (void)state;
  gd_free(params);
  gd_free(weights);
  gd_net_destroy(&net);
  test_folder_remove(folder);
  return 0;
}

// Bilinear in double precision, with half-pixel centres and repeated edges.
static double enlarged(const uint8_t *image, int y, int x) {
  double sum = 0;
  for (int i = 0; i < SMALL; i++)
    for (int j = 0; j < SMALL; j++) {
      double at_y = fmin(fmax((y + 0.5) * SMALL / GD_INCEPTION_SIZE - 0.5, 0), SMALL - 1);
      double at_x = fmin(fmax((x + 0.5) * SMALL / GD_INCEPTION_SIZE - 0.5, 0), SMALL - 1);
      sum += fmax(0, 1 - fabs(at_y - i)) * fmax(0, 1 - fabs(at_x - j)) * image[i * SMALL + j];
    }
  return sum;
}

static void images_are_enlarged_without_rounding(void **state) {
  (void)state;
  uint8_t image[SMALL * SMALL];
  float *out = GD_NEW_ARRAY(float, (int64_t)GD_INCEPTION_SIZE *GD_INCEPTION_SIZE * 3);
  for (int i = 0; i < SMALL * SMALL; i++) image[i] = (uint8_t)(i * 37 % 256);
  gd_inception_prepare(image, SMALL, 1, out);
  for (int y = 0; y < GD_INCEPTION_SIZE; y++)
    for (int x = 0; x < GD_INCEPTION_SIZE; x++) {
      const float *pixel = out + ((int64_t)y * GD_INCEPTION_SIZE + x) * 3;
      assert_true(fabs(pixel[0] - (enlarged(image, y, x) / 127.5 - 1)) <= 1e-5);
      assert_true(pixel[0] == pixel[1] && pixel[0] == pixel[2]);
    }
  gd_free(out);
}

static uint8_t *make_images(gd_range range) {
  int64_t count = (range.end - range.begin) * SMALL * SMALL;
  uint8_t *images = gd_alloc((size_t)count + 1);
  for (int64_t i = 0; i < count; i++) images[i] = (uint8_t)((range.begin * SMALL * SMALL + i) * 73 % 251);
  return images;
}

static void features_are_those_of_the_network(void **state) {
  (void)state;
  gd_inception *inception;
  gd_features features;
  gd_plan *plan;
  assert_ok(gd_inception_create(&inception, test_comm, weights));
  assert_int_equal(gd_inception_width(inception), 2048);
  assert_true(gd_inception_digest(inception) == gd_param_table_digest(gd_net_params(net), params));
  gd_range local = gd_range_images(test_comm, N_IMAGES);
  uint8_t *images = make_images(local);
  gd_images view = {.held = images, .held_size = SMALL, .size = SMALL, .channels = 1};
  gd_inception_extract(inception, N_IMAGES, &view, &features);
  assert_true(features.n_global == N_IMAGES && features.local.begin == local.begin && features.width == 2048);
  assert_ok(gd_plan_create(&plan, net, 1, GD_INFERENCE, GD_FLOAT32));
  gd_plan_load(plan, params);
  for (int64_t i = local.begin; i < local.end; i += 13) {  // some images per rank, with a plan of one image
    uint8_t *one = make_images((gd_range){i, i + 1});
    gd_inception_prepare(one, SMALL, 1, gd_plan_input(plan, 0));
    const float *expected = gd_plan_forward(plan);
    double largest = 0, error = 0;
    for (int k = 0; k < 2048; k++) {
      largest = fmax(largest, fabs(expected[k]));
      error = fmax(error, fabs(features.values[(i - local.begin) * 2048 + k] - expected[k]));
    }
    assert_true(largest > 0 && error <= 1e-5 * largest);
    gd_free(one);
  }
  gd_plan_destroy(&plan);
  gd_inception_destroy(&inception);
  gd_features_clear(&features);
  gd_free(images);
}

// All parameters except `without` as datasets of an HDF5 file. Rank 0 writes.
static void write_hdf5(const char *path, const char *without) {
  if (test_comm->rank == 0) {
    const gd_param_table *table = gd_net_params(net);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    for (int i = 0; i < table->n; i++) {
      const gd_param *p = &table->params[i];
      hsize_t dims[4];
      if (without && strcmp(p->name, without) == 0) continue;
      for (int k = 0; k < p->n_dims; k++) dims[k] = (hsize_t)p->dims[k];
      hid_t space = H5Screate_simple(p->n_dims, dims, NULL);
      hid_t set = H5Dcreate2(file, p->name, H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
      assert_true(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, params + p->offset) >= 0);
      H5Dclose(set);
      H5Sclose(space);
    }
    assert_true(H5Fclose(file) >= 0);
  }
  MPI_Barrier(test_comm->mpi);
}

static void weights_can_come_from_hdf5(void **state) {
  (void)state;
  gd_inception *inception = NULL;
  char *path = gd_format("%s/inception.h5", folder);
  write_hdf5(path, NULL);
  assert_ok(gd_inception_create(&inception, test_comm, path));
  assert_true(gd_inception_digest(inception) == gd_param_table_digest(gd_net_params(net), params));
  gd_inception_destroy(&inception);
  write_hdf5(path, "Mixed_6e.branch7x7_2.conv.weight");
  assert_int_equal(gd_inception_create(&inception, test_comm, path), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "Mixed_6e.branch7x7_2.conv.weight"));
  assert_int_equal(gd_inception_create(&inception, test_comm, "/nosuch.safetensors"), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "/nosuch.safetensors"));
  gd_free(path);
}

#define WITH_WEIGHTS(test) cmocka_unit_test_setup_teardown(test, open_weights, close_weights)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(images_are_enlarged_without_rounding),
      WITH_WEIGHTS(features_are_those_of_the_network),
      WITH_WEIGHTS(weights_can_come_from_hdf5),
  };
  return GD_TEST_MAIN(tests);
}
