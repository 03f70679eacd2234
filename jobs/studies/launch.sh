# Read by the scripts of the studies, from the top folder: $program, and `launch COMMAND [ARGUMENT ...]` to run it on the
# ranks of the job that they are in, or else on two ranks of one thread. GENDISTILL names another program than
# build/release/gendistill.
# shellcheck shell=bash
if [ -n "${SLURM_JOB_ID:-}" ]; then
  # shellcheck source=../launch.sh
  . jobs/launch.sh
else
  program=${GENDISTILL:-build/release/gendistill}
  launch() { tests/mpirun.sh 2 "$program" "$@"; }
fi
