#!/usr/bin/env bash
# A run has one writer: a second train or evaluate is refused with the name of the first, whose metrics stay intact; a
# killed run does not block; a run whose folder was taken over ends. The results of a finished run are not replaced.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
train=(train "$folder/run.yaml")
run=$folder/run
in_use="run/run.lock: the folder is in use by \`train\`, process "

samples_made() { # COUNT
  [ "$(find "$run/samples" -name '*.h5' 2>/dev/null | wc -l)" -ge "$1" ] || gone "$mpirun"
}

# ---- During a run

export SLURM_JOB_ID=4711
start 2 "${train[@]}" --set training.epochs=40 --set evaluation.measures=false
unset SLURM_JOB_ID
wait_until 60 samples_made 1 || fail "no sample set in 60 seconds"
cp "$folder/err" "$folder/err-of-first"
refused 2 "$in_use" 1 "${train[@]}" --set training.epochs=40
refused 2 "Slurm job 4711, since 20" 2 "${train[@]}" --set training.epochs=40 --resume
refused 2 "$in_use" 1 evaluate "$run"
status=0
wait "$mpirun" || status=$?
[ "$status" -eq 0 ] || fail "the first writer ends with status $status"
[ "$(grep -c '"event": "step"' "$run/metrics.jsonl")" -eq 360 ] || fail "steps are missing in metrics.jsonl"

# ---- Results without checkpoints are not replaced

mv "$run/checkpoints" "$folder/checkpoints"
cp "$run/metrics.jsonl" "$folder/metrics.jsonl"
refused 2 "run: already holds metrics or sample sets of a run" 1 "${train[@]}" --set training.epochs=40
refused 2 "run: holds results of finished tasks, but no checkpoints" 2 "${train[@]}" --set training.epochs=40 --resume
cmp "$folder/metrics.jsonl" "$run/metrics.jsonl" || fail "a refused run has changed metrics.jsonl"

# ---- A killed run does not block; a run that has lost its folder ends

rm -rf "$run"
start 2 "${train[@]}" --set training.epochs=2000 --set output.checkpoint_steps=5
wait_until 60 test -s "$run/metrics.jsonl" || fail "no metrics in 60 seconds"
kill_all
start 2 "${train[@]}" --set training.epochs=2000 --set output.checkpoint_steps=5 --resume
wait_until 20 grep -q "task 1 of 3: " "$folder/err" || fail "the lock of a killed run blocks"
grep -q '"process":'"${pids[0]}," "$run/run.lock" || grep -q '"process":'"${pids[1]}," "$run/run.lock" ||
  fail "run.lock names neither of the processes ${pids[*]}"
taken_over() { # TEXT: the run started last ends with a message that contains TEXT
  wait_until 60 gone "$mpirun" || fail "a run whose folder was taken over does not end"
  status=0
  wait "$mpirun" || status=$?
  [ "$status" -ne 0 ] || fail "a run whose folder was taken over ends with status 0"
  has "$folder/err" "run.lock: the folder was taken over by $1" "train"
}
printf '%-1022s\n' '{"work": "train", "host": "node9", "boot": "b", "process": 9, "since": "today"}' >"$run/run.lock"
taken_over "\`train\`, process 9 on node9, since today"

# The folder is removed and made again by another job.
rm -r "$run"
start 1 "${train[@]}" --set training.epochs=2000
wait_until 20 grep -q "task 1 of 3: " "$folder/err" || fail "no run in 20 seconds"
rm -r "$run"
mkdir "$run"
touch "$run/run.lock"
taken_over "another process"
