#!/usr/bin/env bash
# run_digests.sh PROGRAM MAKE_FIXTURE: prints digests of the results of short runs, one line per run: every strategy,
# online replay and pools, both precisions, both reductions, with and without EMA, on one and two ranks. To check that a
# change does not alter what a run computes, run it before and after on one machine:
#
#   tests/run_digests.sh OLD/gendistill OLD/tests/make_fixture >before
#   tests/run_digests.sh NEW/gendistill NEW/tests/make_fixture >after
#   cmp before after
#
# Each line has the settings and the digests of the parameters, the losses in metrics.jsonl, and the last sample set.
set -eu
# shellcheck source=app/support.sh
. "$(dirname "$0")/app/support.sh"

write_config "$folder/run.yaml"

losses() {
  sed -n 's/.*"event": "step".*\("global_step".*"gradient_norm": [^,]*\).*/\1/p' "$folder/run/metrics.jsonl" | cksum | cut -d ' ' -f 1
}

images() {
  local sets=("$folder"/run/samples/*.h5)
  h5dump -d /images -y -w 0 "${sets[-1]}" | sed 1d | cksum | cut -d ' ' -f 1
}

one() { # RANKS KEY=VALUE...
  local ranks=$1 sets=() set
  shift
  for set in "$@"; do sets+=(--set "$set"); done
  rm -rf "$folder/run"
  succeeds "$ranks" train "$folder/run.yaml" --set training.epochs=1 --set evaluation.samples=20 "${sets[@]}"
  echo "ranks=$ranks $* $(digest) $(losses) $(images)"
}

for strategy in finetune joint cumulative lwf gaussian generative_replay generative_distillation; do
  sources=(online)
  batch=6
  case $strategy in
    generative_*) sources+=(pool) ;;
    lwf) batch=0 ;; # it uses the current batch
  esac
  for source in "${sources[@]}"; do
    for precision in float32 bfloat16; do
      for reduction in tree fast; do
        for ema in 0 0.9; do
          for ranks in 1 2; do
            one $ranks "strategy.name=$strategy" "replay.batch=$batch" "replay.source=$source" replay.pool_images=40 \
              "training.precision=$precision" "training.reduction=$reduction" "training.ema_decay=$ema"
          done
        done
      done
    done
  done
done
