#!/usr/bin/env bash
# Any rank stopped by SIGSTOP, and a file that never responds: the watchdog ends the job and names rank, MPI function
# and step. If the rank or the job continues before the time-out, the watchdog does nothing.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"

# begin RANKS ARGUMENT...: starts a long run in the background.
begin() {
  local ranks=$1
  shift
  rm -rf "$folder/run"
  start "$ranks" train "$folder/run.yaml" "$@" || fail "the ranks do not start"
}

# ended_by_watchdog WHAT: the watchdog ends the program in the background with one message.
ended_by_watchdog() {
  status=0
  wait_until 60 gone "$mpirun" || fail "$1: the job does not end"
  wait "$mpirun" || status=$?
  [ "$status" -eq 134 ] || fail "$1: exit status $status instead of 134"
  [ "$(grep -c 'error: the job has stalled' "$folder/err")" -eq 1 ] || fail "$1: not one message of the watchdog"
  message=$(grep -a 'error: the job has stalled' "$folder/err")
  echo "$1: $message"
}

# names PATTERN: the message contains it.
names() {
  grep -Eq -- "$1" <<<"$message" || fail "no '$1' in: $message"
}

for case in $(normally "2,0 3,2 4,0" "2,0 2,1"); do
  IFS=, read -r ranks stopped <<<"$case"
  begin "$ranks" --set training.epochs=100000 --set comm.timeout_seconds=3
  wait_until 100 lines_reached "$folder/run/metrics.jsonl" 5 || fail "no 5 steps in 100 seconds"
  sleep 1 # longer than the interval of the watchdog's messages
  # ranks write their process ids in any order
  for pid in "${pids[@]}"; do
    if grep -qzE "^(OMPI_COMM_WORLD|PMI)_RANK=$stopped\$" "/proc/$pid/environ"; then break; fi
  done
  kill -STOP "$pid"
  ended_by_watchdog "rank $stopped of $ranks stopped"
  names "; rank $stopped has not answered for [0-9]+ s, last seen .*training step"
  names "; rank [0-9, ]+: in MPI_[A-Za-z_]+, (training step|checkpoint), task 1 step [0-9]+"
  for pid in "${pids[@]}"; do wait_until 20 gone "$pid" || fail "process $pid was left behind"; done
done

# ---- Stopped for a while, one rank and then all of them.
succeeds 2 train "$folder/run.yaml" --set training.epochs=20 --set "output.directory=$folder/whole"
reference=$(digest)
begin 2 --set training.epochs=20 --set comm.timeout_seconds=20
wait_until 100 lines_reached "$folder/run/metrics.jsonl" 5 || fail "no 5 steps in 100 seconds"
kill -STOP "${pids[1]}"
sleep 1
kill -STOP "${pids[0]}"
sleep 1
kill -CONT "${pids[@]}"
status=0
wait_until 100 gone "$mpirun" || fail "the run does not continue"
wait "$mpirun" || status=$?
[ "$status" -eq 0 ] || fail "exit status $status instead of 0 after a pause"
[ "$(digest)" = "$reference" ] || fail "after a pause the parameters differ"

# ---- A file that does not respond: rank 0 opens it, the others wait.
mkdir "$folder/stuck"
mkfifo "$folder/stuck/metrics.jsonl"
begin 3 --set "output.directory=$folder/stuck" --set comm.timeout_seconds=2
ended_by_watchdog "a file that does not respond"
names "; rank 0: looking for an earlier run"
names "; rank 1, 2: in MPI_[A-Za-z]+, looking for an earlier run"
