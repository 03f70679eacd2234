/* Networks as descriptions for the engine. */
#ifndef GENDISTILL_MODEL_H
#define GENDISTILL_MODEL_H

#include "gendistill/nn.h"

enum { GD_MAX_LEVELS = 8 };

/* The section `model` of a configuration. */
typedef struct gd_unet_config {
  int n_levels;
  int block_out_channels[GD_MAX_LEVELS];
  int layers_per_block;
  bool attention[GD_MAX_LEVELS]; /* n_levels */
  int attention_head_dim;        /* 0: one head */
  int norm_num_groups;
  double dropout;   /* in the ResNet blocks, in training */
  bool conditional; /* on the class */
  int n_classes;    /* of a conditional network, besides the null class; follows from the data set */
} gd_unet_config;

/* The U-Net of diffusers' UNet2DModel: inputs x (size, size, channels) and t (1, 1, 1), output like x. A conditional
 * one has a third input, the label (1, 1, 1): a class, or n_classes, the null class, which stands for no class.
 * Parameters carry diffusers' state-dict names. The configuration must be valid. Local. */
void gd_unet_create(gd_net **out, const gd_unet_config *config, int image_size, int channels);

/* The label of the null class; -1: the network is not conditional. Local. */
int gd_unet_null_label(const gd_net *net);

/* Checks that diffusers' config.json at `path` describes the network that gd_unet_create makes of the same arguments.
 * Without such a file, warns and says what is assumed. Local. GD_ERR_INPUT naming file, key, value found and value
 * required. */
gd_err gd_unet_check_config(const char *path, const gd_unet_config *model, int image_size, int channels);

/* Writes such a file. Local. GD_ERR_FAILED naming it. */
gd_err gd_unet_write_config(const char *path, const gd_unet_config *model, int image_size, int channels);

/* ResNet-18 (He et al. 2016; torchvision's parameter names): basic blocks, 7x7 stride-2 stem, 3x3 stride-2 max pool,
 * widths[0..3] channels. Input x (size, size, channels). The output is the logits (1, 1, n_classes) or, with
 * `features`, the globally averaged features and the logits behind them: (1, 1, widths[3] + n_classes). The parameter
 * table is the same either way. Local. */
void gd_resnet18_create(gd_net **out, int image_size, int channels, const int widths[4], int n_classes, bool features);

/* The classifier trained alongside the diffusion model (the paper's reference implementation).
 * Input 0: x (size, size, channels); output: logits (1, 1, n_classes). With `dropout`, inputs 1 to 3 are the masks
 * that multiply the outputs of the two max pools and of the global one: 0, or 1 / (1 - 0.25) for what is kept.
 * image_size must be at least 12. Local. */
void gd_solver_create(gd_net **out, int image_size, int channels, int n_classes, bool dropout);

/* FOLDER/solver-task02.h5 (task from 1 in the name, from 0 here), a checkpoint with the array "model" of a solver
 * without dropout; the folder is RUN/solver where the solver learns from generated images. New string, gd_free. Local.
 */
char *gd_solver_path(const char *folder, int task);

typedef enum gd_inception_variant {
  GD_INCEPTION_TORCHVISION, /* torchvision's inception_v3 */
  /* The network behind the Frechet inception distance (FID): the average pools of Mixed_5b..5d, 6b..6e and 7b leave the
   * padding out, and the pool of Mixed_7c takes the maximum. */
  GD_INCEPTION_FID,
} gd_inception_variant;

/* Inception-v3 (Szegedy et al. 2016) up to its globally averaged features, for weights of torchvision or of a PyTorch
 * port of the FID's network: parameters carry torchvision's names, without those of AuxLogits and fc. Input x
 * (image_size, image_size, 3), output (1, 1, 2048 / divisor). The published network has image_size 299, pixels in
 * [-1, 1] and divisor 1; the divisor (1, 2, 4, 8 or 16) thins every channel count, for tests. image_size must be at
 * least 75. Local. */
void gd_inception_v3_create(gd_net **out, gd_inception_variant variant, int image_size, int divisor);

#endif
