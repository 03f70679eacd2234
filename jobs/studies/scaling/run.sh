#!/usr/bin/env bash
# The study of scaling on one machine: the paper's Fashion-MNIST network, 64 images per step (per rank in weak scaling),
# ranks of one thread, in both precisions. Run it on a quiet machine, from the top folder of gendistill:
#
#   jobs/studies/scaling/run.sh [OPTION of tools/scaling]...
#
# The tables and pictures are in runs/scaling/<precision>.
set -eu
export LC_ALL=C

for precision in float32 bfloat16; do
  tools/scaling "$@" --output "runs/scaling/$precision" configs/fashion_mnist_paper.yaml \
    --set "training.precision=$precision"
done
