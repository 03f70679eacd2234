/* The real Fashion-MNIST files, where their package is installed. */
#include <sys/stat.h>

#include "gendistill/config.h"
#include "gendistill/data.h"
#include "support.h"

// Reads a split of the default data set at `size`, or NULL where it is not installed.
static gd_dataset *read_installed(gd_split split, const char *set) {
  gd_config *config = NULL;
  gd_dataset *dataset = NULL;
  struct stat status;
  assert_ok(gd_config_create(&config, NULL, 1, &set));
  if (stat(config->dataset.path, &status) == 0)
    assert_ok(gd_dataset_read(&dataset, test_comm, &config->dataset, split));
  gd_config_destroy(&config);
  return dataset;
}

static void check_content(const gd_dataset *dataset, int64_t n, const uint8_t first[10]) {
  int64_t count[10] = {0};
  assert_int_equal(dataset->n, n);
  assert_memory_equal(dataset->labels, first, 10);
  for (int64_t i = 0; i < n; i++) count[dataset->labels[i]]++;
  for (int c = 0; c < 10; c++) assert_int_equal(count[c], n / 10);
}

static void train_has_60000_images(void **state) {
  (void)state;
  gd_dataset *dataset = read_installed(GD_TRAIN, "dataset.image_size=16");
  if (!dataset) skip();
  check_content(dataset, 60000, (const uint8_t[]){9, 0, 0, 3, 0, 2, 7, 2, 5, 5});
  assert_int_equal(dataset->size, 16);
  gd_dataset_destroy(&dataset);
}

static void test_has_10000_images(void **state) {
  (void)state;
  gd_dataset *dataset = read_installed(GD_TEST, "dataset.image_size=32");
  if (!dataset) skip();
  check_content(dataset, 10000, (const uint8_t[]){9, 2, 1, 1, 6, 1, 4, 6, 5, 7});
  uint64_t digest = gd_dataset_digest(dataset), first = digest;
  MPI_Bcast(&first, 1, MPI_UINT64_T, 0, test_comm->mpi);
  assert_true(digest == first);
  gd_dataset_destroy(&dataset);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(train_has_60000_images),
      cmocka_unit_test(test_has_10000_images),
  };
  return GD_TEST_MAIN(tests);
}
