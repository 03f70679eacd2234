# Read by the job scripts:
#
#   slurm COMMAND [ARGUMENT ...]   a command of Slurm, independent of the user's variables for its output
#
# It runs without the variables that squeue reads (SQUEUE_FORMAT, SQUEUE_STATES, ...). Times are seconds since 1970.
# shellcheck shell=bash
export LC_ALL=C # numbers, order and classes of characters as the scripts expect them
slurm() {
  local name hidden=()
  for name in $(compgen -e | grep -E '^(SQUEUE_|SCONTROL_|SLURM_BITSTR_LEN$|SLURM_DEBUG|SLURM_JSON$|SLURM_YAML$)'); do
    hidden+=(--unset="$name")
  done
  env "${hidden[@]}" SLURM_TIME_FORMAT=%s "$@"
}
