#!/usr/bin/env bash
# The study of throughput: bench of the paper's Fashion-MNIST network, 64 images per rank, in both precisions, with both
# reductions, as one rank of all cores and as one rank per core; and the profile of the first. Run it on a quiet machine,
# from the top folder of gendistill:
#
#   jobs/studies/throughput/run.sh [CORES]
#
# Writes one JSON file per bench, named PRECISION-REDUCTION-RANKSxTHREADS, and the tables of --profile, to
# runs/throughput. GENDISTILL names another program than build/release/gendistill; PRECISIONS="float32" leaves out
# bfloat16, for CPUs that lack it.
set -eu
export LC_ALL=C

cores=${1:-$(nproc)}
# shellcheck source-path=SCRIPTDIR source=../../program.sh
. jobs/program.sh
results=runs/throughput
mkdir -p "$results"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# bench NAME PRECISION REDUCTION RANKS ARGUMENT...
bench() {
  local name=$1 precision=$2 reduction=$3 ranks=$4
  shift 4
  OMP_NUM_THREADS=$((cores / ranks)) mpirun --bind-to none -n "$ranks" "${gendistill[@]}" bench \
    configs/fashion_mnist_paper.yaml --set "training.batch_size=$((64 * ranks))" --set "training.precision=$precision" \
    --set "training.reduction=$reduction" --directory "$results" "$@" >"$results/$name.json" 2>"$results/$name.txt"
  echo "$name: $(sed -n 's/ *"gd_step_images_per_second": \(.*\),/\1/p' "$results/$name.json") images/s"
}

for precision in ${PRECISIONS:-float32 bfloat16}; do
  for reduction in fast tree; do
    bench "$precision-$reduction-1x$cores" "$precision" "$reduction" 1 --profile
    bench "$precision-$reduction-${cores}x1" "$precision" "$reduction" "$cores"
  done
done
