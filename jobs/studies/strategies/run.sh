#!/usr/bin/env bash
# The study of strategies: each strategy with each seed on the small setting, evaluated after each task, and one report.
# Run it from the top folder of gendistill, by itself (two ranks of one thread) or as a job:
#
#   jobs/studies/strategies/run.sh [--set key=value]...
#   sbatch --ntasks=2 --time=02:00:00 jobs/studies/strategies/run.sh
#
# An interrupted study goes on where it was. The runs are in runs/strategies/<strategy>-seed<seed>, the report with its
# tables and pictures in runs/strategies/report. GENDISTILL names another program than build/release/gendistill.
#SBATCH --job-name=gendistill-strategies
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

strategies="joint generative_distillation generative_replay lwf gaussian finetune"
seeds="42 69"
. jobs/studies/launch.sh

runs=()
for seed in $seeds; do
  for strategy in $strategies; do
    run=runs/strategies/$strategy-seed$seed
    runs+=("$run")
    launch train "configs/small/$strategy.yaml" --resume --set "seed=$seed" --set evaluation.samples=2000 \
      --set evaluation.steps=10 --set solver.epochs=5 --set output.keep=1 --set "output.directory=$run" "$@"
    launch evaluate "$run"
  done
done
"$program" report "${runs[@]}" --output runs/strategies/report
