/* The evaluation classifier on real Fashion-MNIST: it learns and is cached, and the Fréchet distance of its features
 * tells real images from noise and from images of two classes only. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/classifier.h"
#include "eval/moments.h"
#include "support.h"

enum { N_TEST = 1000 };

static const char short_training[] = "image_size: 16, limit: 64, epochs: 1, batch_size: 32, slots: 2";

static bool under_valgrind(void) {
  return getenv("GD_VALGRIND") != NULL;
}

typedef struct gd_data {
  char *folder;
  gd_dataset *train, *test;
} gd_data;

static gd_config *make_config(const gd_data *data, const char *settings) {
  gd_config *config = NULL;
  char *text = gd_format("evaluation: {cache: %s/cache}\nclassifier: {%s}\n", data->folder, settings);
  assert_ok(gd_config_create_from_text(&config, "test", text, 0, NULL));
  gd_free(text);
  return config;
}

static int open_data(void **state) {
  gd_data *data = *state = GD_NEW(gd_data);
  data->folder = test_folder_create();
  gd_config *config = make_config(data, "epochs: 1");
  assert_ok(gd_dataset_read(&data->train, test_comm, &config->dataset, GD_TRAIN));
  assert_ok(gd_dataset_read(&data->test, test_comm, &config->dataset, GD_TEST));
  data->test->n = under_valgrind() ? 40 : N_TEST;  // a subset is enough here
  gd_config_destroy(&config);
  return 0;
}

static int close_data(void **state) {
  gd_data *data = *state;
  test_folder_remove(data->folder);
  gd_dataset_destroy(&data->train);
  gd_dataset_destroy(&data->test);
  gd_free(data);
  return 0;
}

static gd_moments *moments_of(gd_classifier *classifier, const gd_grid *grid, int64_t n, gd_images images,
                              const bool *selected) {
  gd_features features;
  gd_moments *moments;
  gd_range local = gd_range_images(test_comm, n);
  images.held += local.begin * images.held_size * images.held_size;
  gd_classifier_extract(classifier, n, &images, NULL, &features);
  gd_moments_create(&moments, grid, &features, selected ? selected + local.begin : NULL);
  gd_features_clear(&features);
  return moments;
}

static double distance(gd_moments *a, gd_moments *b) {
  gd_frechet frechet;
  assert_ok(gd_frechet_distance(&frechet, a, b));
  return frechet.distance;
}

static void distances_tell_real_images_from_others(void **state) {
  if (under_valgrind()) skip();  // it would take days
  gd_data *data = *state;
  gd_config *config = make_config(data, "limit: 2048, epochs: 2, batch_size: 64, slots: 2");
  gd_classifier *classifier;
  gd_grid *grid;
  assert_ok(gd_classifier_obtain(&classifier, test_comm, config, data->train, data->test));
  assert_true(gd_classifier_accuracy(classifier) > 0.6 && gd_classifier_accuracy(classifier) < 1);
  gd_grid_create(&grid, test_comm, gd_grid_ranks_for(gd_classifier_width(classifier)));

  int size = data->test->size;
  uint8_t *noise = gd_alloc((size_t)N_TEST * (size_t)size * (size_t)size);
  gd_random key = {.seed = 1, .purpose = GD_RANDOM_NOISE};
  for (int64_t i = 0; i < (int64_t)N_TEST * size * size; i++)
    noise[i] = (uint8_t)gd_random_below(key, (uint64_t)i, 256);
  bool *two_classes = GD_NEW_ARRAY(bool, N_TEST);
  for (int i = 0; i < N_TEST; i++) two_classes[i] = data->train->labels[i] < 2;

  gd_images as_noise = {.held = noise, .held_size = size, .size = size, .channels = 1};
  gd_moments *real = moments_of(classifier, grid, N_TEST, gd_dataset_images(data->test, 0), NULL);
  gd_moments *training = moments_of(classifier, grid, N_TEST, gd_dataset_images(data->train, 0), NULL);
  gd_moments *few = moments_of(classifier, grid, N_TEST, gd_dataset_images(data->train, 0), two_classes);
  gd_moments *random = moments_of(classifier, grid, N_TEST, as_noise, NULL);
  double to_training = distance(real, training), to_few = distance(real, few), to_noise = distance(real, random);
  if (test_comm->rank == 0)
    printf("accuracy %.3f; distance to training images %.3g, two classes of them %.3g, noise %.3g\n",
           gd_classifier_accuracy(classifier), to_training, to_few, to_noise);
  assert_true(to_training > 0 && to_few > 10 * to_training && to_noise > 20 * to_training);

  gd_moments *all[] = {real, training, few, random};
  for (int i = 0; i < 4; i++) gd_moments_destroy(&all[i]);
  gd_grid_destroy(&grid);
  gd_classifier_destroy(&classifier);
  gd_config_destroy(&config);
  gd_free(noise);
  gd_free(two_classes);
}

static void it_is_trained_once(void **state) {
  gd_data *data = *state;
  gd_config *config = make_config(data, short_training);
  gd_classifier *first, *second, *other;
  assert_ok(gd_classifier_obtain(&first, test_comm, config, data->train, data->test));
  char *path = gd_strdup(gd_classifier_path(first));
  gd_checkpoint header = {0};
  assert_ok(gd_checkpoint_read_header(test_comm, path, &header));
  assert_true(header.accuracy == gd_classifier_accuracy(first) && header.digest == gd_classifier_digest(first));
  gd_checkpoint_clear(&header);

  int64_t n = data->train->n;
  gd_config *same = make_config(data, short_training);
  assert_ok(gd_classifier_obtain(&second, test_comm, same, data->train, data->test));
  assert_true(gd_classifier_digest(second) == gd_classifier_digest(first));
  char *other_seed = gd_format("%s, seed: 1", short_training);
  gd_config *reseeded = make_config(data, other_seed);
  assert_ok(gd_classifier_obtain(&other, test_comm, reseeded, data->train, data->test));
  assert_string_not_equal(gd_classifier_path(other), path);
  assert_true(gd_classifier_digest(other) != gd_classifier_digest(first));

  data->train->n = 10;
  data->train->has_digest = false;
  gd_classifier *none;
  assert_int_equal(gd_classifier_obtain(&none, test_comm, config, data->train, data->test), GD_ERR_INPUT);
  assert_non_null(strstr(gd_error_message(), "fewer than classifier.batch_size"));
  data->train->n = n;
  data->train->has_digest = false;

  gd_classifier_destroy(&first);
  gd_classifier_destroy(&second);
  gd_classifier_destroy(&other);
  gd_config_destroy(&config);
  gd_config_destroy(&same);
  gd_config_destroy(&reseeded);
  gd_free(other_seed);
  gd_free(path);
}

static void a_damaged_one_is_trained_again(void **state) {
  gd_data *data = *state;
  gd_config *config = make_config(data, short_training);
  gd_classifier *first, *second;
  assert_ok(gd_classifier_obtain(&first, test_comm, config, data->train, data->test));
  if (test_comm->rank == 0) {
    FILE *file = fopen(gd_classifier_path(first), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 1 << 20, SEEK_SET), 0);
    int byte = fgetc(file);
    fseek(file, 1 << 20, SEEK_SET);
    fputc(byte ^ 1, file);
    assert_int_equal(fclose(file), 0);
  }
  MPI_Barrier(test_comm->mpi);
  assert_ok(gd_classifier_obtain(&second, test_comm, config, data->train, data->test));
  assert_true(gd_classifier_digest(second) == gd_classifier_digest(first));
  gd_classifier_destroy(&first);
  gd_classifier_destroy(&second);
  gd_config_destroy(&config);
}

#define WITH_DATA(test) cmocka_unit_test_setup_teardown(test, open_data, close_data)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DATA(distances_tell_real_images_from_others),
      WITH_DATA(it_is_trained_once),
      WITH_DATA(a_damaged_one_is_trained_again),
  };
  return GD_TEST_MAIN(tests);
}
