#!/usr/bin/env bash
# export writes a folder in diffusers' layout, which import reads back with the same bits; a network or a scheduler of
# another kind is refused; train --init begins a run with weights from a checkpoint or from safetensors.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_network_a
config=(--config "$folder/network_a.yaml")
succeeds 1 import --safetensors "$folder/a.safetensors" "${config[@]}" --output "$folder/a.h5"

# exported NAME KEY=VALUE...: imports network a with these settings to $folder/NAME.h5, and exports it to $folder/NAME.
exported() {
  local name=$1 sets=() set
  shift
  for set in "$@"; do sets+=(--set "$set"); done
  succeeds 1 import --safetensors "$folder/a.safetensors" "${config[@]}" "${sets[@]}" --output "$folder/$name.h5"
  succeeds 2 export --checkpoint "$folder/$name.h5" --output "$folder/$name"
}

# scheduler NAME TEXT...: scheduler_config.json has each text.
scheduler() {
  local name=$1 text
  shift
  for text in "$@"; do has "$folder/$name/scheduler/scheduler_config.json" "$text" "export of $name"; done
}

# ---- The folder
exported epsilon
"$fixture" idx "$folder/data"
cmp "$folder/a.safetensors" "$folder/epsilon/unet/diffusion_pytorch_model.safetensors" || fail "export changes the weights"
scheduler epsilon '"_class_name": "DDIMScheduler"' '"timestep_spacing": "trailing"' '"rescale_betas_zero_snr": true' \
  '"prediction_type": "epsilon"' '"num_train_timesteps": 1000' '"beta_schedule": "linear"' '"beta_start": 0.0001'
for text in '"_class_name": "UNet2DModel"' '"flip_sin_to_cos": true' '"freq_shift": 0' '"AttnDownBlock2D"' \
  '"downsample_padding": 1' '"norm_eps": 1e-' '"sample_size": 16' '"num_class_embeds": null'; do
  has "$folder/epsilon/unet/config.json" "$text" "export"
done
has "$folder/epsilon/model_index.json" '"scheduler": ["diffusers", "DDIMScheduler"]' "export"

exported v diffusion.prediction=v diffusion.zero_terminal_snr=false evaluation.sampler=dpmpp_2m
scheduler v '"DPMSolverMultistepScheduler"' '"prediction_type": "v_prediction"' '"rescale_betas_zero_snr": false'
exported x0 diffusion.prediction=x0 evaluation.sampler=unipc
scheduler x0 '"UniPCMultistepScheduler"' '"prediction_type": "sample"'
exported flow diffusion.path=flow evaluation.sampler=midpoint
has "$folder/err" "diffusers has no scheduler like the sampler midpoint: taking that of euler" "export"
scheduler flow '"FlowMatchEulerDiscreteScheduler"' '"shift": 1.0'
if grep -q beta "$folder/flow/scheduler/scheduler_config.json"; then fail "betas for flow matching"; fi

# ---- Read again
succeeds 2 import --diffusers "$folder/epsilon" "${config[@]}" --output "$folder/again.h5"
if grep -q 'warn:' "$folder/err"; then fail "import warns of what export wrote"; fi
"$fixture" compare "$folder/a.h5" /model "$folder/again.h5" /model 0 || fail "export and import change the weights"
succeeds 1 import --diffusers "$folder/v" "${config[@]}" --set diffusion.prediction=v \
  --set diffusion.zero_terminal_snr=false --output "$folder/again.h5"
succeeds 1 import --diffusers "$folder/flow" "${config[@]}" --set diffusion.path=flow --output "$folder/again.h5"

