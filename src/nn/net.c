/* The description of a network: each function adds one node, its output tensor and its parameters. Wrong shapes are
 * errors in the code of a model, not in the user's input: they abort. */
#include "nn/net.h"

#include <stdlib.h>
#include <string.h>

void gd_net_create(gd_net **out) {
  *out = GD_NEW(gd_net);
  (*out)->output = -1;
}

void gd_net_destroy(gd_net **net) {
  if (!*net) return;
  for (int i = 0; i < (*net)->table.n; i++) gd_free((*net)->table.params[i].name);
  gd_free((*net)->table.params);
  gd_free((*net)->shapes);
  gd_free((*net)->needs_grad);
  for (int i = 0; i < (*net)->n_nodes; i++) gd_free((*net)->nodes[i].name);
  gd_free((*net)->nodes);
  gd_free((*net)->inputs);
  gd_free(*net);
  *net = NULL;
}

const gd_param_table *gd_net_params(const gd_net *net) {
  return &net->table;
}

gd_shape gd_net_shape(const gd_net *net, gd_tensor tensor) {
  return net->shapes[tensor];
}

int gd_net_n_inputs(const gd_net *net) {
  return net->n_inputs;
}

gd_shape gd_net_input_shape(const gd_net *net, int i) {
  GD_REQUIRE(i >= 0 && i < net->n_inputs);
  return net->shapes[net->inputs[i]];
}

gd_shape gd_net_output_shape(const gd_net *net) {
  return net->shapes[net->output];
}

// Makes room for one more element; the array doubles when n is a power of two.
static void *grow_array(void *array, int n, size_t size) {
  if (n & (n - 1)) return array;
  void *bigger = gd_alloc((size_t)(n ? 2 * n : 1) * size);
  if (n) memcpy(bigger, array, (size_t)n * size);
  gd_free(array);
  return bigger;
}

static gd_tensor add_tensor(gd_net *net, gd_shape shape, bool needs_grad) {
  GD_REQUIRE(shape.h > 0 && shape.w > 0 && shape.c > 0);
  net->shapes = grow_array(net->shapes, net->n_tensors, sizeof *net->shapes);
  net->needs_grad = grow_array(net->needs_grad, net->n_tensors, sizeof *net->needs_grad);
  net->shapes[net->n_tensors] = shape;
  net->needs_grad[net->n_tensors] = needs_grad;
  return net->n_tensors++;
}

static int add_param(gd_net *net, const char *prefix, const char *suffix, int n_dims, const int *dims, gd_init init,
                     int64_t fan_in) {
  gd_param_table *table = &net->table;
  table->params = grow_array(table->params, table->n, sizeof *table->params);
  gd_param *param = &table->params[table->n];
  *param = (gd_param){.n_dims = n_dims, .offset = table->total, .count = 1, .init = init, .fan_in = fan_in};
  param->name = gd_format("%s.%s", prefix, suffix);
  for (int i = 0; i < n_dims; i++) {
    param->dims[i] = dims[i];
    param->count *= dims[i];
  }
  table->total += param->count;
  return table->n++;
}

gd_tensor gd_net_input(gd_net *net, gd_shape shape) {
  net->inputs = grow_array(net->inputs, net->n_inputs, sizeof *net->inputs);
  return net->inputs[net->n_inputs++] = add_tensor(net, shape, false);
}

void gd_net_input_gradient(gd_net *net, gd_tensor input) {
  GD_REQUIRE(net->n_nodes == 0);  // later nodes inherit the need
  net->needs_grad[input] = true;
}

void gd_net_output(gd_net *net, gd_tensor x) {
  GD_REQUIRE(net->output < 0);
  net->output = x;
}

static gd_tensor add_node(gd_net *net, gd_node node, const char *name, gd_shape out) {
  bool needs_grad = node.n_params > 0;
  for (int i = 0; i < node.n_inputs; i++) needs_grad |= net->needs_grad[node.inputs[i]];
  if (node.kind == &gd_op_time_embedding) needs_grad = false;
  net->nodes = grow_array(net->nodes, net->n_nodes, sizeof *net->nodes);
  node.output = add_tensor(net, out, needs_grad);
  node.name = gd_format("%s", name);
  net->nodes[net->n_nodes++] = node;
  return node.output;
}

