#!/usr/bin/env bash
# A killed run is resumed on another number of ranks and ends with the same bits as an uninterrupted one, also if its
# newest checkpoint is damaged; a finished run does not change; a run that cannot be resumed is refused. See also
# test_kill_anywhere.sh.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"
export OMPI_MCA_odls_base_sigkill_timeout=1 # Open MPI's default, as in users' runs

write_config "$folder/run.yaml"
settings=(--set training.epochs=4 --set output.checkpoint_steps=2)

# train_in DIRECTORY RANKS ARGUMENT...: a whole run in DIRECTORY, or the rest of one.
train_in() {
  local directory=$1 ranks=$2
  shift 2
  succeeds "$ranks" train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$directory" "$@"
}

newest() { # DIRECTORY
  find "$1/checkpoints" -name '*.h5' | sort | tail -n 1
}

checkpoints_reached() { # COUNT
  [ "$(find "$folder/killed/checkpoints" -name '*.h5' 2>/dev/null | wc -l)" -ge "$1" ] || gone "$mpirun"
}

train_in "$folder/whole" 2
reference=$(digest)

# ---- Killed in the middle of the second task
start 3 train "$folder/run.yaml" "${settings[@]}" --set output.keep=20 --set "output.directory=$folder/killed"
wait_until 100 checkpoints_reached 8 || fail "no 8 checkpoints in 100 seconds"
kill_all
if grep -q 'parameter digest' "$folder/out"; then fail "it had ended before"; fi
has "$folder/killed/config.resolved.yaml" "seed: 7" "the killed run"
for copy in damaged-newest damaged-all other; do cp -r "$folder/killed" "$folder/$copy"; done

train_in "$folder/killed" 4 --resume
has "$folder/err" "resuming from $folder/killed/checkpoints/checkpoint-" "train --resume"
[ "$(digest)" = "$reference" ] || fail "resumed, the parameters are $(digest), uninterrupted $reference"
same_run "$folder/whole" "$folder/killed"

# A finished run does not change, but a sample set of other parameters is generated again.
cp "$folder/killed/samples/samples-task01.h5" "$folder/killed/samples/samples-task03.h5"
train_in "$folder/killed" 1 --resume
[ "$(digest)" = "$reference" ] || fail "resuming a finished run gives other parameters"
same_run "$folder/whole" "$folder/killed"

# ---- Damage.
damaged=$(newest "$folder/damaged-newest")
"$fixture" flip "$damaged"
train_in "$folder/damaged-newest" 2 --resume
grep -F "warn: $damaged: " "$folder/err" | grep -qF "trying the checkpoint before it" || fail "no warning names $damaged"
[ "$(digest)" = "$reference" ] || fail "after a damaged checkpoint the parameters are $(digest), uninterrupted $reference"

for file in "$folder"/damaged-all/checkpoints/*.h5; do "$fixture" flip "$file"; done
refused 2 "none of its" 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/damaged-all" --resume
refused 2 "--resume" 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/damaged-all"

# ---- Runs with other settings.
cp "$folder/other/config.resolved.yaml" "$folder/before.yaml"
refused 2 training.learning_rate 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/other" \
  --set training.learning_rate=1e-3 --resume
refused 2 "--resume" 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/other"
cmp -s "$folder/before.yaml" "$folder/other/config.resolved.yaml" || fail "a refused run has changed config.resolved.yaml"
