#!/usr/bin/env bash
# test_memory_growth.sh PROGRAM MAKE_FIXTURE SECONDS STEPS: the memory of a rank does not grow during training with
# replay, checkpoints and metrics: by less than 1 MiB in at least SECONDS seconds and STEPS steps. At low priority, so
# that other tests can run beside it.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

seconds=$3 n_steps=$4
write_config "$folder/run.yaml"
"$fixture" idx "$folder/data" 20000 || fail "no data set" # the second task has 2010 steps per epoch, the first 2

# memory PID: its minimum anonymous memory over half a second, in KiB; the minimum leaves out the writing of
# checkpoints.
memory() {
  for _ in 1 2 3 4 5; do
    sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null || true
    sleep 0.1
  done | sort -n | head -n 1
}

steps_of_second_task() { # according to the last checkpoint
  local last
  last=$(find "$folder/run/checkpoints" -name 'checkpoint-task02-*.h5' 2>/dev/null | sort | tail -n 1)
  [[ $last =~ step0*([0-9]+)\.h5$ ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

goes_on() { # STEPS: the second task has reached STEPS, or the run has ended
  [ "$(steps_of_second_task)" -ge "$1" ] || gone "$mpirun"
}

measure() { # sets ${now[@]}, the memory of the ranks, and $steps, the steps done
  now=()
  for pid in "${pids[@]}"; do now+=("$(memory "$pid")"); done
  steps=$(steps_of_second_task)
}

# With huge pages the kernel may at any time make one of 2 MiB from a few pages of memory that was freed.
printf '#!/bin/sh\nexec "%s" small-pages "%s" "$@"\n' "$fixture" "$program" >"$folder/program"
chmod +x "$folder/program"
program=$folder/program
renice -n 10 -p $$ >/dev/null
start 2 train "$folder/run.yaml" --set 'tasks.order=[[0], [1, 2, 3, 4, 5, 6, 7, 8, 9]]' \
  --set "training.epochs=$((50 + seconds / 4))" --set output.checkpoint_steps=50 --set evaluation.samples=10 ||
  fail "the ranks do not start"
wait_until 600 goes_on 200 || fail "no 200 steps of the second task"
measure
before=("${now[@]}") from=$steps
sleep "$seconds"
wait_until $((4 * seconds + 600)) goes_on $((from + n_steps)) || fail "after $(steps_of_second_task) steps: too slow"
if gone "$mpirun"; then fail "the run has ended after $(steps_of_second_task) steps of its second task"; fi
measure
kill_all
for rank in 0 1; do
  growth=$((now[rank] - before[rank]))
  echo "rank $rank: ${before[rank]} KiB after $from steps of the second task, ${now[rank]} KiB after $steps: $growth KiB"
  [ "$growth" -lt 1024 ] || fail "the memory of rank $rank grows"
done
