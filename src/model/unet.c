/* The paper's U-Net (diffusers' UNet2DModel) for any channel list, blocks per level, attention placement and head
 * width. Only the description is here; parameters are named after diffusers' modules. */
#include <stdio.h>

#include "gendistill/model.h"

typedef struct gd_unet_builder {
  gd_net *net;
  const gd_unet_config *config;
  gd_tensor shifts;  // all ResNet blocks' projections of the time embedding, in the order of the blocks
  int n_shifts;      // channels of it that earlier blocks have taken
  gd_tensor skips[GD_MAX_LEVELS * 16];
  int n_skips;
} gd_unet_builder;

static const float norm_eps = 1e-5f;

static gd_tensor unet_norm(gd_unet_builder *b, gd_tensor x, const char *prefix, const char *name,
                           gd_activation activation) {
  char *full = gd_format("%s%s", prefix, name);
  gd_tensor y = gd_net_group_norm(b->net, x, full, b->config->norm_num_groups, norm_eps, activation);
  gd_free(full);
  return y;
}

static gd_tensor unet_conv(gd_unet_builder *b, gd_tensor x, const char *prefix, const char *name, int c_out, int kernel,
                           int stride) {
  char *full = gd_format("%s%s", prefix, name);
  gd_tensor y = gd_net_conv(b->net, x, full, c_out, kernel, stride, kernel / 2, true);
  gd_free(full);
  return y;
}

static gd_tensor unet_linear(gd_unet_builder *b, gd_tensor x, const char *prefix, const char *name, int c_out) {
  char *full = gd_format("%s%s", prefix, name);
  gd_tensor y = gd_net_linear(b->net, x, full, c_out);
  gd_free(full);
  return y;
}

// h = unet_conv(silu(unet_norm(x))); y = unet_conv(silu(unet_norm(h + shift))) + x
static gd_tensor unet_resnet(gd_unet_builder *b, gd_tensor x, int c_out, const char *block, int index) {
  char *prefix = gd_format("%s.resnets.%d.", block, index), *norm2 = gd_format("%snorm2", prefix);
  char *conv2 = gd_format("%sconv2", prefix);
  gd_tensor h = unet_norm(b, x, prefix, "norm1", GD_SILU);
  h = unet_conv(b, h, prefix, "conv1", c_out, 3, 1);
  h = gd_net_group_norm_shifted(b->net, h, b->shifts, b->n_shifts, norm2, b->config->norm_num_groups, norm_eps,
                                GD_SILU);
  b->n_shifts += c_out;
  if (b->config->dropout > 0) h = gd_net_dropout(b->net, h, b->config->dropout);
  if (gd_net_shape(b->net, x).c != c_out) x = unet_conv(b, x, prefix, "conv_shortcut", c_out, 1, 1);
  gd_tensor y = gd_net_conv_add(b->net, h, x, conv2, c_out, 3, 1);
  gd_free(prefix);
  gd_free(norm2);
  gd_free(conv2);
  return y;
}

static gd_tensor unet_attention(gd_unet_builder *b, gd_tensor x, const char *block, int index) {
  char *prefix = gd_format("%s.attentions.%d.", block, index), *to_out = gd_format("%sto_out.0", prefix);
  int c = gd_net_shape(b->net, x).c, head_dim = b->config->attention_head_dim ? b->config->attention_head_dim : c;
  gd_tensor y = unet_norm(b, x, prefix, "group_norm", GD_LINEAR);
  gd_tensor q = unet_linear(b, y, prefix, "to_q", c), k = unet_linear(b, y, prefix, "to_k", c);
  gd_tensor v = unet_linear(b, y, prefix, "to_v", c);
  y = gd_net_linear_add(b->net, gd_net_attention(b->net, q, k, v, head_dim), x, to_out, c);
  gd_free(prefix);
  gd_free(to_out);
  return y;
}

static gd_tensor push_skip(gd_unet_builder *b, gd_tensor x) {
  GD_REQUIRE(b->n_skips < (int)(sizeof b->skips / sizeof *b->skips));
  return b->skips[b->n_skips++] = x;
}

static gd_tensor down_block(gd_unet_builder *b, gd_tensor x, int level) {
  char *block = gd_format("down_blocks.%d", level);
  for (int j = 0; j < b->config->layers_per_block; j++) {
    x = unet_resnet(b, x, b->config->block_out_channels[level], block, j);
    if (b->config->attention[level]) x = unet_attention(b, x, block, j);
    push_skip(b, x);
  }
  if (level < b->config->n_levels - 1)
    x = push_skip(b, unet_conv(b, x, block, ".downsamplers.0.conv", b->config->block_out_channels[level], 3, 2));
  gd_free(block);
  return x;
}

