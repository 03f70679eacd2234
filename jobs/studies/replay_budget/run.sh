#!/usr/bin/env bash
# The study of replay budgets: generative distillation on the small setting with four limits on the teacher evaluations
# per task, spent on images made for each step or on a pool of images made before the task; and fine-tuning, which spends
# none. Two seeds each, evaluated after each task, and one report, whose picture "cost" is the result. Run it from the top
# folder of gendistill:
#
#   jobs/studies/replay_budget/run.sh [--set key=value]...
#   sbatch --ntasks=2 --time=01:30:00 jobs/studies/replay_budget/run.sh
#
# An interrupted study goes on where it was. The runs are in runs/replay_budget/<source>-<limit>-seed<seed>, the report
# with its tables and pictures in runs/replay_budget/report.
#SBATCH --job-name=gendistill-replay-budget
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

. jobs/studies/launch.sh

runs=()
# measured_run NAME SEED CONFIG ARGUMENT...
measured_run() {
  local run=runs/replay_budget/$1-seed$2 seed=$2 config=$3
  shift 3
  runs+=("$run")
  launch train "$config" --resume --set "seed=$seed" --set evaluation.samples=2000 --set evaluation.steps=10 \
    --set solver.epochs=0 --set output.keep=1 --set "output.directory=$run" "$@"
  launch evaluate "$run"
}

for seed in 42 69; do
  for limit in 600 2400 7200 21600; do # a task has 300 steps; 21600 is what they spend without a limit
    for source in online pool; do
      measured_run "$source-$limit" "$seed" configs/small/generative_distillation.yaml \
        --set "replay.source=$source" --set "replay.limit_evaluations=$limit" "$@"
    done
  done
  measured_run finetune "$seed" configs/small/finetune.yaml "$@"
done
"$program" report "${runs[@]}" --output runs/replay_budget/report
