/* The table of objectives. */
#include "gendistill/diffusion.h"

#define OBJECTIVE_DECLARATION(name) extern const gd_objective gd_objective_##name;
#define OBJECTIVE_ROW(name)         &gd_objective_##name,
GD_OBJECTIVES(OBJECTIVE_DECLARATION)
static const gd_objective *const objectives[GD_N_OBJECTIVES] = {GD_OBJECTIVES(OBJECTIVE_ROW)};

const gd_objective *gd_objective_get(gd_objective_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_OBJECTIVES);
  return objectives[id];
}
