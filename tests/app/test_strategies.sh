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
h5ls "$folder/experience-1/checkpoints/checkpoint-task02-step000003.h5" >"$folder/arrays"
if grep -q teacher "$folder/arrays"; then fail "a checkpoint of experience replay holds a teacher"; fi
