#!/usr/bin/env bash
# The study of precisions: generative distillation on the small setting in float32 and in bfloat16, three seeds each,
# evaluated after each task, and one report. Needs CPUs with AVX512_BF16 or AMX. Run it from the top folder of gendistill:
#
#   jobs/studies/precision/run.sh [--set key=value]...
#   sbatch --ntasks=2 --time=01:00:00 jobs/studies/precision/run.sh
#
# An interrupted study goes on where it was. The runs are in runs/precision/<precision>-seed<seed>, the report with its
# tables and pictures in runs/precision/report.
#SBATCH --job-name=gendistill-precision
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

. jobs/studies/launch.sh

runs=()
for seed in 42 69 1714; do
  for precision in float32 bfloat16; do
    run=runs/precision/$precision-seed$seed
    runs+=("$run")
    launch train configs/small/generative_distillation.yaml --resume --set "seed=$seed" \
      --set "training.precision=$precision" --set evaluation.samples=2000 --set evaluation.steps=10 \
      --set solver.epochs=5 --set output.keep=1 --set "output.directory=$run" "$@"
    launch evaluate "$run"
  done
done
"$program" report "${runs[@]}" --output runs/precision/report
