# Read by the job scripts, from the top folder of gendistill:
#
#   launch COMMAND [ARGUMENT ...]   `gendistill COMMAND ...` on all ranks of the job; status is gendistill's
#   requeue_or_exit STATUS          ends the job script; the job runs again if it has stopped early or was killed
#
# The number of ranks is that of the job's tasks, OMP_NUM_THREADS that of --cpus-per-task. From the environment:
#
#   GENDISTILL            another program than build/release/gendistill
#   LAUNCHER              srun (default; Slurm with PMIx) or mpirun; `scancel --signal` needs --batch then
#   LAUNCH_OPTIONS        options for it instead of those below, which bind each rank to its own cores
#   GENDISTILL_RESTARTS   maximum number of restarts of a job whose ranks were killed (3)
# shellcheck shell=bash

. jobs/slurm.sh
program=${GENDISTILL:-build/release/gendistill}
launcher=${LAUNCHER:-srun}
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
ranks=${SLURM_NTASKS:-${SLURM_JOB_NUM_NODES:-1}}

# The job as squeue and scontrol know it: an array's job id alone would mean all of its tasks.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-${SLURM_JOB_ID:?no Slurm job: submit the script with sbatch}}

# End of the job: Slurm 22.05 does not set this, and a job submitted within another one would inherit that one's.
job_end=$(slurm squeue --noheader --jobs="$job" --Format=EndTime 2>/dev/null) || job_end=
job_end=${job_end//[[:space:]]/}
if [[ $job_end =~ ^[0-9]+$ ]]; then
  export SLURM_JOB_END_TIME=$job_end
else
  unset SLURM_JOB_END_TIME
  echo "job $job: warning: squeue does not tell when the job ends ('$job_end'): it will not stop before its time limit" >&2
fi

launch() {
  local command options name
  case $launcher in
    srun)
      # OMP_PROC_BIND would put the ranks of a node on the same cores if Slurm binds nothing. Since Slurm 22.05 srun
      # must be given --cpus-per-task again. When a rank ends by itself, the others have 10 seconds to end too: if they
      # were ended at once, ranks that stop early could not finish.
      options=--cpu-bind=cores
      command=(srun --mpi=pmix --cpus-per-task="$OMP_NUM_THREADS" --kill-on-bad-exit=0 --wait=10)
      ;;
    mpirun)
      options="--map-by slot:PE=$OMP_NUM_THREADS --bind-to core"
      command=(mpirun -n "$ranks")
      # ranks on other nodes get only what is named
      for name in $(compgen -e | grep -E '^(OMP_|DNNL_|ONEDNN_|HDF5_|LD_LIBRARY_PATH$|SLURM_JOB_END_TIME$)'); do
        command+=(-x "$name")
      done
      ;;
    *)
      echo "job: LAUNCHER is '$launcher': must be srun or mpirun" >&2
      return 2
      ;;
  esac
  read -ra options <<<"${LAUNCH_OPTIONS-$options}"
  echo "job $job: $ranks ranks of $OMP_NUM_THREADS threads on ${SLURM_JOB_NUM_NODES:-1} nodes, by $launcher: $*"
  run_with_signals "${command[@]}" "${options[@]}" "$program" "$@"
}

# Passes TERM and USR1 on, both as USR1: at TERM srun and mpirun would kill the ranks.
run_with_signals() {
  local pid signalled=yes status
  "$@" &
  pid=$!
  trap 'signalled=yes; kill -USR1 "$pid" 2>/dev/null' TERM USR1
  while [ -n "$signalled" ]; do # a signal ends wait before the program has ended
    signalled=
    status=0
    wait "$pid" || status=$?
  done
  trap - TERM USR1
  return "$status"
}

requeue_or_exit() {
  local status=$1 restarts=${SLURM_RESTART_COUNT:-0} most=${GENDISTILL_RESTARTS:-3} state limit
  if [ "$status" -eq 75 ]; then
    echo "job $job: stopped early with a checkpoint"
  elif [ "$status" -eq 152 ] || [ "$status" -eq 153 ]; then # SIGXCPU, SIGXFSZ: it would only happen again
    [ "$status" -eq 152 ] && limit="CPU time (ulimit -t)" || limit="a file's size (ulimit -f)"
    echo "job $job: ranks were ended by the limit of $limit ($launcher: $status); not requeued"
    exit "$status"
  elif [ "$status" -gt 128 ]; then
    echo "job $job: ranks were killed, see above ($launcher: $status); restarts so far $restarts, at most $most"
    [ "$restarts" -lt "$most" ] || exit "$status"
  else
    exit "$status"
  fi
  trap '' TERM # requeueing ends this script, but not before it has said so
  # a job that is being cancelled stays so
  state=$(slurm squeue --noheader --jobs="$job" --Format=State 2>/dev/null) || state=
  if [ "${state//[[:space:]]/}" = RUNNING ] && slurm scontrol requeue "$job"; then
    echo "job $job: requeued, to go on with its newest checkpoint"
  else
    echo "job $job: not requeued; submit the same command with --resume to go on"
  fi
  exit "$status"
}
