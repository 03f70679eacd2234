/* Network a of golden/unet.h5. The golden files of DDIM and of the strategies were made with its weights. */
#ifndef GENDISTILL_TESTS_NETWORK_A_H
#define GENDISTILL_TESTS_NETWORK_A_H

#include "gendistill/diffusion.h"
#include "gendistill/model.h"

enum { NETWORK_A_SIZE = 16, NETWORK_A_ELEMENTS = 16 * 16 };  // one channel: (C, H, W) and (H, W, C) are the same

static const gd_unet_config network_a = {.n_levels = 3,
                                         .block_out_channels = {16, 16, 32},
                                         .layers_per_block = 1,
                                         .attention = {false, false, true},
                                         .attention_head_dim = 8,
                                         .norm_num_groups = 8};

static const gd_diffusion network_a_diffusion = {
    .timesteps = 1000, .beta_start = 0.0001, .beta_end = 0.02, .zero_terminal_snr = true};

static const gd_diffusion network_a_flow = {.path = GD_PATH_flow, .timesteps = 1000, .prediction = GD_OBJECTIVE_v};

#endif
