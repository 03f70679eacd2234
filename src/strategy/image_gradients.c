/* Backward gives the sum over a batch, so what needs the gradient of each image, such as its square, takes the images
 * one by one; what is linear in it takes them in batches. */
#include "strategy/image_gradients.h"

#include <string.h>

#include "gendistill/learn.h"

typedef struct gradient_work {
  const gd_image_gradients *of;
  gd_plan *plan;
  float *gradient;  // (total)
} gradient_work;

static void add_slot(gradient_work *w, const gd_gradient_sum *what, gd_range images, float *sum) {
  const gd_image_loss *loss = w->of->loss;
  memset(sum, 0, (size_t)what->n * sizeof *sum);
  for (int64_t first = images.begin; first < images.end; first += what->rows) {
    gd_range rows = {first, first + what->rows < images.end ? first + what->rows : images.end};
    gd_progress(NULL);
    loss->fill(w->of->context, rows);
    loss->gradient(w->of->context, (int)(rows.end - rows.begin), gd_plan_forward(w->plan));
    gd_plan_backward(w->plan, w->gradient, NULL, NULL);
    what->add(what->context, w->gradient, sum);
  }
}

static gd_err open_work(gradient_work *w, const gd_image_gradients *of, int rows) {
  *w = (gradient_work){.of = of, .gradient = GD_NEW_ARRAY(float, gd_net_params(of->net)->total)};
  gd_err err = gd_comm_agree(of->comm, gd_plan_create(&w->plan, of->net, rows, GD_TRAINING, of->precision));
  if (err != GD_OK) return err;
  gd_plan_load(w->plan, of->params);
  of->loss->open(of->context, of->net, w->plan);
  return GD_OK;
}

static void close_work(gradient_work *w) {
  if (w->plan) w->of->loss->close(w->of->context);
  gd_plan_destroy(&w->plan);
  gd_free(w->gradient);
}

gd_err gd_image_gradients_sum(const gd_image_gradients *of, const gd_gradient_sum *what, float *out) {
  gd_err err;
  gradient_work work;
  gd_slot_sum *sum = NULL;
  GD_TRY(open_work(&work, of, what->rows));
  gd_slot_sum_create(&sum, of->comm, of->n_slots, what->n, GD_REDUCTION_TREE);
  gd_range mine = gd_range_block(of->n_slots, of->comm->size, of->comm->rank);
  for (int64_t slot = mine.begin; slot < mine.end; slot++) {
    gd_range images = gd_slots_rows((gd_range){slot, slot + 1}, of->n_slots, of->n_images);
    add_slot(&work, what, images, gd_slot_sum_buffer(sum));
    gd_slot_sum_push(sum, (int)slot);
  }
  memcpy(out, gd_slot_sum_finish(sum), (size_t)what->n * sizeof *out);
  if (gd_first_nonfinite(out, what->n) >= 0)
    err = gd_error(GD_ERR_FAILED, "the gradients of single images are not finite");
done:
  gd_slot_sum_destroy(&sum);
  close_work(&work);
  return err;
}
