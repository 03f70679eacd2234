/* ResNet-18 as torchvision has it, for any four widths. Only the description is here; parameters are named after
 * torchvision's modules. */
#include "gendistill/model.h"

static const float norm_eps = 1e-5f;

// PREFIX + conv without bias, then PREFIX + norm.
static gd_tensor conv_norm(gd_net *net, gd_tensor x, const char *prefix, const char *conv, const char *norm, int c_out,
                           int kernel, int stride) {
  char *conv_name = gd_format("%s%s", prefix, conv), *norm_name = gd_format("%s%s", prefix, norm);
  x = gd_net_conv(net, x, conv_name, c_out, kernel, stride, kernel / 2, false);
  x = gd_net_batch_norm(net, x, norm_name, norm_eps);
  gd_free(conv_name);
  gd_free(norm_name);
  return x;
}

static gd_tensor basic_block(gd_net *net, gd_tensor x, int layer, int index, int c_out, int stride) {
  char *prefix = gd_format("layer%d.%d.", layer, index);
  gd_tensor y = conv_norm(net, x, prefix, "conv1", "bn1", c_out, 3, stride);
  y = conv_norm(net, gd_net_activation(net, y, GD_RELU), prefix, "conv2", "bn2", c_out, 3, 1);
  if (stride > 1 || gd_net_shape(net, x).c != c_out)
    x = conv_norm(net, x, prefix, "downsample.0", "downsample.1", c_out, 1, stride);
  gd_free(prefix);
  return gd_net_activation(net, gd_net_add(net, y, x), GD_RELU);
}

void gd_resnet18_create(gd_net **out, int image_size, int channels, const int widths[4], int n_classes, bool features) {
  gd_net *net;
  gd_net_create(&net);
  gd_tensor x = gd_net_input(net, (gd_shape){image_size, image_size, channels});
  x = gd_net_activation(net, conv_norm(net, x, "", "conv1", "bn1", widths[0], 7, 2), GD_RELU);
  x = gd_net_max_pool(net, x, 3, 2, 1);
  for (int layer = 1; layer <= 4; layer++) {
    x = basic_block(net, x, layer, 0, widths[layer - 1], layer > 1 ? 2 : 1);
    x = basic_block(net, x, layer, 1, widths[layer - 1], 1);
  }
  x = gd_net_global_avg_pool(net, x);
  gd_tensor logits = gd_net_linear(net, x, "fc", n_classes);
  gd_net_output(net, features ? gd_net_concat(net, x, logits) : logits);
  *out = net;
}
