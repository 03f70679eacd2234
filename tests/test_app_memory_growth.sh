#!/usr/bin/env bash
# test_app_memory_growth.sh PROGRAM MAKE_FIXTURE EPOCHS: the memory of a rank does not grow while training goes on, with
# replay, checkpoints and metrics: by less than 1 MiB over EPOCHS epochs of 11 steps.
set -eu
# shellcheck source=app_support.sh
. "$(dirname "$0")/app_support.sh"

epochs=$3
write_config "$folder/run.yaml"

# memory PID: its least anonymous memory over half a second, in KiB: a checkpoint that is being written takes some too.
memory() {
  for _ in 1 2 3 4 5; do
    sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null || true
    sleep 0.1
  done | sort -n | head -n 1
}

steps_of_second_task() { # by the last checkpoint
  local last
  last=$(find "$folder/run/checkpoints" -name 'checkpoint-task02-*.h5' 2>/dev/null | sort | tail -n 1)
  [[ $last =~ step0*([0-9]+)\.h5$ ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

goes_on() { # STEPS: of the second task, or the run is over
  [ "$(steps_of_second_task)" -ge "$1" ] || gone "$mpirun"
}

start 2 train "$folder/run.yaml" --set 'tasks.order=[[0], [1, 2, 3, 4, 5, 6, 7, 8, 9]]' --set "training.epochs=$epochs" \
  --set output.checkpoint_steps=50 --set evaluation.samples=10 || fail "the ranks do not start"
wait_until $((100 + 2 * epochs)) goes_on 200 || fail "no 200 steps of the second task"
before=() after=()
for pid in "${pids[@]}"; do before+=("$(memory "$pid")"); done
from=$(steps_of_second_task)
until gone "$mpirun"; do
  now=()
  for pid in "${pids[@]}"; do now+=("$(memory "$pid")"); done
  at=$(steps_of_second_task)
  # the last that was measured while both were at work
  if ! gone "$mpirun" && [ "$at" -lt $((epochs * 11)) ]; then after=("${now[@]}") to=$at; fi
done
wait "$mpirun" || fail "training ends with status $?"
[ "${#after[@]}" -eq 2 ] || fail "the run was over too soon"
for rank in 0 1; do
  growth=$((after[rank] - before[rank]))
  echo "rank $rank: ${before[rank]} KiB after $from steps of the second task, ${after[rank]} KiB after $to: $growth KiB"
  [ "$growth" -lt 1024 ] || fail "the memory of rank $rank grows"
done
[ $((to - from)) -gt $((epochs * 4)) ] || fail "only $((to - from)) steps were watched"
