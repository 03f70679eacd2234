/* Which of a pool's images are drawn, so that the earlier classes are equally frequent: as the solver of the task
 * before labels them, which has seen no later data. */
#include "strategy/balance.h"

#include "gendistill/learn.h"
#include "gendistill/model.h"

/* ---- The solver's labels ---- */

// The earlier class with the largest logit: the solver knows no other.
static int likeliest(const float *logits, const int *classes, int n) {
  int best = classes[0];
  for (int i = 1; i < n; i++)
    if (logits[classes[i]] > logits[best]) best = classes[i];
  return best;
}

static gd_err open_solver(const gd_pool_request *request, const gd_net *net, gd_checkpoint *solver, gd_plan **plan) {
  char *folder = gd_format("%s/solver", request->config->output.directory);
  char *path = gd_solver_path(folder, request->task - 1);
  gd_err err;
  GD_TRY(gd_checkpoint_read(request->comm, path, gd_net_params(net), solver));
  GD_TRY(gd_comm_agree(request->comm, gd_plan_create(plan, net, GD_IMAGE_CHUNK, GD_INFERENCE, GD_FLOAT32)));
  gd_plan_load(*plan, gd_checkpoint_array(solver, "model"));
done:
  if (err != GD_OK) gd_error_context(err, "replay.pool_balance solver");
  gd_free(path);
  gd_free(folder);
  return err;
}

// Of all images, on every rank.
static gd_err label_images(const gd_pool_request *request, const gd_balance *of, uint8_t *labels) {
  gd_err err;
  gd_net *net = NULL;
  gd_plan *plan = NULL;
  gd_checkpoint solver = {0};
  gd_shape shape = request->shape;
  int n_classes = gd_dataset_kind_get(request->config->dataset.name)->n_classes, classes[GD_MAX_CLASSES];
  int n_earlier = gd_strategy_classes(request->config, request->task, classes);
  int64_t n = of->local.end - of->local.begin;
  float *logits = GD_NEW_ARRAY(float, n *n_classes + 1);
  gd_images images = {.held = of->images, .held_size = shape.h, .size = shape.h, .channels = shape.c};
  gd_solver_create(&net, shape.h, shape.c, n_classes, false);
  GD_TRY(open_solver(request, net, &solver, &plan));
  gd_extract(plan, net, n, &images, logits);
  for (int64_t i = 0; i < n; i++)
    labels[of->local.begin + i] = (uint8_t)likeliest(logits + i * n_classes, classes, n_earlier);
  gd_comm_share_images(request->comm, labels, of->n, 1, MPI_UINT8_T);
done:
  gd_plan_destroy(&plan);
  gd_net_destroy(&net);
  gd_checkpoint_clear(&solver);
  gd_free(logits);
  return err;
}

/* ---- The choice ---- */

void gd_balance_pick(const uint8_t *labels, int64_t n, int64_t n_chosen, uint32_t *chosen) {
  int64_t taken[GD_MAX_CLASSES] = {0}, counts[GD_MAX_CLASSES] = {0}, picked = 0, left = n_chosen;
  for (int64_t i = 0; i < n; i++) counts[labels[i]]++;
  for (int64_t share = 0; left > 0; share++)  // one more of each class that has more
    for (int c = 0; c < GD_MAX_CLASSES && left > 0; c++)
      if (counts[c] > share) {
        taken[c]++;
        left--;
      }
  for (int64_t i = 0; i < n; i++)
    if (taken[labels[i]]-- > 0) chosen[picked++] = (uint32_t)i;
}

gd_err gd_balance_choose(const gd_pool_request *request, const gd_balance *of, int64_t n_chosen, uint32_t *chosen) {
  uint8_t *labels = gd_alloc((size_t)of->n + 1);
  gd_err err = label_images(request, of, labels);
  if (err == GD_OK) gd_balance_pick(labels, of->n, n_chosen, chosen);
  gd_free(labels);
  return err;
}
