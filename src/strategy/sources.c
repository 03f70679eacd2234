/* The table of sources of generated images, and the sources that generate nothing. */
#include "strategy/source.h"

#define SOURCE_DECLARATION(name) extern const gd_replay_source gd_source_##name;
#define SOURCE_ROW(name)         &gd_source_##name,
GD_GENERATED_SOURCES(SOURCE_DECLARATION)
static const gd_replay_source *const generated[] = {GD_GENERATED_SOURCES(SOURCE_ROW)};

const gd_replay_source *gd_replay_source_of(const gd_config *config) {
  const gd_strategy *strategy = gd_strategy_get(config->strategy.name);
  return strategy->replays_generated ? generated[config->replay.source] : strategy->replay;
}

/* ---- current: learning without forgetting ---- */

const gd_replay_source gd_source_current = {.shares_rows = true};

/* ---- noise: the network's input is pure noise, at a random time ---- */

// As widely spread as the path's x_t are at that time.
static void noise_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  int64_t n = batch->n_elements;
  gd_replay_draw_start(replay, images, batch);
  gd_replay_draw_labels(replay, images, batch);
  gd_replay_draw_timesteps(replay, images, batch);
  for (int row = 0; row < batch->n; row++) {
    float spread = gd_schedule_level(replay->of.schedule, batch->timesteps[row]).spread;
    for (int64_t i = row * n; i < (row + 1) * n; i++) batch->x[i] *= spread;
  }
  gd_batch_set_times(batch, replay->of.schedule);
}

const gd_replay_source gd_source_noise = {.fill = noise_fill};
