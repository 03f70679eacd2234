# Read by the job scripts:
#
#   launch COMMAND [ARGUMENT ...]   `gendistill COMMAND ...` on all ranks of the job; status is gendistill's
#   requeue_or_exit STATUS          ends the job script; the job runs again if it has stopped early or was killed
#
# The number of ranks is that of the job's tasks, OMP_NUM_THREADS that of --cpus-per-task. From the environment:
#
#   GENDISTILL            another program, of one word or several: program.sh
#   LAUNCHER              srun (default) or mpirun; `scancel --signal` needs --batch then
#   LAUNCH_MPI            srun's --mpi, one of `srun --mpi=list` (pmix)
#   LAUNCH_OPTIONS        options for it instead of those below, which bind each rank to its own cores
#   GENDISTILL_RESTARTS   maximum number of restarts of a job whose ranks were killed (3)
# shellcheck shell=bash

# shellcheck source-path=SCRIPTDIR source=slurm.sh
. "$(dirname "${BASH_SOURCE[0]}")/slurm.sh"
# shellcheck source-path=SCRIPTDIR source=program.sh
. "$(dirname "${BASH_SOURCE[0]}")/program.sh"
launcher=${LAUNCHER:-srun}
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
ranks=${SLURM_NTASKS:-${SLURM_JOB_NUM_NODES:-1}}

# The job as squeue and scontrol know it: an array's job id alone would mean all of its tasks.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-${SLURM_JOB_ID:?no Slurm job: submit the script with sbatch}}

log=/proc/$$/fd/2 # of the job: the file behind this script's stderr

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
  log_size=$(stat -Lc %s "$log")
  kills_before=$(memory_kills)
  case $launcher in
    srun)
      # OMP_PROC_BIND would put the ranks of a node on the same cores if Slurm binds nothing. Since Slurm 22.05 srun
      # must be given --cpus-per-task again. When a rank ends by itself, the others have 10 seconds to end too: if they
      # were ended at once, ranks that stop early could not finish.
      options=--cpu-bind=cores
      command=(srun --mpi="${LAUNCH_MPI:-pmix}" --cpus-per-task="$OMP_NUM_THREADS" --kill-on-bad-exit=0 --wait=10)
      ;;
    mpirun)
      options="--map-by slot:PE=$OMP_NUM_THREADS --bind-to core"
      command=(mpirun -n "$ranks")
      # Open MPI 5 (to 5.0.7 at least) writes parts of long lines of stdout to stderr if it makes whole lines of them
      ! command -v prterun >/dev/null || command+=(--output :raw)
      # otherwise what Slurm says of ranks that it has killed on other nodes would be lost
      export OMPI_MCA_orte_leave_session_attached=1 PRTE_MCA_prte_leave_session_attached=1
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
  run_with_signals "${command[@]}" "${options[@]}" "${gendistill[@]}" "$@"
}

# The processes of this script's control group that were killed for lack of memory: mpirun's ranks on this node.
memory_kills() {
  cat "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)/memory.events" \
    "/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/memory.oom_control" 2>/dev/null |
    sed -n 's/^oom_kill //p'
}

# Whether ranks were killed for lack of memory since log_size and kills_before were set. Slurm without accounting keeps
# no record of it, and srun's status may be 1, so what srun has written to the job's log must tell.
lacked_memory() {
  [ "$(memory_kills)" = "$kills_before" ] || return 0
  [ -f "$log" ] && tail -c "+$((log_size + 1))" "$log" |
    grep -qiE '(slurmstepd|srun)[^ ]*: error: .*(out of memory|oom.kill|exceeded .*memory limit)'
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
  elif [ "$status" -ne 0 ] && lacked_memory; then # so would they be again
    echo "job $job: ranks were killed for lack of memory ($launcher: $status); not requeued. Ask for more (--mem)," \
      "use fewer ranks per node, or raise training.slots; train CONFIG --dry-run tells the memory per rank"
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
