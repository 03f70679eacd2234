#!/usr/bin/env bash
# The study of what the teacher predicts: generative replay and generative distillation on the small setting, one epoch of
# 6000 images per task, with 2 and with 10 teacher evaluations per image, for networks that predict the noise, the velocity
# of the diffusion, and that of flow matching. Two seeds each, evaluated after each task, and one report. Run it from the
# top folder of gendistill:
#
#   jobs/studies/replay_objectives/run.sh [--set key=value]...
#   sbatch --ntasks=2 --time=04:00:00 jobs/studies/replay_objectives/run.sh
#
# An interrupted study goes on where it was. On one machine SEEDS=42 RANKS=1 and SEEDS=69 RANKS=1 can go on side by side,
# and then both. The runs are in runs/replay_objectives/<strategy>-<objective>-<n>-seed<seed>,
# the report with its tables and pictures in runs/replay_objectives/report, distances and a picture of them in
# runs/replay_objectives/results.csv and replay_objectives.png.
#SBATCH --job-name=gendistill-replay-objectives
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

. jobs/studies/launch.sh

runs=()
for seed in ${SEEDS:-42 69}; do
  for strategy in generative_replay generative_distillation; do
    for objective in epsilon v flow; do
      sets=(--set dataset.limit=6000 --set training.epochs=1 --set evaluation.samples=1000 --set solver.epochs=0 --set output.keep=1)
      case $objective in
        flow) sets+=(--set diffusion.path=flow) ;;
        *) sets+=(--set diffusion.path=diffusion --set "diffusion.prediction=$objective") ;;
      esac
      for n in 2 10; do
        run=runs/replay_objectives/$strategy-$objective-$n-seed$seed
        runs+=("$run")
        launch train "configs/small/$strategy.yaml" --resume --set "seed=$seed" --set "replay.steps=$n" "${sets[@]}" \
          --set "output.directory=$run" "$@"
        [ "$(grep -c '"event": "evaluation"' "$run/metrics.jsonl")" -eq 5 ] || launch evaluate "$run"
      done
    done
  done
done
"$program" report "${runs[@]}" --output runs/replay_objectives/report
[ -z "${SEEDS:-}" ] || exit 0

distances() { # RUN: the distance after each task
  grep '"event": "evaluation"' "$1/metrics.jsonl" | sed 's/, "real": .*//; s/.*"frechet_resnet18": \([0-9.e+-]*\).*/\1/'
}

table=runs/replay_objectives/results.csv
echo strategy,objective,evaluations,task,frechet_resnet18_seed42,frechet_resnet18_seed69 >$table
for run in "${runs[@]}"; do
  case $run in *-seed42) ;; *) continue ;; esac
  name=${run##*/}
  name=${name%-seed42}
  paste -d , <(distances "$run") <(distances "${run%42}69") | awk -v "name=${name//-/,}" '{ print name "," NR "," $0 }' >>$table
done
cp jobs/studies/replay_objectives/replay_objectives.gp runs/replay_objectives/
(cd runs/replay_objectives && LC_ALL=C.UTF-8 gnuplot replay_objectives.gp)
echo $table runs/replay_objectives/replay_objectives.png
