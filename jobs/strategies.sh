#!/usr/bin/env bash
# The strategies with three seeds each, in runs/strategies-<name of CONFIG>; see jobs/sweep.sh:
#
#   jobs/strategies.sh CONFIG [KEY=V1,V2,...]... [-- SBATCH_OPTION...]
#
# Further keys may be added; strategy.name=... and seed=... replace the values here. All have the lambda of CONFIG.
set -eu
config=${1:-CONFIG}
exec "$(dirname "$0")/sweep.sh" "strategies-$(basename "$config" .yaml)" "$config" \
  strategy.name=joint,cumulative,generative_distillation,generative_replay,lwf,gaussian,finetune \
  seed=42,69,1714 "${@:2}"
