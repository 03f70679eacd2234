# Read by the studies' scripts, from the top folder: $program, and `launch ARGUMENTS` to run it on two ranks of one
# thread, or on a job's ranks. GENDISTILL names another program than build/release/gendistill.
# shellcheck shell=bash
program=${GENDISTILL:-build/release/gendistill}
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

launch() {
  if [ -n "${SLURM_JOB_ID:-}" ]; then
    srun --mpi=pmix --cpus-per-task="$OMP_NUM_THREADS" "$program" "$@"
  else
    tests/mpirun.sh 2 "$program" "$@"
  fi
}
