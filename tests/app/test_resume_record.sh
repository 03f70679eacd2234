#!/usr/bin/env bash
# The record of a resumed run agrees with its files: sample sets and metrics with other settings are made again for all
# tasks, the others stay; other training data is refused.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
run=$folder/run
train=(train "$folder/run.yaml" --set evaluation.measures=true --set "evaluation.cache=$folder/cache"
  --set dataset.image_size=16 --set training.epochs=1 --set classifier.epochs=1 --set classifier.batch_size=16
  --set classifier.slots=2 --set solver.epochs=1 --set solver.batch_size=10)

sizes() { # of the sample sets, one per line
  local name
  for name in "$run"/samples/*.h5; do h5dump -H -d /index "$name" | sed -n 's/.*SIMPLE { ( \([0-9]*\) ).*/\1/p'; done
}

evaluations() { # KEY: its value in the metrics of each task
  sed -n "s/.*\"event\": \"evaluation\".*\"$1\": \([0-9]*\).*/\1/p" "$run/metrics.jsonl" | tr '\n' ' '
}

succeeds 2 "${train[@]}"
reference=$(digest)
cp "$run/metrics.jsonl" "$folder/metrics.jsonl"
cp -r "$run/samples" "$folder/samples"

# ---- The same settings: no change

succeeds 1 "${train[@]}" --resume
cmp "$folder/metrics.jsonl" "$run/metrics.jsonl" || fail "resuming a finished run changes its metrics"
for name in "$run"/samples/*; do
  cmp "$name" "$folder/samples/${name##*/}" || fail "resuming a finished run changes $name"
done

# ---- More images, another solver

succeeds 2 "${train[@]}" --resume --set evaluation.samples=90
[ "$(digest)" = "$reference" ] || fail "other samples change the parameters"
has "$folder/err" "resumed with other settings: evaluation.samples: 70 becomes 90" "train --resume"
has "$run/config.resolved.yaml" "samples: 90" "config.resolved.yaml"
[ "$(sizes | tr '\n' ' ')" = "90 90 90 " ] || fail "the sample sets hold $(sizes | tr '\n' ' ')images, not 90 each"
[ "$(evaluations n_generated)" = "90 90 90 " ] || fail "the metrics are of $(evaluations n_generated)images, not 90 each"

succeeds 1 "${train[@]}" --resume --set evaluation.samples=90 --set solver.epochs=2
[ "$(evaluations epochs)" = "2 2 2 " ] || fail "the solvers have $(evaluations epochs)epochs, not 2 each"
[ "$(grep -c '"event": "step"' "$run/metrics.jsonl")" -eq "$(grep -c '"event": "step"' "$folder/metrics.jsonl")" ] ||
  fail "steps were lost or repeated"

# ---- A missing sample set is made again; that of a task without its last checkpoint does not change

rm "$run/samples/samples-task01.h5" "$run"/checkpoints/checkpoint-task02*
cp "$run/samples/samples-task02.h5" "$folder/second.h5"
succeeds 1 "${train[@]}" --resume --set evaluation.samples=80 --set solver.epochs=2
has "$folder/err" "task 2: its last checkpoint is gone, so its sample set stays as it is" "train --resume"
[ "$(sizes | tr '\n' ' ')" = "80 90 80 " ] || fail "the sample sets hold $(sizes | tr '\n' ' ')images"
cmp "$folder/second.h5" "$run/samples/samples-task02.h5" || fail "the second task's sample set has changed"

# ---- What `evaluate` wrote stays; what the run lacks is measured

train+=(--set evaluation.samples=80 --set solver.epochs=2 --resume)
succeeds 1 evaluate "$run"
cp "$run/metrics.jsonl" "$folder/metrics.jsonl"
succeeds 2 "${train[@]}" --set evaluation.measures=false
cmp "$folder/metrics.jsonl" "$run/metrics.jsonl" || fail "resuming a finished run drops what evaluate wrote"
sed -i '$d' "$run/metrics.jsonl"
succeeds 2 "${train[@]}"
has "$folder/err" "task 3: results made from" "train --resume"
[ "$(evaluations task)" = "1 2 3 " ] || fail "the metrics are of the tasks $(evaluations task)"

# ---- Other data behind the same path

"$fixture" flip "$folder/data/train-images-idx3-ubyte"
refused 2 "the run was started with other training images or labels" 2 "${train[@]}" --resume
