/* Backward gives the sum over a batch, so what needs the gradient of each image, such as its square, takes the images
 * one by one; what is linear in it takes them in batches. */
#include "strategy/image_gradients.h"

#include <math.h>
#include <string.h>

#include "gendistill/learn.h"

typedef struct gradient_work {
  const gd_image_gradients *of;
  const uint32_t *order;  // of the task's images
  gd_plan *plan;
  gd_batch batch;
  float *gradient;  // (total)
} gradient_work;

static gd_random image_key(const gd_image_gradients *of, gd_purpose purpose) {
  return (gd_random){.seed = of->config->seed, .purpose = purpose, .task = (uint32_t)of->task};
}

static void draw_row(const gradient_work *w, int64_t image, int row) {
  const gd_image_gradients *of = w->of;
  const gd_batch *batch = &w->batch;
  uint32_t index = of->images[w->order[image % of->n_images]];
  gd_dataset_image(of->dataset, index, false, batch->x + row * batch->n_elements);
  gd_random_normal(image_key(of, GD_RANDOM_FISHER_NOISE), (uint64_t)image, (size_t)batch->n_elements,
                   batch->target + row * batch->n_elements);
  batch->timesteps[row] = (int)gd_random_below(image_key(of, GD_RANDOM_FISHER_TIMESTEP), (uint64_t)image,
                                               (uint32_t)of->schedule->timesteps);
  if (batch->label) batch->label[row] = of->dataset->labels[index];
}

static void take_given_row(const gradient_work *w, int64_t image, int row) {
  const gd_batch *batch = &w->batch, *given = w->of->given;
  size_t nbytes = (size_t)batch->n_elements * sizeof(float);
  memcpy(batch->x + row * batch->n_elements, given->x + image * batch->n_elements, nbytes);
  memcpy(batch->target + row * batch->n_elements, given->target + image * batch->n_elements, nbytes);
  batch->t[row] = given->t[image];
  batch->weights[row] = 1;
}

static void fill_rows(gradient_work *w, gd_range images) {
  w->batch.n = (int)(images.end - images.begin);
  for (int row = 0; row < w->batch.n; row++) (w->of->given ? take_given_row : draw_row)(w, images.begin + row, row);
  if (!w->of->given) gd_batch_add_noise(&w->batch, w->of->schedule);
  if (w->of->config->model.dropout == 0) return;
  uint32_t *draws = gd_plan_begin_draws(w->plan, image_key(w->of, GD_RANDOM_FISHER_DROPOUT));
  for (int row = 0; row < gd_plan_batch(w->plan); row++) draws[row] = (uint32_t)(images.begin + row);
}

// d (sum of the rows' losses) / d output; rows behind them have none.
static void output_gradient(const gradient_work *w, const float *output) {
  const gd_batch *batch = &w->batch;
  int64_t n = batch->n_elements;
  float *out = gd_plan_output_gradient(w->plan);
  memset(out, 0, (size_t)(gd_plan_batch(w->plan) * n) * sizeof *out);
  for (int row = 0; row < batch->n; row++)
    for (int64_t i = row * n; i < (row + 1) * n; i++)
      out[i] = (float)(2 * batch->weights[row] / (double)n) * (output[i] - batch->target[i]);
}

static void add_slot(gradient_work *w, const gd_gradient_sum *what, gd_range images, float *sum) {
  memset(sum, 0, (size_t)what->n * sizeof *sum);
  for (int64_t first = images.begin; first < images.end; first += what->rows) {
    gd_progress(NULL);
    fill_rows(w, (gd_range){first, first + what->rows < images.end ? first + what->rows : images.end});
    output_gradient(w, gd_plan_forward(w->plan));
    gd_plan_backward(w->plan, w->gradient, NULL, NULL);
    what->add(what->context, w->gradient, sum);
  }
}

static gd_err open_work(gradient_work *w, const gd_image_gradients *of, int rows) {
  gd_err err;
  gd_shape shape = gd_net_shape(of->net, 0);
  uint32_t *order = GD_NEW_ARRAY(uint32_t, of->n_images + 1);
  *w = (gradient_work){.of = of, .order = order};
  w->batch = gd_batch_make(rows, (int64_t)shape.h * shape.w * shape.c);
  w->gradient = GD_NEW_ARRAY(float, gd_net_params(of->net)->total);
  gd_random_permutation(image_key(of, GD_RANDOM_FISHER_ORDER), (uint32_t)of->n_images, order);
  GD_TRY(gd_comm_agree(of->comm, gd_plan_create(&w->plan, of->net, rows, GD_TRAINING, of->precision)));
  gd_plan_load(w->plan, of->params);
  w->batch.x = gd_plan_input(w->plan, 0);
  w->batch.t = gd_plan_input(w->plan, 1);
  w->batch.label = of->config->model.conditional ? gd_plan_input(w->plan, 2) : NULL;
done:
  return err;
}

static void close_work(gradient_work *w) {
  gd_plan_destroy(&w->plan);
  gd_batch_clear(&w->batch);
  gd_free(w->gradient);
  gd_free((void *)w->order);
}

gd_err gd_image_gradients_sum(const gd_image_gradients *of, const gd_gradient_sum *what, float *out) {
  gd_err err;
  gradient_work work;
  gd_slot_sum *sum = NULL;
  int n_slots = of->config->training.slots;
  GD_TRY(open_work(&work, of, what->rows));
  gd_slot_sum_create(&sum, of->comm, n_slots, what->n, GD_REDUCTION_TREE);
  gd_range mine = gd_range_block(n_slots, of->comm->size, of->comm->rank);
  for (int64_t slot = mine.begin; slot < mine.end; slot++) {
    gd_range images = gd_slots_rows((gd_range){slot, slot + 1}, n_slots, of->config->strategy.fisher_images);
    add_slot(&work, what, images, gd_slot_sum_buffer(sum));
    gd_slot_sum_push(sum, (int)slot);
  }
  memcpy(out, gd_slot_sum_finish(sum), (size_t)what->n * sizeof *out);
  if (gd_first_nonfinite(out, what->n) >= 0)
    err = gd_error(GD_ERR_FAILED, "task %d: the gradients of single images are not finite", of->task + 1);
done:
  gd_slot_sum_destroy(&sum);
  close_work(&work);
  return err;
}
