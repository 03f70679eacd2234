#!/usr/bin/env bash
# The weight of the replay loss, for the strategy of CONFIG, in runs/lambda-<name of CONFIG>; see jobs/sweep.sh:
#
#   jobs/lambda.sh CONFIG [KEY=V1,V2,...]... [-- SBATCH_OPTION...]
#
# Further keys may be added; strategy.lambda=... replaces the values here, which are for generative_distillation.
# gaussian needs larger values (1 to 28), lwf smaller ones (0.1 to 1.75).
set -eu
config=${1:-CONFIG}
exec "$(dirname "$0")/sweep.sh" "lambda-$(basename "$config" .yaml)" "$config" \
  strategy.lambda=0.1,0.25,0.5,0.75,1,1.5,2,3 "${@:2}"
