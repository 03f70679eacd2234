#!/usr/bin/env bash
# The study of samplers: the Fréchet distance of images against network evaluations, for every sampler and the best model of
# each objective in the study of training, two seeds each. Run it from the top folder of gendistill, after
# jobs/studies/training/run.sh:
#
#   jobs/studies/samplers/run.sh
#
# An interrupted study goes on where it was. On one machine SEEDS=42 RANKS=1 and SEEDS=69 RANKS=1 can go on side by side, and
# then, for table and picture, without SEEDS. The table is runs/samplers/results.csv, the picture runs/samplers/samplers.png.
#SBATCH --job-name=gendistill-samplers
#SBATCH --output=%x-%j.log
set -eu
export LC_ALL=C

. jobs/studies/launch.sh
work=runs/samplers
mkdir -p $work

# model OBJECTIVE: the best one of the study of training
model() {
  case $1 in
    epsilon) echo epsilon_min_snr-cosine-ema ;;
    *) echo "$1-constant-ema" ;;
  esac
}

# measure OBJECTIVE SAMPLER STEPS SEED: makes the evaluation of these images, if it is not there.
measure() {
  local run json=$work/$1-$2-$3-seed$4.json images=$work/images-seed$4.h5 checkpoint
  run=runs/training/$(model "$1")-seed$4
  [ ! -s "$json" ] || return 0
  checkpoint=$(find "$run/checkpoints" -name 'checkpoint-task01-*.h5' | sort | tail -n 1)
  launch sample --checkpoint "$checkpoint" --count 2000 --sampler "$2" --steps "$3" --output "$images"
  launch evaluate "$images" --config "$run/config.resolved.yaml" >"$json.new"
  mv "$json.new" "$json"
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

# each FUNCTION: called with every objective, sampler and number of steps
each() {
  local objective sampler samplers n
  for objective in epsilon v flow; do
    samplers="ddim dpmpp_2m unipc heun"
    [ $objective != flow ] || samplers="euler midpoint heun"
    for sampler in $samplers; do
      for n in 2 4 6 8 10 20 50; do "$1" $objective "$sampler" "$(steps "$sampler" $n)"; done
    done
  done
}

measure_seeds() {
  local seed
  for seed in ${SEEDS:-42 69}; do measure "$1" "$2" "$3" "$seed"; done
}

row() {
  local name=$work/$1-$2-$3
  echo "$1,$2,$3,$(evaluations "$2" "$3"),$(distance "$name-seed42.json"),$(distance "$name-seed69.json")"
}

each measure_seeds
[ -z "${SEEDS:-}" ] || exit 0
rows=$(each row)
printf 'objective,sampler,steps,evaluations,frechet_resnet18_seed42,frechet_resnet18_seed69\n%s\n' "$rows" >$work/results.csv
cp jobs/studies/samplers/samplers.gp $work/
(cd $work && LC_ALL=C.UTF-8 gnuplot samplers.gp)
echo $work/results.csv $work/samplers.png
