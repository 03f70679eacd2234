/* gaussian_symmetry, from the paper's reference implementation: as gaussian, but the noise of small timesteps is
 * mirrored, as garments are. Above two thirds of the timesteps it is as drawn; down to one third its upper half mirrors
 * the lower, or its left half the right; below it does both. */
#include "strategy/source.h"

enum { SYMMETRIC_UPRIGHT = 1, SYMMETRIC_SIDEWAYS = 2 };

static unsigned symmetry_of(const gd_replay *replay, int64_t image, int t) {
  int third = replay->of.schedule->timesteps / 3;
  if (t > 2 * third) return 0;
  if (t > third) return image % 2 ? SYMMETRIC_SIDEWAYS : SYMMETRIC_UPRIGHT;
  return SYMMETRIC_UPRIGHT | SYMMETRIC_SIDEWAYS;
}

// x (H, W, C)
static void mirror_image(gd_shape shape, unsigned symmetry, float *x) {
  for (int pass = SYMMETRIC_UPRIGHT; pass <= SYMMETRIC_SIDEWAYS; pass++)
    for (int i = 0; i < shape.h && symmetry & (unsigned)pass; i++)
      for (int j = 0; j < shape.w; j++) {
        bool upright = pass == SYMMETRIC_UPRIGHT;
        if (upright ? i >= shape.h / 2 : j >= shape.w / 2) continue;
        int from_i = upright ? shape.h - 1 - i : i, from_j = upright ? j : shape.w - 1 - j;
        for (int c = 0; c < shape.c; c++)
          x[(i * shape.w + j) * shape.c + c] = x[(from_i * shape.w + from_j) * shape.c + c];
      }
}

static void symmetric_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  gd_source_noise.fill(replay, images, batch);
  for (int row = 0; row < batch->n; row++) {
    unsigned symmetry = symmetry_of(replay, images.begin + row, batch->timesteps[row]);
    mirror_image(replay->shape, symmetry, batch->x + row * batch->n_elements);
  }
}

static const gd_replay_source source_symmetric = {.fill = symmetric_fill};

const gd_strategy gd_strategy_gaussian_symmetry = {
    .data = GD_DATA_TASK, .replay = &source_symmetric, .target = GD_TARGET_TEACHER};