// Output pixels along one side for a filter or pooling window over n pixels. None may cover only padding.
static int count_outputs(int n, int kernel, int stride, int pad) {
  GD_REQUIRE(kernel > 0 && stride > 0 && pad >= 0 && pad < kernel && kernel <= n + 2 * pad);
  return (n + 2 * pad - kernel) / stride + 1;
}

static gd_shape output_shape(gd_shape in, const gd_attributes *a, int c_out) {
  return (gd_shape){count_outputs(in.h, a->kernel[0], a->stride, a->pad[0]),
                    count_outputs(in.w, a->kernel[1], a->stride, a->pad[1]), c_out};
}

static bool same_shape(gd_shape a, gd_shape b) {
  return a.h == b.h && a.w == b.w && a.c == b.c;
}

enum { NO_RESIDUAL = -1 };

// A node with a weight, optionally a bias, and optionally a residual that is added to its output.
static gd_tensor add_weighted(gd_net *net, gd_node node, gd_tensor x, gd_tensor residual, const char *name, int n_dims,
                              const int *dims, gd_shape out) {
  int64_t fan_in = 1;
  for (int i = 1; i < n_dims; i++) fan_in *= dims[i];
  node.inputs[node.n_inputs++] = x;
  if (residual != NO_RESIDUAL) {
    GD_REQUIRE(same_shape(net->shapes[residual], out));
    node.inputs[node.n_inputs++] = residual;
  }
  node.params[node.n_params++] = add_param(net, name, "weight", n_dims, dims, GD_INIT_UNIFORM, fan_in);
  if (node.attributes.bias)
    node.params[node.n_params++] = add_param(net, name, "bias", 1, dims, GD_INIT_UNIFORM, fan_in);
  return add_node(net, node, name, out);
}

static gd_tensor add_conv(gd_net *net, gd_tensor x, gd_tensor residual, const char *name, int c_out,
                          gd_attributes attributes) {
  gd_shape in = net->shapes[x];
  gd_node node = {.kind = &gd_op_conv, .attributes = attributes};
  return add_weighted(net, node, x, residual, name, 4, (int[]){c_out, in.c, attributes.kernel[0], attributes.kernel[1]},
                      output_shape(in, &attributes, c_out));
}

gd_tensor gd_net_conv_rect(gd_net *net, gd_tensor x, const char *name, int c_out, int kernel_h, int kernel_w,
                           int stride, int pad_h, int pad_w, bool bias) {
  gd_attributes attributes = {.kernel = {kernel_h, kernel_w}, .stride = stride, .pad = {pad_h, pad_w}, .bias = bias};
  return add_conv(net, x, NO_RESIDUAL, name, c_out, attributes);
}

gd_tensor gd_net_conv(gd_net *net, gd_tensor x, const char *name, int c_out, int kernel, int stride, int pad,
                      bool bias) {
  return gd_net_conv_rect(net, x, name, c_out, kernel, kernel, stride, pad, pad, bias);
}

gd_tensor gd_net_conv_add(gd_net *net, gd_tensor x, gd_tensor residual, const char *name, int c_out, int kernel,
                          int pad) {
  gd_attributes attributes = {.kernel = {kernel, kernel}, .stride = 1, .pad = {pad, pad}, .bias = true};
  return add_conv(net, x, residual, name, c_out, attributes);
}

static gd_tensor add_linear(gd_net *net, gd_tensor x, gd_tensor residual, const char *name, int c_out) {
  gd_shape in = net->shapes[x];
  gd_node node = {.kind = &gd_op_linear, .attributes.bias = true};
  return add_weighted(net, node, x, residual, name, 2, (int[]){c_out, in.c}, (gd_shape){in.h, in.w, c_out});
}

gd_tensor gd_net_linear(gd_net *net, gd_tensor x, const char *name, int c_out) {
  return add_linear(net, x, NO_RESIDUAL, name, c_out);
}

gd_tensor gd_net_linear_add(gd_net *net, gd_tensor x, gd_tensor residual, const char *name, int c_out) {
  return add_linear(net, x, residual, name, c_out);
}

