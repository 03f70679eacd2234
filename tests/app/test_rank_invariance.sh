#!/usr/bin/env bash
# train and sample on several numbers of ranks: with `reduction: tree` the parameters and images have the same bits,
# with `reduction: fast` they are equal up to rounding; samples from one checkpoint always have the same bits. In
# bfloat16 too.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"

# train_on RANKS NAME SETTING...: trains in $folder/NAME; sets $trained to the parameter digest.
train_on() {
  local ranks=$1 name=$2 setting sets=()
  shift 2
  for setting in "$@"; do sets+=(--set "$setting"); done
  succeeds "$ranks" train "$folder/run.yaml" --set "output.directory=$folder/$name" "${sets[@]}"
  trained=$(digest)
}

last=checkpoints/checkpoint-task03-step000006.h5
train_on 1 tree-1
reference=$trained online=$trained
for ranks in $(normally "2 3 4" 2); do
  train_on "$ranks" "tree-$ranks"
  [ "$trained" = "$reference" ] || fail "on $ranks ranks the parameters are $trained, on one $reference"
  for part in model ema teacher optimizer; do
    "$fixture" compare "$folder/tree-$ranks/$last" "/$part" "$folder/tree-1/$last" "/$part" 0 ||
      fail "on $ranks ranks /$part of the last checkpoint differs"
  done
  for task in 1 2 3; do
    same_images "$folder/tree-1/samples/samples-task0$task.h5" "$folder/tree-$ranks/samples/samples-task0$task.h5"
    cmp "$folder/tree-1/samples/samples-task0$task.png" "$folder/tree-$ranks/samples/samples-task0$task.png" ||
      fail "on $ranks ranks the picture of task $task differs"
  done
done

for strategy in lwf gaussian; do
  train_on 1 "$strategy-1" strategy.name=$strategy replay.batch=0 evaluation.samples=0
  reference=$trained
  train_on 2 "$strategy-2" strategy.name=$strategy replay.batch=0 evaluation.samples=0
  [ "$trained" = "$reference" ] || fail "$strategy: on 2 ranks the parameters are $trained, on one $reference"
done

# A pool distributed over two ranks; and fewer replay images per step than slots, one in some steps and none in others.
for settings in "replay.source=pool replay.pool_images=50" "replay.limit_images=4"; do
  name=${settings%%=*}
  # shellcheck disable=SC2086 # two settings
  train_on 1 "$name-1" $settings evaluation.samples=0
  reference=$trained
  for ranks in $(normally "2 3" 2); do
    # shellcheck disable=SC2086
    train_on "$ranks" "$name-$ranks" $settings evaluation.samples=0
    [ "$trained" = "$reference" ] || fail "$settings: on $ranks ranks the parameters are $trained, on one $reference"
  done
  [ "$reference" != "$online" ] || fail "$settings changes nothing"
done

# bfloat16 where this CPU supports it; without it (here by a limit on oneDNN's instruction set) float32 with a warning.
train_on 1 half-1 training.precision=bfloat16 evaluation.samples=0
half=$trained
train_on 2 half-2 training.precision=bfloat16 evaluation.samples=0
[ "$trained" = "$half" ] || fail "bfloat16: on 2 ranks the parameters are $trained, on one $half"
export DNNL_MAX_CPU_ISA=AVX2 ONEDNN_MAX_CPU_ISA=AVX2
train_on 2 avx2-half training.precision=bfloat16 evaluation.samples=20
half=$trained
n=$(grep -c 'warn: training.precision is bfloat16, but .* computing in float32' "$folder/err" || true)
[ "$n" -eq 1 ] || fail "$n warnings that there is no bfloat16, instead of one"
train_on 2 avx2-float evaluation.samples=20
[ "$trained" = "$half" ] || fail "without bfloat16 the parameters are $half, in float32 $trained"
unset DNNL_MAX_CPU_ISA ONEDNN_MAX_CPU_ISA

# Steps so small that rounding differences do not grow.
train_on 1 small-steps evaluation.samples=0 training.learning_rate=1e-5
for ranks in 1 2 3; do
  train_on "$ranks" "fast-$ranks" training.reduction=fast evaluation.samples=0 training.learning_rate=1e-5
  "$fixture" compare "$folder/fast-$ranks/$last" /model "$folder/small-steps/$last" /model 1e-4 ||
    fail "reduction fast on $ranks ranks: the parameters differ by more than rounding"
done
"$fixture" compare "$folder/fast-1/$last" /model "$folder/tree-1/$last" /model 1e-4 2>"$folder/err" &&
  fail "another learning rate does not change the parameters: this comparison cannot fail"

for ranks in 1 2 3 4; do
  succeeds "$ranks" sample --checkpoint "$folder/tree-2/$last" --count 70 --output "$folder/samples-$ranks.h5"
  same_images "$folder/samples-1.h5" "$folder/samples-$ranks.h5"
done
# the sample set that the run itself wrote
same_images "$folder/samples-1.h5" "$folder/tree-1/samples/samples-task03.h5"
