# Read by the job scripts, the studies and tools/scaling: the array $gendistill, the program to run:
#
#   GENDISTILL                      its words are separated by blanks: "apptainer exec image.sif gendistill"
#   ../build/release/gendistill     in a source tree
#   ../../../bin/gendistill         where the scripts are installed, in share/gendistill/jobs
# shellcheck shell=bash disable=SC2034 # the others read $gendistill
find_gendistill() {
  local here program
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  for program in "$here/../build/release/gendistill" "$here/../../../bin/gendistill"; do
    [ ! -x "$program" ] || break
  done
  program=${GENDISTILL:-$program}
  gendistill=("$program")
  [ -x "$program" ] || read -ra gendistill <<<"$program"
  command -v "${gendistill[0]}" >/dev/null && return
  echo "no program ${GENDISTILL:-gendistill}: build it first, or name it in GENDISTILL" >&2
  exit 2
}
find_gendistill