static gd_tensor up_block(gd_unet_builder *b, gd_tensor x, int index) {
  int level = b->config->n_levels - 1 - index;
  char *block = gd_format("up_blocks.%d", index);
  for (int j = 0; j < b->config->layers_per_block + 1; j++) {
    x = gd_net_concat(b->net, x, b->skips[--b->n_skips]);
    x = unet_resnet(b, x, b->config->block_out_channels[level], block, j);
    if (b->config->attention[level]) x = unet_attention(b, x, block, j);
  }
  if (level > 0)
    x = unet_conv(b, gd_net_upsample(b->net, x), block, ".upsamplers.0.conv", b->config->block_out_channels[level], 3,
                  1);
  gd_free(block);
  return x;
}

enum { MAX_RESNETS = GD_MAX_LEVELS * 32 };

typedef struct gd_projections {
  char *names[MAX_RESNETS];
  int widths[MAX_RESNETS];
  int n;
} gd_projections;

static void add_projections(gd_projections *p, const char *block, int n_resnets, int width) {
  for (int j = 0; j < n_resnets; j++) {
    GD_REQUIRE(p->n < MAX_RESNETS);
    p->names[p->n] = gd_format("%s.resnets.%d.time_emb_proj", block, j);
    p->widths[p->n++] = width;
  }
}

// Every ResNet block's projection of the time embedding, in the order in which the blocks run, as one product.
static gd_tensor unet_embedding(gd_net *net, gd_tensor embedding, const gd_unet_config *config) {
  gd_projections p = {.n = 0};
  char block[32];
  for (int i = 0; i < config->n_levels; i++) {
    snprintf(block, sizeof block, "down_blocks.%d", i);
    add_projections(&p, block, config->layers_per_block, config->block_out_channels[i]);
  }
  add_projections(&p, "mid_block", 2, config->block_out_channels[config->n_levels - 1]);
  for (int i = 0; i < config->n_levels; i++) {
    snprintf(block, sizeof block, "up_blocks.%d", i);
    add_projections(&p, block, config->layers_per_block + 1, config->block_out_channels[config->n_levels - 1 - i]);
  }
  gd_tensor shifts = gd_net_linear_group(net, embedding, p.n, (const char *const *)p.names, p.widths);
  for (int i = 0; i < p.n; i++) gd_free(p.names[i]);
  return shifts;
}

static const char *const class_embedding = "class_embedding";

int gd_unet_null_label(const gd_net *net) {
  char *name = gd_format("%s.weight", class_embedding);
  const gd_param *table = gd_param_table_find(gd_net_params(net), name);
  gd_free(name);
  return table ? (int)table->dims[0] - 1 : -1;
}

void gd_unet_create(gd_net **out, const gd_unet_config *config, int image_size, int channels) {
  gd_unet_builder b = {.config = config};
  int c0 = config->block_out_channels[0], last = config->block_out_channels[config->n_levels - 1];
  gd_net_create(&b.net);
  gd_tensor x = gd_net_input(b.net, (gd_shape){image_size, image_size, channels});
  gd_tensor t = gd_net_input(b.net, (gd_shape){1, 1, 1});

  gd_tensor e = unet_linear(&b, gd_net_time_embedding(b.net, t, c0), "time_embedding.", "linear_1", 4 * c0);
  e = unet_linear(&b, gd_net_activation(b.net, e, GD_SILU), "time_embedding.", "linear_2", 4 * c0);
  if (config->conditional) {
    gd_tensor label = gd_net_input(b.net, (gd_shape){1, 1, 1});
    e = gd_net_add(b.net, e, gd_net_embedding(b.net, label, class_embedding, config->n_classes + 1, 4 * c0));
  }
  b.shifts = unet_embedding(b.net, gd_net_activation(b.net, e, GD_SILU), config);

  x = push_skip(&b, unet_conv(&b, x, "", "conv_in", c0, 3, 1));
  for (int i = 0; i < config->n_levels; i++) x = down_block(&b, x, i);
  x = unet_resnet(&b, x, last, "mid_block", 0);
  x = unet_attention(&b, x, "mid_block", 0);
  x = unet_resnet(&b, x, last, "mid_block", 1);
  for (int i = 0; i < config->n_levels; i++) x = up_block(&b, x, i);
  x = unet_norm(&b, x, "", "conv_norm_out", GD_SILU);
  gd_net_output(b.net, unet_conv(&b, x, "", "conv_out", channels, 3, 1));
  *out = b.net;
}