other() { # NAME TEXT SETTING...: import of the folder is refused
  local name=$1 text=$2 sets=() set
  shift 2
  for set in "$@"; do sets+=(--set "$set"); done
  refused 2 "$text" 1 import --diffusers "$folder/$name" "${config[@]}" "${sets[@]}" --output "$folder/no.h5"
}
other epsilon "key 'prediction_type' is \"epsilon\", must be \"v_prediction\" (diffusion.prediction)" diffusion.prediction=v
other v "key 'prediction_type' is \"v_prediction\", must be \"epsilon\""
other epsilon "key 'rescale_betas_zero_snr' is true, must be false" diffusion.zero_terminal_snr=false
other epsilon "key 'beta_end' is 0.02, must be 0.03 (diffusion.beta_end)" diffusion.beta_end=0.03
other epsilon "which does not suit diffusion.path flow" diffusion.path=flow
other flow "which does not suit diffusion.path diffusion" diffusion.prediction=v
other epsilon "key 'num_class_embeds' is null, must be 11 (model.conditional)" model.conditional=true
sed -i 's/"flip_sin_to_cos": true/"flip_sin_to_cos": false/' "$folder/x0/unet/config.json"
other x0 "key 'flip_sin_to_cos' is false, must be true" diffusion.prediction=x0
rm "$folder/v/scheduler/scheduler_config.json"
succeeds 1 import --diffusers "$folder/v" "${config[@]}" --set diffusion.prediction=v --output "$folder/again.h5"
has "$folder/err" "no such file, so what does not follow from the weights is assumed" "import without a scheduler"

refused 2 "the folder $folder/epsilon is not empty" 2 export --checkpoint "$folder/a.h5" --output "$folder/epsilon"
refused 2 "cannot use the folder $folder/a.h5: Not a directory" 1 export --checkpoint "$folder/v.h5" --output "$folder/a.h5"
refused 2 "needs --safetensors or --diffusers" 1 import "${config[@]}" --output "$folder/no.h5"
refused 2 "needs --safetensors or --diffusers" 1 import "${config[@]}" --diffusers "$folder/v" \
  --safetensors "$folder/a.safetensors" --output "$folder/no.h5"
[ ! -e "$folder/no.h5" ] || fail "a refused import wrote a file"

# ---- A run that begins with weights
training=("$folder/network_a.yaml" --set "dataset.path=$folder/data" --set "tasks.order=[[0, 5], [2, 7]]"
  --set training.epochs=1 --set training.batch_size=10 --set training.slots=2 --set evaluation.samples=0)
train_in() { # NAME RANKS ARGUMENT...
  local name=$1 ranks=$2
  shift 2
  succeeds "$ranks" train "${training[@]}" --set "output.directory=$folder/$name" "$@"
}
train_in from-random 1
random=$(digest)
train_in from-checkpoint 2 --init "$folder/a.h5"
has "$folder/err" "beginning with the weights of $folder/a.h5, digest" "train --init"
reference=$(digest)
train_in from-safetensors 1 --init "$folder/a.safetensors"
[ "$(digest)" = "$reference" ] || fail "weights from safetensors give other parameters than from a checkpoint"
[ "$random" != "$reference" ] || fail "--init changes nothing"
has "$folder/from-checkpoint/config.resolved.yaml" "init: \"$folder/a.h5\"" "config.resolved.yaml"

# with averaged parameters too, which begin with the same weights
train_in averaged 1 --init "$folder/a.h5" --set training.ema_decay=0.9 --set training.learning_rate=1e-12
"$fixture" compare "$folder/averaged/checkpoints/"*task02*.h5 /ema "$folder/a.h5" /model 1e-6 ||
  fail "the average does not begin with the weights"

# a resumed run goes on from its own checkpoint
rm "$folder/from-checkpoint/checkpoints/"checkpoint-task02-*.h5
train_in from-checkpoint 1 --init "$folder/a.h5" --resume
[ "$(digest)" = "$reference" ] || fail "resumed with --init, the parameters are others"
refused 2 "training.init: $folder/none.h5" 2 train "${training[@]}" --set "output.directory=$folder/none" --init "$folder/none.h5"
refused 2 "training.init: $folder/a.h5: " 1 train "${training[@]}" --set "output.directory=$folder/none" \
  --init "$folder/a.h5" --set 'model.block_out_channels=[8, 8, 16]'
[ ! -e "$folder/none/checkpoints" ] || fail "a refused run has begun"
