#!/usr/bin/env bash
# Replay from pools of various sizes, in runs/replay_budget-<name of CONFIG>; see jobs/sweep.sh:
#
#   jobs/replay_budget.sh CONFIG [KEY=V1,V2,...]... [-- SBATCH_OPTION...]
#
# Further keys may be added; replay.pool_images=... replaces the values here. To limit images that are made for each step
# instead: replay.source=online replay.pool_images=1 replay.limit_evaluations=100000,1000000
set -eu
config=${1:-CONFIG}
exec "$(dirname "$0")/sweep.sh" "replay_budget-$(basename "$config" .yaml)" "$config" \
  replay.source=pool replay.pool_images=100,1000,10000,60000 "${@:2}"
