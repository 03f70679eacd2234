/* Inception-v3 as torchvision has it, and as the Frechet inception distance uses it, up to the averaged features.
 * Only the description is here; parameters are named after torchvision's modules. */
#include "gendistill/model.h"

typedef struct gd_inception_builder {
  gd_net *net;
  gd_inception_variant variant;
  int divisor;
  const char *prefix;  // of the block that is being built, ends in a dot; "" in the stem
} gd_inception_builder;

static const float norm_eps = 1e-3f;

// BasicConv2d: convolution without bias, batch norm, ReLU.
static gd_tensor basic_conv(const gd_inception_builder *b, gd_tensor x, const char *name, int c_out, int kernel_h,
                            int kernel_w, int stride, int pad_h, int pad_w) {
  char *conv = gd_format("%s%s.conv", b->prefix, name), *norm = gd_format("%s%s.bn", b->prefix, name);
  x = gd_net_conv_rect(b->net, x, conv, c_out / b->divisor, kernel_h, kernel_w, stride, pad_h, pad_w, false);
  x = gd_net_activation(b->net, gd_net_batch_norm(b->net, x, norm, norm_eps), GD_RELU);
  gd_free(conv);
  gd_free(norm);
  return x;
}

// Keeps the image's size.
static gd_tensor same(const gd_inception_builder *b, gd_tensor x, const char *name, int c_out, int kernel_h,
                      int kernel_w) {
  return basic_conv(b, x, name, c_out, kernel_h, kernel_w, 1, kernel_h / 2, kernel_w / 2);
}

// 3x3 without padding.
static gd_tensor valid(const gd_inception_builder *b, gd_tensor x, const char *name, int c_out, int stride) {
  return basic_conv(b, x, name, c_out, 3, 3, stride, 0, 0);
}

static gd_tensor join(const gd_inception_builder *b, int n, const gd_tensor *parts) {
  gd_tensor x = parts[0];
  for (int i = 1; i < n; i++) x = gd_net_concat(b->net, x, parts[i]);
  return x;
}

static gd_tensor average_branch(const gd_inception_builder *b, gd_tensor x, int c_out) {
  x = gd_net_avg_pool(b->net, x, 3, 1, 1, b->variant == GD_INCEPTION_TORCHVISION);
  return same(b, x, "branch_pool", c_out, 1, 1);
}

// Mixed_5b..5d
static gd_tensor block_a(const gd_inception_builder *b, gd_tensor x, int c_pool) {
  gd_tensor one = same(b, x, "branch1x1", 64, 1, 1);
  gd_tensor five = same(b, same(b, x, "branch5x5_1", 48, 1, 1), "branch5x5_2", 64, 5, 5);
  gd_tensor dbl = same(b, same(b, x, "branch3x3dbl_1", 64, 1, 1), "branch3x3dbl_2", 96, 3, 3);
  dbl = same(b, dbl, "branch3x3dbl_3", 96, 3, 3);
  return join(b, 4, (gd_tensor[]){one, five, dbl, average_branch(b, x, c_pool)});
}

// Mixed_6a
static gd_tensor block_b(const gd_inception_builder *b, gd_tensor x) {
  gd_tensor three = valid(b, x, "branch3x3", 384, 2);
  gd_tensor dbl = same(b, same(b, x, "branch3x3dbl_1", 64, 1, 1), "branch3x3dbl_2", 96, 3, 3);
  dbl = valid(b, dbl, "branch3x3dbl_3", 96, 2);
  return join(b, 3, (gd_tensor[]){three, dbl, gd_net_max_pool(b->net, x, 3, 2, 0)});
}

// Mixed_6b..6e
static gd_tensor block_c(const gd_inception_builder *b, gd_tensor x, int c7) {
  gd_tensor one = same(b, x, "branch1x1", 192, 1, 1);
  gd_tensor seven = same(b, same(b, x, "branch7x7_1", c7, 1, 1), "branch7x7_2", c7, 1, 7);
  seven = same(b, seven, "branch7x7_3", 192, 7, 1);
  gd_tensor dbl = same(b, same(b, x, "branch7x7dbl_1", c7, 1, 1), "branch7x7dbl_2", c7, 7, 1);
  dbl = same(b, same(b, dbl, "branch7x7dbl_3", c7, 1, 7), "branch7x7dbl_4", c7, 7, 1);
  dbl = same(b, dbl, "branch7x7dbl_5", 192, 1, 7);
  return join(b, 4, (gd_tensor[]){one, seven, dbl, average_branch(b, x, 192)});
}

