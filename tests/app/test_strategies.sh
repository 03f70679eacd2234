#!/usr/bin/env bash
# Strategies that keep real images or parameters, in whole runs: the same bits on several numbers of ranks and after a
# resume, and what metrics and files say.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"
# shellcheck source=trials.sh
. "$tests/app/trials.sh"

write_config "$folder/run.yaml"
sed -i 's/, eta: 0.5//g' "$folder/run.yaml"

trial experience strategy.name=experience_replay replay.buffer_images=13 strategy.weighting=none
trial experience-distillation strategy.name=experience_distillation replay.buffer_images=5 replay.buffer_per=class \
  model.conditional=true

trial trajectory strategy.name=trajectory_distillation replay.steps=4 replay.sampler=dpmpp_2m replay.growing=true
trial partial strategy.name=partial_distillation replay.eta=0.5 model.conditional=true
trial skip replay.skip_snr=0.1 replay.eta=0.3
trial symmetry strategy.name=gaussian_symmetry diffusion.path=flow
trial kept replay.source=pool replay.pool_images=50 replay.pool_targets=true
trial refreshed replay.source=pool replay.pool_images=50 replay.pool_refresh=0.4 replay.pool_targets=true
trial refreshed-labels replay.source=pool replay.pool_images=50 replay.pool_refresh=0.9 model.conditional=true
trial balanced replay.source=pool replay.pool_images=50 replay.pool_balance=solver dataset.image_size=16 \
  evaluation.measures=true "evaluation.cache=$folder/cache" classifier.epochs=1 classifier.batch_size=16 \
  classifier.slots=2 solver.epochs=2 solver.batch_size=10
trial isolated strategy.name=isolated
trial ewc strategy.name=ewc strategy.fisher_images=11 strategy.regulariser_lambda=1000 model.dropout=0.1
trial ewc-tasks strategy.name=ewc strategy.fisher_images=11 strategy.regulariser_lambda=1000 strategy.fisher_terms=task
trial rank1 strategy.name=ewc_rank1 strategy.fisher_images=40 strategy.regulariser_lambda=1000 diffusion.path=flow
trial si strategy.name=si strategy.regulariser_lambda=1000
trial distillation-rank1 strategy.regulariser=ewc_rank1 strategy.fisher_images=11 strategy.regulariser_lambda=100
trial experience-ewc strategy.name=experience_replay replay.buffer_images=13 strategy.regulariser=ewc \
  strategy.fisher_images=11 strategy.fisher_gamma=0.5 model.conditional=true

# ---- Regularisers: the penalty from the second task on, gradients of single images at the end of all tasks but the last
penalties() { # NAME TASK: steps of the task with a penalty
  grep -c "\"event\": \"step\", \"task\": $2, .*\"loss_penalty\": [0-9]" "$folder/$1-1/metrics.jsonl" || true
}
for name in ewc ewc-tasks rank1 si distillation-rank1 experience-ewc; do
  [ "$(penalties $name 1)" = 0 ] || fail "$name: a penalty in the first task"
  [ "$(penalties $name 3)" -ge 5 ] || fail "$name: $(penalties $name 3) steps with a penalty in the third task"
done
gradients() { # NAME: their numbers
  sed -n 's/.*"event": "gradients", "task": \([0-9]*\),.*"gradients": \([0-9]*\),.*/\1:\2/p' "$folder/$1-1/metrics.jsonl" | tr '\n' ' '
}
[ "$(gradients ewc)" = "1:11 2:11 " ] || fail "ewc: gradients $(gradients ewc)"
[ "$(gradients rank1)" = "1:80 2:80 " ] || fail "rank1: gradients $(gradients rank1)"
[ -z "$(gradients si)" ] || fail "si: gradients $(gradients si)"

