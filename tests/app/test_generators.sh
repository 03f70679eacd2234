#!/usr/bin/env bash
# Objectives, flow matching, samplers, schedules of the learning rate, dropout and class-conditional networks in whole
# runs: on several numbers of ranks and after a resume the parameters and images have the same bits, one image of a set
# can be made alone, and files and metrics say how the images were made.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
sed -i 's/, eta: 0.5//' "$folder/run.yaml"
# shellcheck source=trials.sh
. "$tests/app/trials.sh"

trial v diffusion.prediction=v diffusion.loss_weight=min_snr training.schedule=cosine training.warmup=0.3 \
  training.weight_decay=0.1 replay.sampler=dpmpp_2m evaluation.sampler=unipc
trial flow diffusion.path=flow strategy.name=generative_replay evaluation.sampler=midpoint model.dropout=0.2 training.precision=bfloat16 \
  replay.source=pool replay.pool_images=50 replay.sampler=heun
trial coupled diffusion.path=flow replay.coupled=true strategy.name=generative_replay
trial coupled-pool diffusion.path=flow replay.coupled=true replay.source=pool replay.pool_images=50
trial x0 diffusion.prediction=x0 'replay.timesteps=[899, 499]' strategy.teacher=raw training.schedule=linear \
  evaluation.sampler=heun
trial conditional model.conditional=true replay.guidance=0.5 evaluation.guidance=1 training.label_dropout=0.3
trial conditional-pool model.conditional=true replay.source=pool replay.pool_images=50 training.reduction=tree
trial conditional-lwf model.conditional=true strategy.name=lwf replay.batch=0 diffusion.path=flow model.dropout=0.1
trial conditional-gaussian model.conditional=true strategy.name=gaussian diffusion.path=flow

# ---- What files and metrics say
set_file=samples/samples-task03.h5
says() { # NAME TEXT
  "$program" info "$folder/$1/$set_file" >"$folder/info"
  has "$folder/info" "$2" "info $1/$set_file"
}
says v-1 unipc
says flow-1 "evaluations"
"$fixture" compare "$folder/conditional-1/$set_file" /label "$folder/conditional-3/$set_file" /label 0 ||
  fail "the labels differ"
h5dump -d /label -y -w 0 "$folder/conditional-1/$set_file" >"$folder/labels"
has "$folder/labels" "0, 2, 4, 5, 7, 8, 0, 2, 4, 5, 7, 8, 0, 2" "the labels of conditional-1"
if h5dump -d /label "$folder/v-1/$set_file" >"$folder/labels" 2>&1; then fail "labels of a network without classes"; fi
evaluations() { # NAME: teacher evaluations of the last step
  sed -n 's/.*"event": "step".*"teacher_evaluations": \([0-9]*\).*/\1/p' "$folder/$1/metrics.jsonl" | tail -n 1
}
# six images: generated with 2 steps, and the target; twice with guidance
[ "$(evaluations v-1)" = 18 ] || fail "$(evaluations v-1) evaluations instead of 18"
[ "$(evaluations conditional-1)" = 30 ] || fail "$(evaluations conditional-1) evaluations instead of 30"

# 24 images a task in 20 bins, in two epochs
by_timestep v-1 >"$folder/bins"
[ "$(grep -c '' "$folder/bins")" -eq 6 ] || fail "not a line of errors by timestep for each of 6 epochs"
has "$folder/bins" '"task": 3, "epoch": 2, "global_step": 18, "steps": 3, "data": [' "metrics.jsonl"
images_of() { # HALF: images in all bins of the last line
  echo $(($(tail -n 1 "$folder/bins" | sed "s/.*\"$1_images\": \[\([^]]*\).*/\1/; s/, /+/g")))
}
[ "$(images_of data)" -ge 23 ] || fail "$(images_of data) images in the bins"
[ "$(images_of replay)" -eq 18 ] || fail "$(images_of replay) replay images in the bins"

# ---- One image of a set alone; other samplers
for name in v-1 flow-1 conditional-1; do
  checkpoint=$folder/$name/checkpoints/checkpoint-task03-step000006.h5
  succeeds 1 sample --checkpoint "$checkpoint" --index 17 --output "$folder/one.h5"
  [ "$(image "$folder/one.h5" 0)" = "$(image "$folder/$name/$set_file" 17)" ] || fail "$name: image 17 alone is another"
  h5dump -d /index "$folder/one.h5" >"$folder/index"
  has "$folder/index" "(0): 17" "/index of one image"
done
h5dump -d /label "$folder/one.h5" >"$folder/labels"
has "$folder/labels" "(0): 8" "the label of image 17"

checkpoint=$folder/v-1/checkpoints/checkpoint-task03-step000006.h5
for sampler in ddim ddpm dpmpp_2m unipc heun; do
  succeeds 2 sample --checkpoint "$checkpoint" --count 4 --sampler $sampler --output "$folder/$sampler.h5"
  succeeds 1 sample --checkpoint "$checkpoint" --count 4 --sampler $sampler --output "$folder/$sampler-1.h5"
  same_images "$folder/$sampler.h5" "$folder/$sampler-1.h5"
done
succeeds 1 sample --checkpoint "$checkpoint" --count 4 --sampler ddim --timesteps 899,499 --output "$folder/list.h5"
"$program" info "$folder/list.h5" >"$folder/info"
has "$folder/info" "899, 499" "info list.h5"
refused 2 "must be ddim, ddpm, dpmpp_2m, unipc or heun for diffusion.path diffusion" 1 sample --checkpoint "$checkpoint" \
  --count 4 --sampler euler --output "$folder/no.h5"
refused 2 "--label: the network of" 1 sample --checkpoint "$checkpoint" --count 4 --label 3 --output "$folder/no.h5"
refused 2 "needs model.conditional" 1 sample --checkpoint "$checkpoint" --count 4 --guidance 2 --output "$folder/no.h5"
refused 2 "--index makes one image" 1 sample --checkpoint "$checkpoint" --count 4 --index 2 --output "$folder/no.h5"
refused 2 "--index: must be from 0" 1 sample --checkpoint "$checkpoint" --index -1 --output "$folder/no.h5"

checkpoint=$folder/conditional-1/checkpoints/checkpoint-task03-step000006.h5
refused 2 "--label: must be from 0 to 9, is 10" 1 sample --checkpoint "$checkpoint" --count 4 --label 10 --output "$folder/no.h5"
succeeds 2 sample --checkpoint "$checkpoint" --count 4 --label 5 --guidance 2 --output "$folder/label.h5"
h5dump -d /label "$folder/label.h5" >"$folder/labels"
has "$folder/labels" "5, 5, 5, 5" "the labels that were asked for"
[ ! -e "$folder/no.h5" ] || fail "a refused command wrote a file"
