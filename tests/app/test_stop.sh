#!/usr/bin/env bash
# A run that must stop early - after a signal to one rank, at the end of its job, at a time limit - finishes its step,
# writes a checkpoint and ends with status 75, without an error. Resumed each time, on other numbers of ranks, it ends
# with the same bits as an uninterrupted run. Its replay comes from a pool.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
settings=(--set "training.epochs=$(normally 200 20)" --set replay.source=pool --set replay.pool_images=40)

train() { # RANKS DIRECTORY ARGUMENT...
  local ranks=$1 directory=$2
  shift 2
  run "$ranks" train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$directory" "$@"
}

# stopped REASON: the last run has stopped early.
stopped() {
  [ "$status" -eq 75 ] || fail "exit status $status instead of 75"
  has "$folder/err" "stopped early ($1): go on with --resume" "a run that must stop"
  if grep -q 'error: ' "$folder/err"; then fail "stopping early gives an error message"; fi
  if grep -q 'parameter digest' "$folder/out"; then fail "a run that stopped early prints the digest of a finished one"; fi
}

newest() {
  find "$folder/stopped/checkpoints" -name '*.h5' | sort | tail -n 1
}

steps_done() {
  grep -c '"event": "step"' "$folder/stopped/metrics.jsonl"
}

# at_step COUNT ARGUMENT...: the metrics have COUNT lines, or the run has ended. A resumed run has lines from the
# start: it must also have found its checkpoint.
at_step() {
  lines_reached "$folder/stopped/metrics.jsonl" "$1" || return 1
  [ "${2:-}" != --resume ] || gone "$mpirun" || grep -q 'resuming from' "$folder/err"
}

# stopped_by SIGNAL RANKS STEPS ARGUMENT...: sends SIGNAL to the last rank after STEPS steps.
stopped_by() {
  local signal=$1 ranks=$2 n=$3
  shift 3
  start "$ranks" train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/stopped" "$@" ||
    fail "the ranks do not start"
  wait_until 100 at_step "$n" "$@" || fail "no $n steps in 100 seconds"
  kill "-$signal" "${pids[-1]}"
  status=0
  wait_until 20 gone "$mpirun" || fail "SIG$signal to one rank does not stop the run"
  wait "$mpirun" || status=$?
  stopped "SIG$signal"
}

train 2 "$folder/whole"
[ "$status" -eq 0 ] || fail "exit status $status instead of 0"
reference=$(digest)
total=$(grep -c '"event": "step"' "$folder/whole/metrics.jsonl")

# ---- Signals, in the first task and later.
stopped_by TERM 2 20
n=$(steps_done)
[ "$n" -lt "$total" ] || fail "all $n steps were done before the signal: this test proves nothing"
case $(newest) in
  *"step$(printf %06d "$n").h5") ;;
  *) fail "the newest checkpoint is $(newest), but $n steps were done" ;;
esac
stopped_by USR1 3 $((n + 50)) --resume

# ---- The end of the job: Slurm's variable, an option.
SLURM_JOB_END_TIME=$(date +%s) train 4 "$folder/stopped" --resume
stopped "the time limit is near"
train 2 "$folder/stopped" --resume --time-limit 1 --set output.stop_seconds=1000000
stopped "the time limit is near"
[ "$(steps_done)" -lt "$total" ] || fail "all steps are done: the time limits have stopped nothing"
refused 2 "--time-limit" 2 train "$folder/run.yaml" --time-limit -5

# ---- To the end, on one rank.
train 1 "$folder/stopped" --resume --time-limit 1000
[ "$status" -eq 0 ] || fail "exit status $status instead of 0"
[ "$(digest)" = "$reference" ] || fail "stopped and resumed, the parameters are $(digest), uninterrupted $reference"
numbers() { sed -n 's/.*"event": "step".*\("global_step".*"teacher_evaluations": [0-9]*\).*/\1/p' "$1/metrics.jsonl"; }
cmp -s <(numbers "$folder/whole") <(numbers "$folder/stopped") ||
  fail "the steps' losses and costs differ from those of the uninterrupted run"

# ---- While the samples of the last task are generated, after all training steps.
rm "$folder"/stopped/samples/samples-task03.*
stopped_by TERM 2 "$total" --resume --set evaluation.samples=10000000
[ -z "$(find "$folder/stopped/samples" -name 'samples-task03*')" ] || fail "an incomplete sample set of the last task was left"
train 2 "$folder/stopped" --resume
[ "$status" -eq 0 ] || fail "exit status $status instead of 0"
same_images "$folder/whole/samples/samples-task03.h5" "$folder/stopped/samples/samples-task03.h5"

# ---- Values that are not finite, from a checkpoint in the middle of the second task: the run ends with the state
# before them, or skips such steps.
wild=(--set training.epochs=4 --set output.checkpoint_steps=5 --set "output.directory=$folder/wild")
succeeds 2 train "$folder/run.yaml" "${wild[@]}"
rm "$folder"/wild/checkpoints/checkpoint-task03-* "$folder"/wild/checkpoints/checkpoint-task02-step000012.h5
"$fixture" poison "$folder/wild/checkpoints/checkpoint-task02-step000010.h5" || fail "no checkpoint to poison"
for _ in 1 2; do
  refused 1 "task 2, step 11: not finite: loss" 2 train "$folder/run.yaml" "${wild[@]}" --resume
  has "$folder/err" "the state before it is the newest checkpoint" "a run that is not finite"
done
refused 1 "task 3, step 12: not finite: loss" 1 train "$folder/run.yaml" "${wild[@]}" --resume --set training.nonfinite=skip
has "$folder/err" "all steps of the task were skipped" "a run that skips all remaining steps"
[ "$(grep -c '"loss": null.*"skipped": true}$' "$folder/wild/metrics.jsonl")" -eq 14 ] ||
  fail "not all of the 14 remaining steps were skipped"
succeeds 1 report "$folder/wild" --output "$folder/wild-report"

# ---- A run that skips 100 steps in a row ends long before the end of the task.
long=(--set "tasks.order=[[0]]" --set dataset.limit=4 --set training.batch_size=4 --set training.epochs=120
  --set evaluation.samples=0 --set "output.directory=$folder/long")
succeeds 1 train "$folder/run.yaml" "${long[@]}" --set output.checkpoint_steps=10 --set output.keep=100
find "$folder/long/checkpoints" -name '*.h5' ! -name '*-step000010.h5' -delete
"$fixture" poison "$folder/long/checkpoints/checkpoint-task01-step000010.h5" || fail "no checkpoint to poison"
refused 1 "100 steps in a row were skipped" 1 train "$folder/run.yaml" "${long[@]}" --resume --set training.nonfinite=skip
[ "$(grep -c '"skipped": true}$' "$folder/long/metrics.jsonl")" -eq 100 ] || fail "not 100 skipped steps"
