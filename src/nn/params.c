/* The parameter table: lookup by name, initial values, digest. */
#include <math.h>
#include <string.h>

#include "gendistill/nn.h"

const gd_param *gd_param_table_find(const gd_param_table *table, const char *name) {
  for (int i = 0; i < table->n; i++)
    if (strcmp(table->params[i].name, name) == 0) return &table->params[i];
  return NULL;
}

void gd_param_table_initialise(const gd_param_table *table, uint64_t seed, float *values) {
  gd_random key = {.seed = seed, .purpose = GD_RANDOM_INIT};
  for (int i = 0; i < table->n; i++) {
    const gd_param *param = &table->params[i];
    float *out = values + param->offset;
    if (param->init == GD_INIT_NORMAL) {
      gd_random_normal(key, (uint64_t)i, (size_t)param->count, out);
      continue;
    }
    if (param->init == GD_INIT_UNIFORM) gd_random_uniform(key, (uint64_t)i, (size_t)param->count, out);
    float bound = 1.0f / sqrtf((float)param->fan_in);
    for (int64_t j = 0; j < param->count; j++) {
      if (param->init == GD_INIT_UNIFORM)
        out[j] = (2.0f * out[j] - 1.0f) * bound;
      else
        out[j] = param->init == GD_INIT_ONE ? 1.0f : 0.0f;
    }
  }
}

uint64_t gd_param_table_digest(const gd_param_table *table, const float *values) {
  return gd_digest(values, (size_t)table->total * sizeof(float), 0);
}
