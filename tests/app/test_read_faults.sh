#!/usr/bin/env bash
# test_read_faults.sh PROGRAM MAKE_FIXTURE PRELOAD_FAULT: one rank of 2, 3 or 4 cannot read its part of a file. All
# ranks end at once, with one message that names the file; a resumed run uses the checkpoint before the unreadable one.
# Rank 0 reads data sets for all ranks. GD_TEST_SEED repeats the random choices of an earlier test.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

RANDOM=${GD_TEST_SEED:-$$}
echo "GD_TEST_SEED=${GD_TEST_SEED:-$$}"
write_config "$folder/run.yaml"
train=(train "$folder/run.yaml" --set output.checkpoint_steps=2 --set output.keep=9)
succeeds 2 "${train[@]}" --set "output.directory=$folder/run"
reference=$(digest)
newest=$(find "$folder/run/checkpoints" -name '*.h5' | sort | tail -n 1)

# faulty RANK PATH NTH ACTION: from now on the program has this fault. Its first argument is the program itself.
real=$program
faulty() {
  export GD_FAULT="$1 0 read $2 $3 $4 5"
  program=$folder/with-pid
}

# fails_at_any_read RANKS ARGUMENT...: early, in the middle and at the end of how the rank reads the checkpoint.
fails_at_any_read() {
  local ranks=$1 nth
  shift
  faulty "$rank" /checkpoints/ 0 count
  succeeds "$ranks" "$real" "$@"
  rm -f "$folder/s.h5"
  n=$(cat "$PID_FILE.calls")
  [ "$n" -gt 0 ] || return 0 # with MPICH rank 0 reads what is small
  for nth in $((1 + RANDOM % n)) $((1 + RANDOM % n)) "$n"; do
    faulty "$rank" /checkpoints/ "$nth" full
    refused 2 "${newest##*/}: " "$ranks" "$real" "$@"
    [ ! -e "$folder/s.h5" ] || fail "samples of a checkpoint that could not be read"
  done
}

for ranks in $(normally "2 3 4" 2); do
  rank=$((RANDOM % ranks))
  faulty 0 /data/ $((1 + RANDOM % 3)) fail
  refused 2 "-ubyte: cannot read: Input/output error" "$ranks" "$real" "${train[@]}" --set "output.directory=$folder/new"
  fails_at_any_read "$ranks" sample --checkpoint "$newest" --count 9 --output "$folder/s.h5"
  fails_at_any_read "$ranks" info "$newest"

  # As if the run had been killed before its last task, which is then trained again.
  cp -r "$folder/run" "$folder/resumed"
  rm "$folder/resumed/checkpoints/"*task03*
  # n reads by `info`, of another checkpoint
  [ "$n" -gt 0 ] || rank=0 n=9
  faulty "$rank" "$(cd "$folder/resumed/checkpoints" && printf '%s\n' *.h5 | tail -n 1)" $((1 + RANDOM % (n / 2))) full
  run "$ranks" "$real" "${train[@]}" --set "output.directory=$folder/resumed" --resume
  [ "$status" -eq 0 ] || fail "on $ranks ranks, with one that cannot read the newest checkpoint, exit status $status"
  has "$folder/err" "resuming from $folder/resumed/checkpoints/checkpoint-task02-step000004" "train --resume with a fault"
  [ "$(digest)" = "$reference" ] || fail "resumed, the parameters are $(digest), uninterrupted $reference"
  program=$real
  same_run "$folder/run" "$folder/resumed"
  rm -r "$folder/resumed"
done
