#!/usr/bin/env bash
# The study of strategies: each family of continual learning on the small setting, one epoch per task, evaluated after each
# task. First `sweep`: three weights for each strategy that has one, on a seed of its own; then, with the weights that
# `weight` below names, three seeds of each strategy and one report. Run it from the top folder of gendistill, by itself
# (two ranks of one thread) or as a job:
#
#   jobs/studies/strategies/run.sh [sweep] [--set key=value]...
#   sbatch --ntasks=2 --time=04:00:00 jobs/studies/strategies/run.sh
#
# An interrupted study goes on where it was. On one machine SEEDS=42 RANKS=1 and SEEDS=69 RANKS=1 can go on side by side;
# NAMES="ewc si" runs these strategies alone. The runs are in runs/strategies/<strategy>-seed<seed> and
# runs/strategies_sweep/<strategy>-<weight>, the reports with tables and pictures in `report` there. GENDISTILL names
# another program than build/release/gendistill.
#SBATCH --job-name=gendistill-strategies
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

. jobs/studies/launch.sh

names=${NAMES:-cumulative joint isolated generative_distillation generative_replay trajectory_distillation lwf gaussian
  experience_replay-100 experience_replay-1000 ewc ewc_rank1 si generative_distillation+ewc_rank1 finetune}

# keys NAME: what makes the strategy; sets $sets
keys() {
  sets=(--set "strategy.name=${1%%[-+]*}" --set training.epochs=1 --set evaluation.samples=2000 --set solver.epochs=2
    --set output.keep=1)
  case $1 in
    *-*) sets+=(--set "replay.buffer_images=${1#*-}") ;;
    *+*) sets+=(--set "strategy.regulariser=${1#*+}") ;;
  esac
}

weight_key() { # NAME: the key of its weight; nothing: it has none
  case $1 in
    cumulative | joint | isolated | finetune) ;;
    *ewc* | si) echo strategy.regulariser_lambda ;;
    *) echo strategy.lambda ;;
  esac
}

sweep() { # NAME: weights to try
  case $1 in
    ewc | *ewc_rank1) echo 100 10000 1000000 ;;
    si) echo 1 100 10000 ;;
    gaussian | lwf) echo 1 4 16 ;;
    *) echo 0.5 1 2 ;;
  esac
}

weight() { # NAME: as the sweep has shown
  case $1 in
    gaussian) echo 8 ;;
    *) echo 1 ;;
  esac
}

# one RUN SEED ARGUMENT...: a run with $sets, evaluated
one() {
  local run=$1 seed=$2
  shift 2
  launch train configs/small/generative_distillation.yaml --resume "${sets[@]}" --set "seed=$seed" \
    --set "output.directory=$run" "$@"
  launch evaluate "$run"
}

# is_done RUN: whether its last task is evaluated
is_done() {
  grep -q '"event": "evaluation".*"tasks_seen": 5' "$1/metrics.jsonl" 2>/dev/null
}

runs=()
if [ "${1:-}" = sweep ]; then
  shift
  for name in $names; do
    key=$(weight_key "$name")
    [ -n "$key" ] || continue
    for value in $(sweep "$name"); do
      run=runs/strategies_sweep/$name-$value
      runs+=("$run")
      keys "$name"
      is_done "$run" || one "$run" 7 --set "$key=$value" "$@"
    done
  done
  "$program" report "${runs[@]}" --output runs/strategies_sweep/report
  exit
fi
for seed in ${SEEDS:-42 69 1714}; do
  for name in $names; do
    run=runs/strategies/$name-seed$seed
    runs+=("$run")
    keys "$name"
    key=$(weight_key "$name")
    [ -z "$key" ] || sets+=(--set "$key=$(weight "$name")")
    is_done "$run" || one "$run" "$seed" "$@"
  done
done
"$program" report "${runs[@]}" --output runs/strategies/report
