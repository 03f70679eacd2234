#!/usr/bin/env bash
# The study of replay budgets: distillation on the small setting, one epoch per task, with four limits on the teacher
# evaluations per task, spent in five ways: images made for each step; the same without sampling where the noise leaves
# little of an image; the teacher's sampler stopped on its way (trajectory_distillation); a pool of images made before the
# task; a pool that keeps the teacher's answers. And fine-tuning, which spends none. Two seeds each, evaluated after each
# task, and one report, whose picture "cost" is the result. Run it from the top folder of gendistill:
#
#   jobs/studies/replay_budget/run.sh [--set key=value]...
#   sbatch --ntasks=2 --time=04:00:00 jobs/studies/replay_budget/run.sh
#
# An interrupted study goes on where it was. On one machine SEEDS=42 RANKS=1 and SEEDS=69 RANKS=1 can go on side by side;
# WAYS and LIMITS, like SEEDS, name some of the runs.
# The runs are in runs/replay_budget/<way>-<limit>-seed<seed>, the report with its tables and pictures in
# runs/replay_budget/report.
#SBATCH --job-name=gendistill-replay-budget
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

. jobs/studies/launch.sh

# keys WAY: sets $sets
keys() {
  sets=(--set training.epochs=1 --set evaluation.samples=2000 --set solver.epochs=2 --set output.keep=1)
  case $1 in
    online) ;;
    skip_snr) sets+=(--set replay.skip_snr=0.01) ;;
    trajectory) sets+=(--set strategy.name=trajectory_distillation) ;;
    pool) sets+=(--set replay.source=pool --set replay.pool_images=12000) ;;
    kept_targets) sets+=(--set replay.source=pool --set replay.pool_images=12000 --set replay.pool_targets=true) ;;
    finetune) sets+=(--set strategy.name=finetune) ;;
  esac
}

runs=()
# one WAY LIMIT SEED ARGUMENT...: a run, evaluated
one() {
  local way=$1 limit=$2 seed=$3 run=runs/replay_budget/$1-$2-seed$3
  shift 3
  runs+=("$run")
  keys "$way"
  if ! grep -q '"event": "evaluation".*"tasks_seen": 5' "$run/metrics.jsonl" 2>/dev/null; then
    launch train configs/small/generative_distillation.yaml --resume "${sets[@]}" --set "seed=$seed" \
      --set "replay.limit_evaluations=$limit" --set "output.directory=$run" "$@"
    launch evaluate "$run"
  fi
}

for seed in ${SEEDS:-42 69}; do
  for limit in ${LIMITS:-5000 15000 45000 132000}; do # a task has 375 steps of 32 replay images: 132000 is all that they spend online
    for way in ${WAYS:-online skip_snr trajectory pool kept_targets}; do one "$way" "$limit" "$seed" "$@"; done
  done
  [ -n "${WAYS:-}" ] || one finetune 0 "$seed" "$@"
done
"$program" report "${runs[@]}" --output runs/replay_budget/report
