/* Source `buffer`: real images of the earlier tasks (experience replay). Only their indices are kept; they follow from
 * seed, data set and task, so that no checkpoint needs them. */
#include "strategy/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "strategy/source.h"

/* ---- Choice ---- */

typedef struct buffer_candidate {
  uint32_t number, image;
} buffer_candidate;

static int compare_candidates(const void *a, const void *b) {
  const buffer_candidate *x = a, *y = b;
  if (x->number != y->number) return x->number < y->number ? -1 : 1;
  return (x->image > y->image) - (x->image < y->image);
}

static int images_per_class(const gd_config *config, int n_classes) {
  return config->replay.buffer_per == GD_BUFFER_PER_CLASS ? config->replay.buffer_images
                                                          : config->replay.buffer_images / n_classes;
}

// Marks at most n of the images `seen` that are of class `class`.
static void mark_class(const gd_config *config, const gd_dataset *dataset, int class, int n, const uint32_t *seen,
                       int64_t n_seen, bool *kept) {
  gd_random key = {.seed = config->seed, .purpose = GD_RANDOM_BUFFER};
  buffer_candidate *candidates = GD_NEW_ARRAY(buffer_candidate, n_seen);
  int64_t n_candidates = 0;
  for (int64_t i = 0; i < n_seen; i++)
    if (dataset->labels[seen[i]] == class)
      candidates[n_candidates++] = (buffer_candidate){gd_random_below(key, seen[i], UINT32_MAX), seen[i]};
  qsort(candidates, (size_t)n_candidates, sizeof *candidates, compare_candidates);
  for (int64_t i = 0; i < n_candidates && i < n; i++) kept[candidates[i].image] = true;
  gd_free(candidates);
}

uint32_t *gd_buffer_choose(const gd_config *config, const gd_dataset *dataset, int task, uint32_t *n) {
  gd_task_split split;
  int classes[GD_MAX_CLASSES];
  gd_err err = gd_task_split_make(&split, &config->tasks, config->seed, dataset->n_classes);
  GD_REQUIRE(err == GD_OK && task > 0);
  int n_classes = gd_task_split_classes(&split, task, classes);
  gd_task_choice choice = {.scope = GD_DATA_SO_FAR, .limit = config->dataset.limit, .seed = config->seed};
  int64_t n_seen;
  uint32_t *seen = gd_task_indices(dataset, &split, choice, task - 1, &n_seen);
  bool *kept = GD_NEW_ARRAY(bool, dataset->n);
  for (int c = 0; c < n_classes; c++)
    mark_class(config, dataset, classes[c], images_per_class(config, n_classes), seen, n_seen, kept);
  *n = 0;
  for (int64_t i = 0; i < n_seen; i++)
    if (kept[seen[i]]) seen[(*n)++] = seen[i];
  gd_free(kept);
  return seen;
}

/* ---- Source ---- */

typedef struct buffer_replay {
  uint32_t *images;  // (n) indices into the data set
  uint32_t *order;   // (n) in which pass `pass` takes them
  uint32_t n, pass;
} buffer_replay;

static void shuffle_buffer(const gd_replay *replay, buffer_replay *own, uint32_t pass) {
  gd_random key = {replay->of.config->seed, GD_RANDOM_BUFFER_ORDER, (uint32_t)replay->of.task, pass};
  gd_random_permutation(key, own->n, own->order);
  own->pass = pass;
}

static void buffer_create(gd_replay *replay) {
  buffer_replay *own = replay->own = GD_NEW(buffer_replay);
  own->images = gd_buffer_choose(replay->of.config, replay->of.dataset, replay->of.task, &own->n);
  own->order = GD_NEW_ARRAY(uint32_t, own->n);
  GD_REQUIRE(own->n > 0);
  shuffle_buffer(replay, own, 0);
}

// Image number `number` of the task.
static uint32_t buffer_image(const gd_replay *replay, int64_t number) {
  buffer_replay *own = replay->own;
  uint32_t pass = (uint32_t)(number / own->n);
  if (pass != own->pass) shuffle_buffer(replay, own, pass);
  return own->images[own->order[number % own->n]];
}

static void buffer_fill(gd_replay *replay, gd_range images, gd_batch *batch) {
  const gd_dataset *dataset = replay->of.dataset;
  gd_random key = replay->key;
  key.purpose = GD_RANDOM_REPLAY_FLIP;
  for (int64_t i = images.begin; i < images.end; i++) {
    uint32_t image = buffer_image(replay, replay->n_before + i);
    bool flip = replay->of.config->dataset.horizontal_flip && gd_random_below(key, (uint64_t)i, 2);
    gd_dataset_image(dataset, image, flip, batch->x + (i - images.begin) * batch->n_elements);
    if (batch->label) batch->label[i - images.begin] = dataset->labels[image];
  }
  gd_replay_draw_timesteps(replay, images, batch);
  gd_replay_draw_noise(replay, images, batch);
}

static size_t buffer_nbytes(const gd_replay *replay) {
  const buffer_replay *own = replay->own;
  return 2 * own->n * sizeof *own->images;
}

static void buffer_release(gd_replay *replay) {
  buffer_replay *own = replay->own;
  gd_free(own->images);
  gd_free(own->order);
  gd_free(own);
}

const gd_replay_source gd_source_buffer = {
    .create = buffer_create, .fill = buffer_fill, .nbytes = buffer_nbytes, .release = buffer_release};
