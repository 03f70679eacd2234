# Read by the scripts of the studies, from the top folder: $program; `launch COMMAND [ARGUMENT ...]` to run it on the ranks
# of the job that they are in, or else on two ranks of one thread, or RANKS; `distance FILE` for the Fréchet distance in the
# output of evaluate. GENDISTILL names another program than build/release/gendistill.
# shellcheck shell=bash disable=SC2034 # the studies read $program
if [ -n "${SLURM_JOB_ID:-}" ]; then
  # shellcheck source-path=SCRIPTDIR source=../launch.sh
  . jobs/launch.sh
else
  # shellcheck source-path=SCRIPTDIR source=../program.sh
  . jobs/program.sh
  launch() { tests/mpirun.sh "${RANKS:-2}" "${gendistill[@]}" "$@"; }
fi
program=one_rank # called as "$program" by the studies
one_rank() { "${gendistill[@]}" "$@"; }

distance() { # what is behind "real" are the numbers of real images
  sed -n 's/, "real": .*//; s/.*"frechet_resnet18": \([0-9.e+-]*\).*/\1/p' "$1"
}
