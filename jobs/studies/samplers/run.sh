#!/usr/bin/env bash
# The study of samplers: the Fréchet distance of images against network evaluations, for every sampler and the models of
# the study of training that SETTING names, two seeds each. Run it from the top folder of gendistill, after
# jobs/studies/training/run.sh:
#
#   jobs/studies/samplers/run.sh [SETTING]      SETTING: cosine-ema if not given
#
# An interrupted study goes on where it was. The table is runs/samplers/results.csv, the picture runs/samplers/samplers.png.
#SBATCH --job-name=gendistill-samplers
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

. jobs/studies/launch.sh
setting=${1:-cosine-ema}
work=runs/samplers
mkdir -p $work

# measure OBJECTIVE SAMPLER STEPS SEED
measure() {
  local run=runs/training/$1-$setting-seed$4 json=$work/$1-$2-$3-seed$4.json images=$work/images.h5 checkpoint
  checkpoint=$(find "$run/checkpoints" -name 'checkpoint-task01-*.h5' | sort | tail -n 1)
  if [ ! -s "$json" ]; then
    launch sample --checkpoint "$checkpoint" --count 2000 --sampler "$2" --steps "$3" --output $images >&2
    launch evaluate $images --config "$run/config.resolved.yaml" >"$json.new"
    mv "$json.new" "$json"
  fi
  distance "$json"
}

# steps SAMPLER EVALUATIONS: so many steps that the evaluations are at most these
steps() {
  case $1 in
    heun) echo $((($2 + 1) / 2)) ;;
    midpoint) echo $(($2 / 2)) ;;
    *) echo "$2" ;;
  esac
}

evaluations() { # SAMPLER STEPS
  case $1 in
    heun) echo $((2 * $2 - 1)) ;;
    midpoint) echo $((2 * $2)) ;;
    *) echo "$2" ;;
  esac
}

rows=$(
  for objective in epsilon v flow; do
    samplers="ddim dpmpp_2m unipc heun"
    [ $objective != flow ] || samplers="euler midpoint heun"
    for sampler in $samplers; do
      for n in 2 4 6 8 10 20 50; do
        count=$(steps "$sampler" "$n")
        a=$(measure "$objective" "$sampler" "$count" 42) b=$(measure "$objective" "$sampler" "$count" 69)
        echo "$objective,$sampler,$count,$(evaluations "$sampler" "$count"),$a,$b"
      done
    done
  done
)
printf 'objective,sampler,steps,evaluations,frechet_resnet18_seed42,frechet_resnet18_seed69\n%s\n' "$rows" >$work/results.csv
cp jobs/studies/samplers/samplers.gp $work/
(cd $work && LC_ALL=C.UTF-8 gnuplot samplers.gp)
echo $work/results.csv $work/samplers.png
