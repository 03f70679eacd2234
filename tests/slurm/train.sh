#!/usr/bin/env bash
# jobs/train.sbatch on two nodes of one rank each, started by srun with PMIx and by mpirun: the same bits as a run
# without Slurm. With mpirun, a signal to the batch script stops the run, and the requeued job continues it. A
# cancelled job is not requeued.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
uninterrupted_of 8
nodes=(--nodes=2 --ntasks-per-node=1 --time=10)

on_two_nodes() {
  [ "$(awk '{print $2, $3}' "$RANKS" | sort -u | paste -s -d ' ')" = "0 n1 1 n2" ] ||
    fail "the ranks are not 0 on n1 and 1 on n2: $(cat "$RANKS")"
}

# ---- srun
submit srun "${nodes[@]}" jobs/train.sbatch run.yaml "${settings[@]}" --set output.directory=srun
completes 100 "$job"
logged srun "2 ranks of 1 threads on 2 nodes, by srun" || fail "the log does not say how the job runs"
on_two_nodes
[ "$(job_digest srun)" = "$digest" ] || fail "by srun the parameters are $(job_digest srun), without Slurm $digest"

# ---- mpirun; the two nodes share their processors, so no binding
export LAUNCHER=mpirun LAUNCH_OPTIONS="--bind-to none"
submit mpirun "${nodes[@]}" jobs/train.sbatch run.yaml "${settings[@]}" --set output.directory=mpirun
within 30 ranks_are_there 0 || fail "mpirun does not start the ranks"
sleep 3
scancel --batch --signal=TERM "$job"
within 20 logged mpirun "job $job: requeued" || fail "after SIGTERM to the batch script the job is not requeued"
logged mpirun "stopped early (SIGUSR1)" || fail "SIGTERM to the batch script has not reached the ranks"
completes 100 "$job"
on_two_nodes
[ "$(job_digest mpirun)" = "$digest" ] ||
  fail "by mpirun the parameters are $(job_digest mpirun), without Slurm $digest"
steps_are_whole mpirun
unset LAUNCHER LAUNCH_OPTIONS

# ---- Cancelled
submit cancelled "${nodes[@]}" jobs/train.sbatch run.yaml "${settings[@]}" --set output.directory=cancelled
within 30 ranks_are_there 0 || fail "srun does not start the ranks"
sleep 2
scancel "$job"
within 30 logged cancelled "not requeued" || fail "the cancelled job does not end by itself"
within 30 ended "$job" || fail "job $job does not end: $(state "$job")"
[ "$(state "$job")" = CANCELLED ] || fail "the cancelled job is $(state "$job")"

# ---- Refused
submit refused "${nodes[@]}" jobs/train.sbatch run.yaml --set nosuch=1
within 30 ended "$job" || fail "job $job does not end: $(state "$job")"
[ "$(state "$job") $(exit_code "$job")" = "FAILED 2" ] ||
  fail "a wrong key ends the job as $(state "$job") $(exit_code "$job")"

# ---- Strong and weak scaling, with too few and too small steps for meaningful results
submit scaling "${nodes[@]}" jobs/scaling.sbatch --repeats 2 --steps 3 --images 8 run.yaml
completes 120 "$job"
[ "$(awk -F, 'NR > 1 && $6 > 0 && $8 > 0 && $9 > 0 {print $1 $2}' "runs/scaling-$job/summary.csv" | paste -s -d ' ')" = \
  "weak1 weak2 strong1 strong2" ] || fail "scaling has left: $(cat "runs/scaling-$job/summary.csv")"
[ "$(wc -l <"runs/scaling-$job/scaling.csv")" -eq 9 ] || fail "scaling has not done eight runs"
awk -F, 'NR > 1 && $2 == 1 && $5 != 1 {exit 1}' "runs/scaling-$job/summary.csv" || fail "the efficiency of one rank is not 1"
logged scaling "| weak | 2 | 16 |" || fail "scaling has printed no table"
[ -s "runs/scaling-$job/scaling.png" ] || fail "scaling has drawn no picture"
