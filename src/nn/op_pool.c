/* Maximum and average pooling by oneDNN, over windows or globally (a window as large as the image). */
#include "nn/dnnl.h"

typedef struct gd_pool {
  gd_primitive forward, backward;
  bool has_workspace;  // forward notes there which pixels were the maxima
} gd_pool;

static gd_err pool_prepare(gd_op *op) {
  gd_err err = GD_OK;
  const gd_attributes *a = &op->node->attributes;
  gd_pool *pool = op->state = GD_NEW(gd_pool);
  gd_md x = gd_dnnl_nhwc(op->batch, op->in[0], GD_FLOAT32), y = gd_dnnl_nhwc(op->batch, op->out, GD_FLOAT32);
  gd_operation operation = {.kind = dnnl_pooling,
                            .algorithm = dnnl_pooling_max,
                            .training = op->training,
                            .x = x,
                            .y = y,
                            .dy = y,
                            .kernel = {a->kernel[0], a->kernel[1]},
                            .strides = {a->stride, a->stride},
                            .pad = {a->pad[0], a->pad[1]}};
  if (a->average)
    operation.algorithm = a->count_padding ? dnnl_pooling_avg_include_padding : dnnl_pooling_avg_exclude_padding;
  GD_TRY(gd_primitive_create(&pool->forward, op, &operation, GD_PASS_FORWARD, (gd_primitive_options){0}));
  gd_primitive_arg(&pool->forward, DNNL_ARG_SRC, x);
  gd_primitive_arg(&pool->forward, DNNL_ARG_DST, y);
  gd_md workspace = gd_primitive_md(&pool->forward, dnnl_query_workspace_md, 0);
  pool->has_workspace = op->training && workspace && dnnl_memory_desc_get_size(workspace) > 0;
  if (pool->has_workspace) {
    op->saved_nbytes = dnnl_memory_desc_get_size(workspace);
    gd_primitive_arg(&pool->forward, DNNL_ARG_WORKSPACE, workspace);
  }
  if (!op->wants_dx[0]) goto done;
  GD_TRY(gd_primitive_create(&pool->backward, op, &operation, GD_PASS_BACKWARD_DATA, (gd_primitive_options){0}));
  gd_primitive_arg(&pool->backward, DNNL_ARG_DIFF_DST, y);
  gd_primitive_arg(&pool->backward, DNNL_ARG_DIFF_SRC, x);
  if (pool->has_workspace) gd_primitive_arg(&pool->backward, DNNL_ARG_WORKSPACE, workspace);
done:
  return err;
}

static void pool_forward(gd_op *op) {
  gd_pool *pool = op->state;
  gd_primitive_set(&pool->forward, DNNL_ARG_SRC, op->x[0]);
  gd_primitive_set(&pool->forward, DNNL_ARG_DST, op->y);
  if (pool->has_workspace) gd_primitive_set(&pool->forward, DNNL_ARG_WORKSPACE, op->saved);
  gd_primitive_run(&pool->forward, op);
}

static void pool_backward(gd_op *op, float *grads) {
  (void)grads;
  gd_pool *pool = op->state;
  gd_primitive_set(&pool->backward, DNNL_ARG_DIFF_DST, op->dy);
  gd_primitive_set(&pool->backward, DNNL_ARG_DIFF_SRC, op->dx[0]);
  if (pool->has_workspace) gd_primitive_set(&pool->backward, DNNL_ARG_WORKSPACE, op->saved);
  gd_primitive_run(&pool->backward, op);
}

static void pool_release(gd_op *op) {
  gd_pool *pool = op->state;
  if (!pool) return;
  gd_primitive_release(&pool->forward);
  gd_primitive_release(&pool->backward);
  gd_free(pool);
}

const gd_op_class gd_op_pool = {.kind = "pooling",
                                .prepare = pool_prepare,
                                .forward = pool_forward,
                                .backward = pool_backward,
                                .release = pool_release};
