#!/usr/bin/env bash
# jobs/train.sbatch on two nodes of one rank each, started by srun with PMIx and by mpirun: the same bits as a run
# without Slurm. With mpirun, a signal to the batch script stops the run, and the requeued job continues it. A
# cancelled job is not requeued. The scripts work from any folder, find the program and take one of several words.
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

# ---- From another folder; the scripts find the program in a source tree and where they are installed
elsewhere() { # NAME JOBS PROGRAM
  tree "$2" "$3"
  mkdir -p "$folder/elsewhere"
  cd "$folder/elsewhere"
  GENDISTILL='' submit "$1" "${nodes[@]}" "../$2/train.sbatch" ../run.yaml --dry-run
  completes 60 "$job"
  cd "$folder"
  ranks_are_there 0 || fail "$1: not two ranks: $(cat "$RANKS")"
}
elsewhere source "a source/jobs" "a source/build/release/gendistill"
elsewhere installed "a prefix/share/gendistill/jobs" "a prefix/bin/gendistill"

# ---- A copy of the script; a program of several words; another MPI plugin
cp jobs/train.sbatch copy.sbatch
submit lost "${nodes[@]}" copy.sbatch run.yaml --dry-run
within 60 ended "$job" || fail "job $job does not end: $(state "$job")"
[ "$(state "$job") $(exit_code "$job")" = "FAILED 2" ] || fail "it ends as $(state "$job") $(exit_code "$job")"
logged lost "name the folder of the job scripts in GENDISTILL_JOBS" || fail "the log does not tell what to do"

export GENDISTILL="env RANKS=$folder/words $folder/recorded"
plugin=$(srun --mpi=list 2>&1 | grep -o 'pmix_v[0-9]*' | tail -n 1)
LAUNCH_MPI=$plugin GENDISTILL_JOBS=jobs submit copy "${nodes[@]}" copy.sbatch run.yaml --dry-run
completes 60 "$job"
[ "$(cat words "$RANKS" | wc -l) $(wc -l <words)" = "2 2" ] || fail "GENDISTILL='$GENDISTILL' was not taken as words"
LAUNCH_MPI=nosuch submit nosuch "${nodes[@]}" jobs/train.sbatch run.yaml --dry-run
within 60 ended "$job" || fail "job $job does not end: $(state "$job")"
[ "$(state "$job")" = FAILED ] || fail "an unknown MPI type: $(state "$job")"
logged nosuch "mpi/nosuch" || fail "LAUNCH_MPI has no effect"

# ---- Strong and weak scaling, with too few and too small steps for meaningful results
submit scaling "${nodes[@]}" jobs/scaling.sbatch --repeats 2 --steps 3 --images 8 run.yaml
completes 120 "$job"
[ "$(awk -F, 'NR > 1 && $6 > 0 && $8 > 0 && $9 > 0 {print $1 $2}' "runs/scaling-$job/summary.csv" | paste -s -d ' ')" = \
  "weak1 weak2 strong1 strong2" ] || fail "scaling has left: $(cat "runs/scaling-$job/summary.csv")"
[ "$(wc -l <"runs/scaling-$job/scaling.csv")" -eq 9 ] || fail "scaling has not done eight runs"
awk -F, 'NR > 1 && $2 == 1 && $5 != 1 {exit 1}' "runs/scaling-$job/summary.csv" || fail "the efficiency of one rank is not 1"
[ "$(wc -l <words)" -eq 14 ] || fail "scaling has not run GENDISTILL='$GENDISTILL'"
logged scaling "| weak | 2 | 16 |" || fail "scaling has printed no table"
[ -s "runs/scaling-$job/scaling.png" ] || fail "scaling has drawn no picture"