// The table has all weights one after another, then all biases: for the op they are one matrix and one vector.
gd_tensor gd_net_linear_group(gd_net *net, gd_tensor x, int n, const char *const *names, const int *c_out) {
  gd_shape in = net->shapes[x], out = {in.h, in.w, 0};
  gd_node node = {.kind = &gd_op_linear, .n_inputs = 1, .inputs = {x}, .attributes.bias = true};
  int last = 0;
  for (int i = 0; i < n; i++) {
    last = add_param(net, names[i], "weight", 2, (int[]){c_out[i], in.c}, GD_INIT_UNIFORM, in.c);
    out.c += c_out[i];
  }
  node.params[0] = last - n + 1;
  for (int i = 0; i < n; i++) last = add_param(net, names[i], "bias", 1, &c_out[i], GD_INIT_UNIFORM, in.c);
  node.params[1] = last - n + 1;
  node.params[2] = last;  // the last parameter whose gradient backward writes
  node.n_params = 3;
  return add_node(net, node, names[0], out);
}

static gd_tensor add_group_norm(gd_net *net, gd_node node, const char *name) {
  gd_shape shape = net->shapes[node.inputs[0]];
  GD_REQUIRE(node.attributes.groups > 0 && shape.c % node.attributes.groups == 0);
  GD_REQUIRE(node.attributes.activation != GD_RELU);
  node.kind = &gd_op_group_norm;
  node.params[node.n_params++] = add_param(net, name, "weight", 1, &shape.c, GD_INIT_ONE, 1);
  node.params[node.n_params++] = add_param(net, name, "bias", 1, &shape.c, GD_INIT_ZERO, 1);
  return add_node(net, node, name, shape);
}

gd_tensor gd_net_group_norm(gd_net *net, gd_tensor x, const char *name, int groups, float eps,
                            gd_activation activation) {
  gd_node node = {.n_inputs = 1, .inputs = {x}};
  node.attributes = (gd_attributes){.groups = groups, .eps = eps, .activation = activation};
  return add_group_norm(net, node, name);
}

gd_tensor gd_net_group_norm_shifted(gd_net *net, gd_tensor x, gd_tensor shifts, int begin, const char *name, int groups,
                                    float eps, gd_activation activation) {
  gd_shape vector = net->shapes[shifts];
  GD_REQUIRE(vector.h == 1 && vector.w == 1 && begin >= 0 && begin + net->shapes[x].c <= vector.c);
  gd_node node = {.n_inputs = 2, .inputs = {x, shifts}};
  node.attributes = (gd_attributes){.groups = groups, .eps = eps, .activation = activation, .part_begin = begin};
  return add_group_norm(net, node, name);
}

gd_tensor gd_net_batch_norm(gd_net *net, gd_tensor x, const char *name, float eps) {
  gd_shape shape = net->shapes[x];
  gd_node node = {.kind = &gd_op_batch_norm, .n_inputs = 1, .inputs = {x}, .attributes.eps = eps};
  node.params[node.n_params++] = add_param(net, name, "weight", 1, &shape.c, GD_INIT_ONE, 1);
  node.params[node.n_params++] = add_param(net, name, "bias", 1, &shape.c, GD_INIT_ZERO, 1);
  node.params[node.n_params++] = add_param(net, name, "running_mean", 1, &shape.c, GD_INIT_ZERO, 1);
  node.params[node.n_params++] = add_param(net, name, "running_var", 1, &shape.c, GD_INIT_ONE, 1);
  for (int i = 2; i < 4; i++) net->table.params[node.params[i]].is_statistic = true;
  return add_node(net, node, name, shape);
}

gd_tensor gd_net_activation(gd_net *net, gd_tensor x, gd_activation activation) {
  GD_REQUIRE(activation != GD_LINEAR);
  gd_node node = {.kind = &gd_op_activation, .n_inputs = 1, .inputs = {x}, .attributes.activation = activation};
  return add_node(net, node, "", net->shapes[x]);
}

gd_tensor gd_net_attention(gd_net *net, gd_tensor q, gd_tensor k, gd_tensor v, int head_dim) {
  gd_shape shape = net->shapes[q];
  GD_REQUIRE(head_dim > 0 && shape.c % head_dim == 0);
  gd_node node = {.kind = &gd_op_attention, .n_inputs = 3, .inputs = {q, k, v}, .attributes.head_dim = head_dim};
  return add_node(net, node, "", shape);
}

gd_tensor gd_net_add(gd_net *net, gd_tensor a, gd_tensor b) {
  GD_REQUIRE(same_shape(net->shapes[a], net->shapes[b]));
  return add_node(net, (gd_node){.kind = &gd_op_add, .n_inputs = 2, .inputs = {a, b}}, "", net->shapes[a]);
}

