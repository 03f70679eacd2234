#!/usr/bin/env bash
# kill -9 of one rank, started by srun and by mpirun: the job ends within 30 seconds, its log names the rank and the
# node, and the requeued job ends with the same bits as an uninterrupted run. A job whose ranks die each time is not
# requeued again.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
uninterrupted_of 10
nodes=(--nodes=2 --ntasks-per-node=1 --time=10)

# killed NAME: kills rank 1 during a task and follows the job to its end.
killed() {
  local name=$1 start
  submit "$name" "${nodes[@]}" jobs/train.sbatch run.yaml "${settings[@]}" --set "output.directory=$name" \
    --set output.checkpoint_steps=50
  within 30 ranks_are_there 0 || fail "$name does not start the ranks"
  has_checkpoint() { [ -n "$(find "$name/checkpoints" -name '*.h5' 2>/dev/null)" ]; }
  within 30 has_checkpoint || fail "no checkpoint"
  start=$SECONDS
  "$cluster" enter kill -9 "$(awk '$2 == 1 {print $1}' "$RANKS")"
  within 30 logged "$name" "job $job: requeued" || fail "30 seconds after kill -9 of a rank the job is not requeued"
  echo "$name: requeued $((SECONDS - start)) s after kill -9"
  [ -z "$(job_digest "$name")" ] || fail "the run was over before the rank was killed: this test proves nothing"
  completes 150 "$job"
  ranks_are_there 1 || fail "the ranks were not started twice: $(cat "$RANKS")"
  logged "$name" "resuming from $name/checkpoints/checkpoint-" || fail "the requeued job does not resume"
  [ "$(job_digest "$name")" = "$digest" ] ||
    fail "$name: after a kill the parameters are $(job_digest "$name"), uninterrupted $digest"
  steps_are_whole "$name"
}

killed srun
logged srun "n2: task 1: Killed" || fail "srun's log does not name the rank and the node"
export LAUNCHER=mpirun LAUNCH_OPTIONS="--bind-to none"
killed mpirun
logged mpirun "process rank 1 with PID" || fail "mpirun's log does not name the rank"
logged mpirun "on node n2 exited on signal 9" || fail "mpirun's log does not name the node"
unset LAUNCHER LAUNCH_OPTIONS

# ---- Not requeued again
cat >dies <<'END'
#!/bin/sh
kill -9 $$
END
chmod +x dies
export GENDISTILL="$folder/dies" GENDISTILL_RESTARTS=1
submit dies "${nodes[@]}" jobs/train.sbatch run.yaml
within 60 ended "$job" || fail "a job whose ranks die each time does not end"
[ "$(state "$job") $(exit_code "$job")" = "FAILED 137" ] || fail "it ends as $(state "$job") $(exit_code "$job")"
logged dies "requeued, to go on" || fail "it was not requeued once"
! logged dies "requeued, to go on" 2 || fail "it was requeued more than once"

# ---- A limit of the system, which would stop the requeued job again
cat >dies <<'END'
#!/bin/sh
kill -XFSZ $$
END
submit limit "${nodes[@]}" jobs/train.sbatch run.yaml
within 60 ended "$job" || fail "a job at a limit of the system does not end"
[ "$(state "$job") $(exit_code "$job")" = "FAILED 153" ] || fail "it ends as $(state "$job") $(exit_code "$job")"
logged limit "by the limit of a file's size (ulimit -f)" || fail "the log does not name the limit"
! logged limit "requeued, to go on" || fail "it was requeued"