// Mixed_7a
static gd_tensor block_d(const gd_inception_builder *b, gd_tensor x) {
  gd_tensor three = valid(b, same(b, x, "branch3x3_1", 192, 1, 1), "branch3x3_2", 320, 2);
  gd_tensor seven = same(b, same(b, x, "branch7x7x3_1", 192, 1, 1), "branch7x7x3_2", 192, 1, 7);
  seven = valid(b, same(b, seven, "branch7x7x3_3", 192, 7, 1), "branch7x7x3_4", 192, 2);
  return join(b, 3, (gd_tensor[]){three, seven, gd_net_max_pool(b->net, x, 3, 2, 0)});
}

// Mixed_7b, Mixed_7c
static gd_tensor block_e(const gd_inception_builder *b, gd_tensor x, bool last) {
  gd_tensor one = same(b, x, "branch1x1", 320, 1, 1);
  gd_tensor three = same(b, x, "branch3x3_1", 384, 1, 1);
  gd_tensor three_a = same(b, three, "branch3x3_2a", 384, 1, 3), three_b = same(b, three, "branch3x3_2b", 384, 3, 1);
  gd_tensor dbl = same(b, same(b, x, "branch3x3dbl_1", 448, 1, 1), "branch3x3dbl_2", 384, 3, 3);
  gd_tensor dbl_a = same(b, dbl, "branch3x3dbl_3a", 384, 1, 3), dbl_b = same(b, dbl, "branch3x3dbl_3b", 384, 3, 1);
  gd_tensor pool = last && b->variant == GD_INCEPTION_FID
                       ? same(b, gd_net_max_pool(b->net, x, 3, 1, 1), "branch_pool", 192, 1, 1)
                       : average_branch(b, x, 192);
  return join(b, 6, (gd_tensor[]){one, three_a, three_b, dbl_a, dbl_b, pool});
}

// The builder, set to the block of that name.
static const gd_inception_builder *within(gd_inception_builder *b, const char *prefix) {
  b->prefix = prefix;
  return b;
}

static gd_tensor stem(const gd_inception_builder *b, gd_tensor x) {
  x = valid(b, x, "Conv2d_1a_3x3", 32, 2);
  x = same(b, valid(b, x, "Conv2d_2a_3x3", 32, 1), "Conv2d_2b_3x3", 64, 3, 3);
  x = gd_net_max_pool(b->net, x, 3, 2, 0);
  x = valid(b, same(b, x, "Conv2d_3b_1x1", 80, 1, 1), "Conv2d_4a_3x3", 192, 1);
  return gd_net_max_pool(b->net, x, 3, 2, 0);
}

void gd_inception_v3_create(gd_net **out, gd_inception_variant variant, int image_size, int divisor) {
  GD_REQUIRE(image_size >= 75 && divisor > 0 && 16 % divisor == 0);
  gd_inception_builder b = {.variant = variant, .divisor = divisor, .prefix = ""};
  gd_net_create(&b.net);
  gd_tensor x = stem(&b, gd_net_input(b.net, (gd_shape){image_size, image_size, 3}));
  x = block_a(within(&b, "Mixed_5b."), x, 32);
  x = block_a(within(&b, "Mixed_5c."), x, 64);
  x = block_a(within(&b, "Mixed_5d."), x, 64);
  x = block_b(within(&b, "Mixed_6a."), x);
  x = block_c(within(&b, "Mixed_6b."), x, 128);
  x = block_c(within(&b, "Mixed_6c."), x, 160);
  x = block_c(within(&b, "Mixed_6d."), x, 160);
  x = block_c(within(&b, "Mixed_6e."), x, 192);
  x = block_d(within(&b, "Mixed_7a."), x);
  x = block_e(within(&b, "Mixed_7b."), x, false);
  x = block_e(within(&b, "Mixed_7c."), x, true);
  gd_net_output(b.net, gd_net_global_avg_pool(b.net, x));
  *out = b.net;
}
