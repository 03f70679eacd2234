/* Networks as descriptions for the engine. */
#ifndef GENDISTILL_MODEL_H
#define GENDISTILL_MODEL_H

#include "gendistill/config.h"
#include "gendistill/nn.h"

/* The U-Net of diffusers' UNet2DModel: inputs x (size, size, channels) and t (1, 1, 1), output like x.
 * Parameters carry diffusers' state-dict names. The configuration must be valid. Local. */
void gd_unet_create(gd_net **out, const gd_config_model *config, int image_size, int channels);

#endif