gd_tensor gd_net_multiply(gd_net *net, gd_tensor a, gd_tensor b) {
  GD_REQUIRE(same_shape(net->shapes[a], net->shapes[b]));
  return add_node(net, (gd_node){.kind = &gd_op_multiply, .n_inputs = 2, .inputs = {a, b}}, "", net->shapes[a]);
}

gd_tensor gd_net_concat(gd_net *net, gd_tensor a, gd_tensor b) {
  gd_shape sa = net->shapes[a], sb = net->shapes[b];
  GD_REQUIRE(sa.h == sb.h && sa.w == sb.w);
  gd_node node = {.kind = &gd_op_concat, .n_inputs = 2, .inputs = {a, b}};
  return add_node(net, node, "", (gd_shape){sa.h, sa.w, sa.c + sb.c});
}

gd_tensor gd_net_upsample(gd_net *net, gd_tensor x) {
  gd_shape in = net->shapes[x];
  gd_node node = {.kind = &gd_op_upsample, .n_inputs = 1, .inputs = {x}};
  return add_node(net, node, "", (gd_shape){2 * in.h, 2 * in.w, in.c});
}

static gd_tensor add_pooling(gd_net *net, gd_tensor x, gd_attributes attributes) {
  gd_shape in = net->shapes[x];
  gd_node node = {.kind = &gd_op_pool, .n_inputs = 1, .inputs = {x}, .attributes = attributes};
  return add_node(net, node, "", output_shape(in, &attributes, in.c));
}

gd_tensor gd_net_max_pool(gd_net *net, gd_tensor x, int kernel, int stride, int pad) {
  return add_pooling(net, x, (gd_attributes){.kernel = {kernel, kernel}, .stride = stride, .pad = {pad, pad}});
}

gd_tensor gd_net_avg_pool(gd_net *net, gd_tensor x, int kernel, int stride, int pad, bool count_padding) {
  return add_pooling(net, x,
                     (gd_attributes){.kernel = {kernel, kernel},
                                     .stride = stride,
                                     .pad = {pad, pad},
                                     .average = true,
                                     .count_padding = count_padding});
}

gd_tensor gd_net_global_avg_pool(gd_net *net, gd_tensor x) {
  gd_shape in = net->shapes[x];
  GD_REQUIRE(in.h == in.w);
  return add_pooling(net, x, (gd_attributes){.kernel = {in.h, in.w}, .stride = 1, .average = true});
}

gd_tensor gd_net_global_max_pool(gd_net *net, gd_tensor x) {
  gd_shape in = net->shapes[x];
  GD_REQUIRE(in.h == in.w);
  return add_pooling(net, x, (gd_attributes){.kernel = {in.h, in.w}, .stride = 1});
}

gd_tensor gd_net_dropout(gd_net *net, gd_tensor x, double rate) {
  GD_REQUIRE(rate >= 0 && rate < 1);
  gd_node node = {.kind = &gd_op_dropout, .n_inputs = 1, .inputs = {x}};
  node.attributes = (gd_attributes){.rate = (float)rate, .ordinal = net->n_dropouts++ % 256};  // 8 bits of a key
  return add_node(net, node, "", net->shapes[x]);
}

gd_tensor gd_net_embedding(gd_net *net, gd_tensor index, const char *name, int n_rows, int channels) {
  GD_REQUIRE(same_shape(net->shapes[index], (gd_shape){1, 1, 1}));
  gd_node node = {.kind = &gd_op_embedding, .n_inputs = 1, .inputs = {index}, .n_params = 1};
  node.params[0] = add_param(net, name, "weight", 2, (int[]){n_rows, channels}, GD_INIT_NORMAL, 1);
  return add_node(net, node, name, (gd_shape){1, 1, channels});
}

gd_tensor gd_net_time_embedding(gd_net *net, gd_tensor t, int channels) {
  GD_REQUIRE(same_shape(net->shapes[t], (gd_shape){1, 1, 1}) && channels % 2 == 0);
  gd_node node = {.kind = &gd_op_time_embedding, .n_inputs = 1, .inputs = {t}};
  return add_node(net, node, "", (gd_shape){1, 1, channels});
}
