/* The table of data sets. A kind is defined with the reader of its files. */
#include "gendistill/data.h"

#define DATASET_DECLARATION(name) extern const gd_dataset_kind gd_dataset_##name;
#define DATASET_ROW(name)         &gd_dataset_##name,
GD_DATASETS(DATASET_DECLARATION)
static const gd_dataset_kind *const kinds[GD_N_DATASETS] = {GD_DATASETS(DATASET_ROW)};
static const char *const names[GD_N_DATASETS] = {GD_DATASETS(GD_LIST_NAME)};

const gd_dataset_kind *gd_dataset_kind_get(gd_dataset_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_DATASETS);
  return kinds[id];
}

const char *gd_dataset_name(gd_dataset_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_DATASETS);
  return names[id];
}
