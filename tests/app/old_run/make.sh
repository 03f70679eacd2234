#!/usr/bin/env bash
# make.sh PROGRAM MAKE_FIXTURE: writes the two runs of tests/app/old_run again, with an older build of the program. The
# folders `unfinished` and `finished` in the present folder must not be there.
set -eu
program=$1
fixture=$2
here=$PWD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$fixture" idx "$folder/data"
cat >"$folder/run.yaml" <<'END'
seed: 7
dataset: {name: fashion_mnist, path: data, image_size: 8, horizontal_flip: true}
tasks: {order: [[0, 5], [2, 7], [4, 8]]}
model: {block_out_channels: [4, 8], layers_per_block: 1, attention: [false, true], attention_head_dim: 4,
        norm_num_groups: 4}
strategy: {name: generative_distillation, lambda: 0.75}
replay: {steps: 2, eta: 0.5, batch: 6, source: pool, pool_images: 20, limit_seconds: 1000}
training: {epochs: 2, batch_size: 10, slots: 4, ema_decay: 0.9}
evaluation: {samples: 12, steps: 3, eta: 0.5, cache: cache}
classifier: {epochs: 1, batch_size: 16, slots: 2, image_size: 16}
solver: {epochs: 0}
output: {checkpoint_minutes: 0, checkpoint_steps: 4, keep: 100}
END
cd "$folder"
# as if it had ended behind step 4 of its second task
"$program" train run.yaml --set output.directory=unfinished >/dev/null
find unfinished/checkpoints -type f ! -name '*task02-step000004.h5' -delete
rm unfinished/samples/*task0[23]* unfinished/pools/*task03*
"$program" train run.yaml --set output.directory=finished --set strategy.name=generative_replay --set evaluation.measures=true \
  --set tasks.order='[[0, 5], [2, 7]]' --set replay.source=online >/dev/null
rm -rf finished/checkpoints finished/samples/*.png ./*/run.lock
mv unfinished finished "$here"
