#!/usr/bin/env bash
# test_kill_anywhere.sh PROGRAM MAKE_FIXTURE PRELOAD_FAULT KILLS: one run is killed KILLS times with SIGKILL - all
# ranks or one of them - while it writes, renames and prunes checkpoints, while it writes other files, and at random
# moments. It is resumed each time, on 1 to 4 ranks. It ends with the same bits as an uninterrupted run, and no
# checkpoint is ever damaged or lost. GD_TEST_SEED repeats the random choices of an earlier test.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"
export OMPI_MCA_odls_base_sigkill_timeout=1 # Open MPI's default, as in users' runs

n_kills=$4
RANDOM=${GD_TEST_SEED:-$$}
echo "GD_TEST_SEED=${GD_TEST_SEED:-$$}"
write_config "$folder/run.yaml"
epochs=$((6 + n_kills / 2))
task_steps=$((2 * epochs))
settings=(--set "tasks.order=[[0], [1], [2], [3], [4], [5], [6], [7], [8], [9]]" --set "training.epochs=$epochs"
  --set replay.source=pool --set replay.pool_images=40 --set output.keep=1)
killed=$folder/killed

# ---- What a kill leaves

newest() {
  find "$killed/checkpoints" -name '*.h5' 2>/dev/null | sort | tail -n 1
}

steps_done() { # CHECKPOINT or nothing
  local task step
  [[ ${1:-} =~ task0*([0-9]+)-step0*([0-9]+)\.h5$ ]] || { echo 0; return; }
  task=${BASH_REMATCH[1]} step=${BASH_REMATCH[2]}
  echo $(((task - 1) * task_steps + step))
}

temporary_files() {
  find "$killed" -name '*.tmp' -printf '%p %T@\n' 2>/dev/null | sort
}

not_at_the_end_of_a_task() {
  find "$killed/checkpoints" -name '*.h5' ! -name "*-step$(printf %06d "$task_steps").h5" | wc -l
}

# state: what the killed run was doing, from the new files in the folder.
state() {
  local fresh
  fresh=$(temporary_files | comm -13 "$folder/temporary" - | cut -d ' ' -f 1)
  case $fresh in
    */checkpoints/*) if "$fixture" check "$fresh" 2>/dev/null; then echo written; else echo writing; fi ;;
    */samples/* | */pools/*) echo samples ;;
    ?*) echo text ;;
    *) if [ "$(newest)" != "$before" ] && [ "$(not_at_the_end_of_a_task)" -gt 1 ]; then echo pruning; else echo elsewhere; fi ;;
  esac
}

declare -A struck=([writing]=0 [written]=0 [pruning]=0 [samples]=0 [text]=0 [elsewhere]=0)
n_all=0 n_one=0

# examine: every file with its final name is complete, and no earlier file is lost.
examine() {
  local files last found
  if grep -q 'parameter digest' "$folder/out"; then fail "kill $i came after the end of the run: $aim"; fi
  last=$(newest)
  [ -z "$before" ] || [ -n "$last" ] || fail "after kill $i there is no checkpoint left: $aim"
  [ "$(steps_done "$last")" -ge "$(steps_done "$before")" ] || fail "after kill $i the newest checkpoint is $last, before $before"
  mapfile -t files < <(find "$killed" -name '*.h5')
  [ "${#files[@]}" -eq 0 ] || "$fixture" check "${files[@]}" || fail "kill $i has left a damaged file: $aim"
  found=$(state)
  struck[$found]=$((${struck[$found]} + 1))
  echo "${SECONDS}s: kill $i on $ranks ranks at step $(steps_done "$last"): $aim: $found"
}

# ---- Kills

some_gone() {
  local pid
  for pid in "$mpirun" "${pids[@]}"; do ! gone "$pid" || return 0; done
  return 1
}

moved_on() {
  [ "$(newest)" != "$before" ] || gone "$mpirun"
}

# strike [FAULT]: starts or resumes the run on $ranks ranks, which is killed by the fault or from here; then the job
# must end by itself. $victim is 0 for all ranks.
strike() {
  before=$(newest)
  temporary_files >"$folder/temporary"
  local arguments=(train "$folder/run.yaml" "${settings[@]}" --set output.checkpoint_steps=1 --set "output.directory=$killed")
  [ ! -e "$killed" ] || arguments+=(--resume)
  GD_FAULT=${1:-} start "$ranks" "${arguments[@]}" || fail "kill $i: the ranks do not start"
  if [ $# -eq 0 ]; then
    wait_until 200 moved_on || fail "kill $i: no new checkpoint in 200 seconds"
    sleep "0.0$((RANDOM % 10))"
    if [ "$victim" -eq 0 ]; then kill_all; else kill -9 "${pids[victim - 1]}" 2>/dev/null || true; fi
  fi
  wait_until 400 some_gone || fail "kill $i has not happened after 400 seconds: $aim"
  wait_until 30 all_gone || fail "kill $i: the job does not end in 30 seconds: $aim"
  wait "$mpirun" 2>/dev/null || true
  examine
}

succeeds 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/whole"
reference=$(digest)

for ((i = 1; i <= n_kills; i++)); do
  ranks=$((1 + RANDOM % 4))
  victim=$((RANDOM % 2 * (1 + RANDOM % ranks)))
  [ $i -gt 3 ] || victim=0 # so that each of the first kinds certainly happens
  whom="all ranks"
  [ $victim -eq 0 ] || whom="process $victim"
  if [ $victim -eq 0 ]; then n_all=$((n_all + 1)); else n_one=$((n_one + 1)); fi
  after=$((1 + RANDOM % 4)) # checkpoints
  case $((i % 8)) in
    1 | 5) call="write /checkpoints/ $((1 + RANDOM % 200))" ;;
    2) call="rename /checkpoints/ 1" ;;
    3) call="unlink /checkpoints/ 1" ;;
    4) call="any /samples/ $((1 + RANDOM % 15))" after=0 ;;
    6) call="" ;;
    7) call="sync /checkpoints/ $((1 + RANDOM % 5))" ;;
    0) call="any /killed/ $((1 + RANDOM % (RANDOM % 2 ? 12 : 400)))" after=0 ;;
  esac
  [ $((i % 16)) -ne 12 ] || call="any /pools/ $((1 + RANDOM % 15))"
  if [ -n "$call" ]; then
    aim="$whom, $after checkpoints on, call: $call"
    strike "0 $after $call kill $victim"
  else
    aim="$whom, at a random moment"
    strike
  fi
done

echo "$n_kills kills survived, $n_all of all ranks, $n_one of one: ${struck[writing]} while a checkpoint was written, \
${struck[written]} between that and its renaming, ${struck[pruning]} between that and pruning, ${struck[samples]} while a \
sample set or a pool was written, ${struck[text]} while a text file was written, ${struck[elsewhere]} elsewhere"
for kind in writing written pruning; do [ "${struck[$kind]}" -gt 0 ] || fail "no kill in the state '$kind'"; done
[ "$(steps_done "$(newest)")" -lt $((10 * task_steps)) ] || fail "the run was over before the last kill"

succeeds 3 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$killed" --resume
[ "$(digest)" = "$reference" ] || fail "the parameters are $(digest), uninterrupted $reference"
same_run "$folder/whole" "$killed"
