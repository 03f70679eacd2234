/* The classifier that is trained alongside the diffusion model: five convolutions, three poolings, one linear layer.
 * Only the description is here; dropout's masks are inputs, so that whoever trains it draws them. */
#include "gendistill/model.h"

static gd_tensor conv_relu(gd_net *net, gd_tensor x, const char *name, int c_out, int kernel, int pad) {
  return gd_net_activation(net, gd_net_conv(net, x, name, c_out, kernel, 1, pad, true), GD_RELU);
}

static gd_tensor drop_out(gd_net *net, gd_tensor x, bool dropout) {
  return dropout ? gd_net_multiply(net, x, gd_net_input(net, gd_net_shape(net, x))) : x;
}

void gd_solver_create(gd_net **out, int image_size, int channels, int n_classes, bool dropout) {
  gd_net *net;
  gd_net_create(&net);
  gd_tensor x = gd_net_input(net, (gd_shape){image_size, image_size, channels});
  x = conv_relu(net, x, "conv1", 32, 3, 1);
  x = conv_relu(net, x, "conv2", 32, 3, 0);
  x = drop_out(net, gd_net_max_pool(net, x, 2, 2, 0), dropout);
  x = conv_relu(net, x, "conv3", 64, 3, 1);
  x = conv_relu(net, x, "conv4", 128, 3, 0);
  x = drop_out(net, gd_net_max_pool(net, x, 2, 2, 0), dropout);
  x = conv_relu(net, x, "conv5", 128, 1, 0);
  x = drop_out(net, gd_net_global_max_pool(net, x), dropout);
  gd_net_output(net, gd_net_linear(net, x, "fc", n_classes));
  *out = net;
}

char *gd_solver_path(const char *folder, int task) {
  return gd_format("%s/solver-task%02d.h5", folder, task + 1);
}