# ---- Memory: --dry-run counts what the last task has
checkpoint_nbytes() { # NAME KEY=VALUE...: of the dry run
  local sets=() setting
  for setting in "${@:2}"; do sets+=(--set "$setting"); done
  succeeds 1 train "$folder/run.yaml" --dry-run "${sets[@]}"
  sed -n 's/# bytes per checkpoint: //p' "$folder/out"
}
array=$(($(checkpoint_nbytes finetune strategy.name=finetune training.ema_decay=0) / 3)) # parameters and two moments
for counted in ewc:2 ewc_rank1:2 si:3 isolated:2 experience_replay:0 generative_distillation:1; do
  nbytes=$(checkpoint_nbytes "${counted%:*}" "strategy.name=${counted%:*}" training.ema_decay=0)
  [ "$nbytes" -eq $((array * (3 + ${counted#*:}))) ] || fail "${counted%:*}: $nbytes bytes, an array has $array"
done

memory() { # IMAGES: MiB of the dry run with a pool of so many 8 x 8 images
  succeeds 1 train "$folder/run.yaml" --dry-run --set replay.source=pool --set "replay.pool_images=$1"
  sed -n 's/# memory per rank: \([0-9]*\).*/\1/p' "$folder/out"
}
[ $(($(memory 1000000) - $(memory 1))) -ge 64 ] || fail "the dry run does not count the pool's images and their order"

# ---- isolated: image i of a set is of network i % 3, and a set can be made from the last checkpoint alone
last=$folder/isolated-1/checkpoints/checkpoint-task03-step000006.h5
succeeds 2 sample --checkpoint "$last" --count 20 --output "$folder/all.h5"
"$fixture" compare "$folder/all.h5" /images "$folder/isolated-1/samples/samples-task03.h5" /images 0 ||
  fail "sample makes other images than the run"
succeeds 1 sample --checkpoint "$last" --index 4 --output "$folder/one.h5" # of the second network
[ "$(image "$folder/one.h5" 0)" = "$(image "$folder/all.h5" 4)" ] || fail "image 4 alone is another"

# ---- Experience replay has no teacher; distillation on real images asks it for the targets
of_last_step() { # NAME KEY
  sed -n "s/.*\"event\": \"step\".*\"$2\": \([0-9]*\).*/\1/p" "$folder/$1/metrics.jsonl" | tail -n 1
}
[ "$(of_last_step experience-1 replay_images)" = 6 ] || fail "not six replay images"
[ "$(of_last_step experience-1 teacher_evaluations)" = 0 ] || fail "experience replay has asked a teacher"
[ "$(of_last_step experience-distillation-1 teacher_evaluations)" = 6 ] || fail "not one evaluation per replay image"
# strategy.weighting: the last step of the third task; lambda is 0.75
losses() { # NAME: loss, of the data, of the replay
  sed -n 's/.*"event": "step".*"loss": \([^,]*\), "loss_data": \([^,]*\), "loss_replay": \([^,]*\),.*/\1 \2 \3/p' \
    "$folder/$1/metrics.jsonl" | tail -n 1
}
near='function near(a, b) { return a - b < 1e-5 && b - a < 1e-5 }'
losses experience-1 | awk "$near { exit !(\$3 > 0 && near(\$1, \$2 + 0.75 * \$3)) }" || fail "weights of weighting none"
losses experience-distillation-1 | awk "$near { exit !(\$3 > 0 && near(\$1, \$2 / 3 + 0.5 * \$3)) }" ||
  fail "weights of weighting task"
# ---- Distillation at less cost: growing replay has twice the images in the third task
[ "$(of_last_step trajectory-1 replay_images)" = 12 ] || fail "not twelve replay images with replay.growing"
[ "$(of_last_step trajectory-1 teacher_evaluations)" = 38 ] || fail "trajectory: not 12 images of 26 steps in all"
[ "$(of_last_step partial-1 teacher_evaluations)" = 18 ] || fail "partial: not 6 images of 3 evaluations"
[ "$(of_last_step kept-1 teacher_evaluations)" = 0 ] || fail "a pool that keeps its targets has asked the teacher"
pools() { # NAME: the evaluations that its lines name
  sed -n 's/.*"event": "pool".*"teacher_evaluations": \([0-9]*\).*/\1/p' "$folder/$1-1/metrics.jsonl" | tr '\n' ' '
}
[ "$(pools kept)" = "150 150 " ] || fail "pools of $(pools kept) evaluations instead of 50 images of 3"
[ "$(pools refreshed)" = "150 210 150 210 " ] || fail "pools of $(pools refreshed) evaluations: not 20 images anew"
[ "$(pools balanced)" = "200 200 " ] || fail "pools of $(pools balanced) evaluations instead of 100 images of 2"
skipped=$(of_last_step skip-1 teacher_evaluations) # 6 targets, and 2 evaluations for each image that is sampled
case $skipped in 6 | 8 | 10 | 12 | 14 | 16) ;; *) fail "skip: $skipped evaluations" ;; esac
h5ls "$folder/experience-1/checkpoints/checkpoint-task02-step000003.h5" >"$folder/arrays"
if grep -q teacher "$folder/arrays"; then fail "a checkpoint of experience replay holds a teacher"; fi
