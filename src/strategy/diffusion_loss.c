/* The loss of the U-Net for single images, for the Fisher information. */
#include <string.h>

#include "gendistill/strategy.h"

static gd_random image_key(const gd_diffusion_images *of, gd_purpose purpose) {
  return (gd_random){.seed = of->config->seed, .purpose = purpose, .task = (uint32_t)of->task};
}

static void open_images(void *context, const gd_net *net, gd_plan *plan) {
  gd_diffusion_images *of = context;
  gd_shape shape = gd_net_shape(net, 0);
  of->plan = plan;
  of->batch = gd_batch_make(gd_plan_batch(plan), (int64_t)shape.h * shape.w * shape.c);
  of->batch.x = gd_plan_input(plan, 0);
  of->batch.t = gd_plan_input(plan, 1);
  of->batch.label = of->config->model.conditional ? gd_plan_input(plan, 2) : NULL;
  of->order = GD_NEW_ARRAY(uint32_t, of->n_images + 1);
  gd_random_permutation(image_key(of, GD_RANDOM_FISHER_ORDER), (uint32_t)of->n_images, of->order);
}

static void close_images(void *context) {
  gd_diffusion_images *of = context;
  gd_batch_clear(&of->batch);
  gd_free(of->order);
}

static void draw_row(const gd_diffusion_images *of, int64_t image, int row) {
  const gd_batch *batch = &of->batch;
  uint32_t index = of->images[of->order[image % of->n_images]];
  gd_dataset_image(of->dataset, index, false, batch->x + row * batch->n_elements);
  gd_random_normal(image_key(of, GD_RANDOM_FISHER_NOISE), (uint64_t)image, (size_t)batch->n_elements,
                   batch->target + row * batch->n_elements);
  batch->timesteps[row] = (int)gd_random_below(image_key(of, GD_RANDOM_FISHER_TIMESTEP), (uint64_t)image,
                                               (uint32_t)of->schedule->timesteps);
  if (batch->label) batch->label[row] = of->dataset->labels[index];
}

static void take_given_row(const gd_diffusion_images *of, int64_t image, int row) {
  const gd_batch *batch = &of->batch, *given = of->given;
  size_t nbytes = (size_t)batch->n_elements * sizeof(float);
  memcpy(batch->x + row * batch->n_elements, given->x + image * batch->n_elements, nbytes);
  memcpy(batch->target + row * batch->n_elements, given->target + image * batch->n_elements, nbytes);
  batch->t[row] = given->t[image];
  batch->weights[row] = 1;
}

static void fill_rows(void *context, gd_range images) {
  gd_diffusion_images *of = context;
  of->batch.n = (int)(images.end - images.begin);
  for (int row = 0; row < of->batch.n; row++) (of->given ? take_given_row : draw_row)(of, images.begin + row, row);
  if (!of->given) gd_batch_add_noise(&of->batch, of->schedule);
  if (of->config->model.dropout == 0) return;
  uint32_t *draws = gd_plan_begin_draws(of->plan, image_key(of, GD_RANDOM_FISHER_DROPOUT));
  for (int row = 0; row < gd_plan_batch(of->plan); row++) draws[row] = (uint32_t)(images.begin + row);
}

static void output_gradient(void *context, int n_rows, const float *output) {
  const gd_diffusion_images *of = context;
  int64_t n = of->batch.n_elements;
  float *out = gd_plan_output_gradient(of->plan);
  memset(out, 0, (size_t)(gd_plan_batch(of->plan) * n) * sizeof *out);
  for (int row = 0; row < n_rows; row++)
    for (int64_t i = row * n; i < (row + 1) * n; i++)
      out[i] = (float)(2 * of->batch.weights[row] / (double)n) * (output[i] - of->batch.target[i]);
}

const gd_image_loss gd_diffusion_loss = {
    .open = open_images, .fill = fill_rows, .gradient = output_gradient, .close = close_images};
