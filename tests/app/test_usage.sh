#!/usr/bin/env bash
# The command line: exit statuses and messages of wrong calls, --dry-run, info, and the names in the files of a run.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
small=(train "$folder/run.yaml" --set training.epochs=1 --set "output.directory=$folder/run")

# ---- Wrong calls.
refused 2 "no command given" 2
refused 2 "no command 'trian'" 2 trian
refused 2 "no option --resum" 1 "${small[@]}" --resum
refused 2 "log level 'loud'" 1 train "$folder/run.yaml" --log-level loud
refused 2 "train: needs a configuration file" 1 train
refused 2 "$folder/nosuch.yaml" 2 train "$folder/nosuch.yaml"
refused 2 "training.epochs" 1 "${small[@]}" --set training.epochs=0
refused 2 "training.epoks" 2 "${small[@]}" --set training.epoks=3
refused 2 "must be KEY=VALUE" 1 "${small[@]}" --set training.epochs
refused 2 "$folder/elsewhere/train-images-idx3-ubyte" 2 "${small[@]}" --set "dataset.path=$folder/elsewhere"
refused 2 "3 ranks, but training.slots is 2" 3 "${small[@]}" --set training.slots=2
refused 2 "task 1 has 3 training images, but training.slots is 4" 2 "${small[@]}" --set dataset.limit=3 \
  --set evaluation.measures=true --set dataset.image_size=16 --set "evaluation.cache=$folder/cache"
[ ! -e "$folder/cache" ] || fail "a refused run has trained a classifier"
refused 2 "key 'training.slots': must be at most training.batch_size (10), is '16'" 1 "${small[@]}" --set training.slots=16
refused 2 "replay.batch is 6, but strategy lwf" 2 "${small[@]}" --set strategy.name=lwf
echo "no HDF5" >"$folder/text"
refused 2 "$folder/text" 2 info "$folder/text"
refused 1 "$folder/text/run" 2 "${small[@]}" --set "output.directory=$folder/text/run"
ln -s "$folder/nosuch" "$folder/link"
refused 1 "$folder/link: cannot make the folder: it is a symbolic link to nothing" 1 "${small[@]}" --set "output.directory=$folder/link"
echo "dataset: {name: mnist}" >"$folder/mnist.yaml"
refused 2 "key 'dataset.path': must name the folder with the files of mnist" 1 train "$folder/mnist.yaml"
refused 2 "the environment variable GD_TEST_UNSET is not set" 2 "${small[@]}" --set "output.directory=\$GD_TEST_UNSET/run"
tilde="~"
refused 2 "$tilde/run: the shell has not expanded this" 1 report "$folder" --output="$tilde/run"
[ ! -e "$folder/run" ] || fail "a refused run has made its folder"

# ---- Without a run.
succeeds 1 --version
for library in gendistill oneDNN MPI HDF5; do has "$folder/out" "$library" "--version"; done
succeeds 2 --help
has "$folder/out" "gendistill" "--help"
succeeds 1 train "$tests/../configs/fashion_mnist_paper.yaml" --dry-run
has "$folder/out" "# parameters: 42855873" "train --dry-run"

HOME=$folder succeeds 1 "${small[@]}" --dry-run --set "output.directory=$tilde/run #2"
has "$folder/out" "directory: \"$folder/run #2\"" "train --dry-run"
# 115 images of 8 x 8 bytes and their labels
has "$folder/out" " MiB, the data set's 0.0 MiB included" "train --dry-run"
if [ -d /usr/share/datasets/fashion-mnist ]; then # 60000 images of 28 x 28 bytes and their labels
  for ranks in 1 2 3; do
    succeeds "$ranks" train "$tests/../configs/quickstart.yaml" --dry-run --set dataset.image_size=32
    has "$folder/out" "# memory per node (ranks: $ranks): " "train --dry-run"
    has "$folder/out" " MiB, the data set's 44.9 MiB included" "train --dry-run on $ranks ranks"
  done
fi
succeeds 2 "${small[@]}" --dry-run --set "dataset.path=$folder/elsewhere"
has "$folder/out" "and the data set, which cannot be read: $folder/elsewhere/train-images-idx3-ubyte" "train --dry-run"

# ---- The files of a run.
succeeds 2 "${small[@]}"
checkpoint=$folder/run/checkpoints/checkpoint-task03-step000003.h5
h5dump -H "$checkpoint" >"$folder/names"
for name in 'GROUP "model"' 'GROUP "teacher"' 'GROUP "optimizer"' 'DATASET "m"' 'DATASET "v"' 'GROUP "ema"' \
  'DATASET "conv_in.weight"' 'ATTRIBUTE "task"' 'ATTRIBUTE "epoch"' 'ATTRIBUTE "step"' 'ATTRIBUTE "seed"' \
  'ATTRIBUTE "config"' 'ATTRIBUTE "code_version"' 'ATTRIBUTE "format_version"' 'ATTRIBUTE "parameter_digest"'; do
  has "$folder/names" "$name" "h5dump of a checkpoint"
done
h5dump -H "$folder/run/samples/samples-task03.h5" >"$folder/names"
for name in 'DATASET "images"' 'DATASET "index"' '( 70, 8, 8, 1 )' 'ATTRIBUTE "sampler"' 'ATTRIBUTE "steps"' \
  'ATTRIBUTE "seed"' 'ATTRIBUTE "checkpoint_digest"'; do
  has "$folder/names" "$name" "h5dump of a sample set"
done
for file in config.resolved.yaml metrics.jsonl samples/samples-task01.h5 samples/samples-task01.png; do
  [ -s "$folder/run/$file" ] || fail "the run has left no $file"
done
succeeds 2 info "$checkpoint"
has "$folder/out" "conv_in.weight" "info"
succeeds 2 info "$folder/run/samples/samples-task03.h5"
has "$folder/out" "/images" "info"

# Results go to stdout, the log to stderr.
if grep -q "parameter digest" "$folder/err"; then fail "the digest is on stderr"; fi
