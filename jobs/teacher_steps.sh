#!/usr/bin/env bash
# The teacher's sampling steps for replay images, in runs/teacher_steps-<name of CONFIG>; see jobs/sweep.sh:
#
#   jobs/teacher_steps.sh CONFIG [KEY=V1,V2,...]... [-- SBATCH_OPTION...]
#
# Further keys may be added; replay.steps=... replaces the values here. The cost of a run grows with them.
set -eu
config=${1:-CONFIG}
exec "$(dirname "$0")/sweep.sh" "teacher_steps-$(basename "$config" .yaml)" "$config" replay.steps=2,10,100 "${@:2}"
