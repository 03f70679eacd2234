#!/usr/bin/env bash
# A job that reaches its time limit during a task, and later gets SIGTERM by `scancel --signal=TERM`: each time it
# writes a checkpoint and is requeued; it ends with the same bits as an uninterrupted run.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
uninterrupted_of 50 # a job of one minute stops half a minute before its end

# the user's variables for the output of Slurm's commands must have no effect
SLURM_TIME_FORMAT='%d. %b %H:%M' SQUEUE_FORMAT='%i' SQUEUE_STATES=PENDING SQUEUE_PARTITION=none \
  submit stop --nodes=2 --ntasks-per-node=1 --time=1 \
  jobs/train.sbatch run.yaml "${settings[@]}" --set output.directory=stop
within 90 logged stop "job $job: requeued" || fail "the job is not requeued"
logged stop "stopped early (the time limit is near)" || fail "the time limit has not stopped the job"
[ -z "$(job_digest stop)" ] || fail "the run was over before the time limit: this test proves nothing"
n=$(wc -l <stop/metrics.jsonl)

within 60 ranks_are_there 1 || fail "the requeued job does not start"
within 30 logged stop "resuming from stop/checkpoints/checkpoint-" || fail "the requeued job does not resume"
goes_on() { [ "$(wc -l <stop/metrics.jsonl)" -ge $((n + 100)) ]; }
within 60 goes_on || fail "the requeued job does not continue"
scancel --signal=TERM "$job"
within 20 logged stop "job $job: requeued" 2 || fail "the job is not requeued after scancel --signal=TERM"
logged stop "stopped early (SIGTERM)" || fail "SIGTERM has not stopped the job"

completes 300 "$job"
ranks_are_there 2 || fail "the ranks were not started three times: $(cat "$RANKS")"
[ "$(job_digest stop)" = "$digest" ] ||
  fail "stopped and requeued, the parameters are $(job_digest stop), uninterrupted $digest"
steps_are_whole stop
