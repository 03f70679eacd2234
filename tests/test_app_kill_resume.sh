#!/usr/bin/env bash
# A run that is killed (kill -9 of all ranks) again and again and resumed on other numbers of ranks ends with the bits of
# an unbroken one; damaged checkpoints are passed over; what cannot be resumed is refused. The kill points are random:
# GD_TEST_SEED repeats those of an earlier run.
set -eu
# shellcheck source=app_support.sh
. "$(dirname "$0")/app_support.sh"

RANDOM=${GD_TEST_SEED:-$$}
echo "GD_TEST_SEED=${GD_TEST_SEED:-$$}"
write_config "$folder/run.yaml"
steps=36
settings=(--set training.epochs=4 --set output.checkpoint_steps=2)

# train_in DIRECTORY RANKS ARGUMENT...: a whole run there, or the rest of one.
train_in() {
  local directory=$1 ranks=$2
  shift 2
  succeeds "$ranks" train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$directory" "$@"
}

# killed_after STEPS RANKS ARGUMENT...: starts the run in $folder/killed and kills it a moment after so many steps.
killed_after() {
  local n=$1 ranks=$2 pid
  shift 2
  local in_time=yes
  start "$ranks" train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/killed" "$@" || in_time=no
  wait_until 100 lines_reached "$folder/killed/metrics.jsonl" "$n" || in_time=no
  sleep "0.0$((RANDOM % 10))"
  kill -9 "$mpirun" "${pids[@]}" 2>/dev/null || true
  wait "$mpirun" 2>/dev/null || true
  for pid in "${pids[@]}"; do wait_until 20 gone "$pid" || fail "rank with process id $pid does not end"; done
  [ "$in_time" = yes ] || fail "no $n steps in 100 seconds"
  [ "${#pids[@]}" -eq "$ranks" ] || fail "${#pids[@]} process ids for $ranks ranks"
  if grep -q 'parameter digest' "$folder/out"; then echo "it had ended before"; else n_broken=$((n_broken + 1)); fi
}

newest() { # DIRECTORY
  find "$1/checkpoints" -name '*.h5' | sort | tail -n 1
}

train_in "$folder/whole" 2
reference=$(digest)

# ---- Killed five times, each time on another number of ranks, and resumed.
point=0
n_broken=0
resume=()
for ranks in 2 1 4 3 2; do
  point=$((point + 2 + RANDOM % 5))
  echo "kill after step $point on $ranks ranks"
  killed_after "$point" "$ranks" "${resume[@]}"
  resume=(--resume)
  has "$folder/killed/config.resolved.yaml" "seed: 7" "the killed run"
done
[ "$n_broken" -ge 3 ] || fail "only $n_broken of 5 runs were killed before their end"
[ "$(find "$folder/killed/checkpoints" -name '*.h5' | wc -l)" -ge 2 ] || fail "the killed run has too few checkpoints"
for copy in damaged-newest damaged-all other; do cp -r "$folder/killed" "$folder/$copy"; done

train_in "$folder/killed" 4 --resume
has "$folder/err" "resuming from $folder/killed/checkpoints/checkpoint-" "train --resume"
[ "$(digest)" = "$reference" ] || fail "resumed, the parameters are $(digest), unbroken $reference"
for task in 1 2 3; do
  same_images "$folder/whole/samples/samples-task0$task.h5" "$folder/killed/samples/samples-task0$task.h5"
done
sed -n 's/.*"global_step": \([0-9]*\).*/\1/p' "$folder/killed/metrics.jsonl" >"$folder/steps"
seq "$steps" | cmp -s - "$folder/steps" || fail "metrics.jsonl does not have the steps 1 to $steps once each, in order"
[ -z "$(find "$folder/killed" -name '*.tmp')" ] || fail "left behind: $(find "$folder/killed" -name '*.tmp')"
# losses too are those of the unbroken run
losses() { sed 's/.*\("global_step".*"gradient_norm": [^,]*\).*/\1/' "$1/metrics.jsonl"; }
cmp -s <(losses "$folder/whole") <(losses "$folder/killed") || fail "the losses differ from those of the unbroken run"

# A finished run is left as it is, but a sample set that is not of these parameters is made again.
cp "$folder/killed/samples/samples-task01.h5" "$folder/killed/samples/samples-task03.h5"
train_in "$folder/killed" 1 --resume
[ "$(digest)" = "$reference" ] || fail "resuming a finished run gives other parameters"
same_images "$folder/whole/samples/samples-task03.h5" "$folder/killed/samples/samples-task03.h5"

# ---- Damage.
damaged=$(newest "$folder/damaged-newest")
"$fixture" flip "$damaged"
train_in "$folder/damaged-newest" 2 --resume
grep -F "warn: $damaged: " "$folder/err" | grep -qF "trying the checkpoint before it" || fail "no warning names $damaged"
[ "$(digest)" = "$reference" ] || fail "after a damaged checkpoint the parameters are $(digest), unbroken $reference"

for file in "$folder"/damaged-all/checkpoints/*.h5; do "$fixture" flip "$file"; done
refused 2 "none of its" 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/damaged-all" --resume
refused 2 "--resume" 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/damaged-all"

# ---- What is no continuation.
refused 2 training.learning_rate 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/other" \
  --set training.learning_rate=1e-3 --resume
refused 2 "--resume" 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/other"
cmp -s <(grep -v directory: "$folder/killed/config.resolved.yaml") \
  <(grep -v directory: "$folder/other/config.resolved.yaml") || fail "a refused run has changed config.resolved.yaml"
