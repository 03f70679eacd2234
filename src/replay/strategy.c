/* The table of strategies (DESIGN 4). A new strategy is a new row. */
#include "gendistill/replay.h"

static const gd_strategy table[GD_N_STRATEGIES] = {
    [GD_FINETUNE] = {GD_DATA_TASK, GD_INPUT_NONE, GD_TARGET_NONE},
    [GD_JOINT] = {GD_DATA_ALL, GD_INPUT_NONE, GD_TARGET_NONE},
    [GD_CUMULATIVE] = {GD_DATA_SO_FAR, GD_INPUT_NONE, GD_TARGET_NONE},
    [GD_GENERATIVE_REPLAY] = {GD_DATA_TASK, GD_INPUT_SAMPLES, GD_TARGET_NOISE},
    [GD_GENERATIVE_DISTILLATION] = {GD_DATA_TASK, GD_INPUT_SAMPLES, GD_TARGET_TEACHER},
    [GD_LWF] = {GD_DATA_TASK, GD_INPUT_CURRENT, GD_TARGET_TEACHER},
    [GD_GAUSSIAN] = {GD_DATA_TASK, GD_INPUT_NOISE, GD_TARGET_TEACHER},
};

const gd_strategy *gd_strategy_get(gd_strategy_id id) {
  GD_REQUIRE(id >= 0 && id < GD_N_STRATEGIES);
  return &table[id];
}

int gd_strategy_n_tasks(const gd_config *config) {
  return gd_strategy_get(config->strategy.name)->data == GD_DATA_ALL ? 1 : config->tasks.count;
}
