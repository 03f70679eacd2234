#!/usr/bin/env bash
# The study of training: joint training with constant and falling learning rates, with and without averaged parameters,
# with three objectives, two seeds each; with the best of them also min-SNR weights for epsilon. Every model is measured
# with images of 10 and of 50 network evaluations. Run it from the top folder of gendistill:
#
#   jobs/studies/training/run.sh [--set key=value]...
#   sbatch --ntasks=2 --time=04:00:00 jobs/studies/training/run.sh
#
# An interrupted study goes on where it was. The runs are in runs/training/<objective>-<schedule>-<raw|ema>-seed<seed>,
# the table is runs/training/results.csv, the picture runs/training/training.png.
#SBATCH --job-name=gendistill-training
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

. jobs/studies/launch.sh

# measure RUN EVALUATIONS: prints the Fréchet distance of images of the finished run.
measure() {
  local run=$1 json=$1/evaluation-$2.json checkpoint
  checkpoint=$(find "$run/checkpoints" -name 'checkpoint-task01-*.h5' | sort | tail -n 1)
  if [ ! -s "$json" ]; then
    launch sample --checkpoint "$checkpoint" --count 2000 --steps "$2" --output "$run/samples-$2.h5" >&2
    launch evaluate "$run/samples-$2.h5" --config "$run/config.resolved.yaml" >"$json.new"
    mv "$json.new" "$json"
  fi
  distance "$json"
}

table=runs/training/results.csv
mkdir -p runs/training
rows=$(
  for seed in 42 69; do
    for objective in epsilon v flow epsilon_min_snr; do
      for schedule in constant cosine; do
        for average in raw ema; do
          case $objective-$schedule-$average in
            epsilon_min_snr-cosine-ema) ;;
            epsilon_min_snr-*) continue ;;
          esac
          run=runs/training/$objective-$schedule-$average-seed$seed
          sets=(--set "training.schedule=$schedule")
          [ $average = raw ] || sets+=(--set training.ema_decay=0.999)
          case $objective in
            flow) sets+=(--set diffusion.path=flow) ;;
            epsilon_min_snr) sets+=(--set diffusion.loss_weight=min_snr) ;;
            *) sets+=(--set "diffusion.prediction=$objective") ;;
          esac
          launch train jobs/studies/training/joint.yaml --resume --set "seed=$seed" --set "output.directory=$run" \
            "${sets[@]}" "$@" >&2
          for n in 10 50; do echo "$objective,$schedule,$average,$seed,$n,$(measure "$run" $n)"; done
        done
      done
    done
  done
)
printf 'objective,schedule,parameters,seed,evaluations,frechet_resnet18\n%s\n' "$rows" >$table
cp jobs/studies/training/training.gp runs/training/
(cd runs/training && LC_ALL=C.UTF-8 gnuplot training.gp)
echo $table runs/training/training.png
