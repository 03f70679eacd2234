#!/usr/bin/env bash
# bench: all numbers are there on any number of ranks, the work counted fits the strategy, and no file is left behind.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"

# number KEY: prints its value in the output.
number() {
  local value
  value=$(sed -n "s/^  \"$1\": \([0-9.e+-]*\),\{0,1\}$/\1/p" "$folder/out")
  [ -n "$value" ] || fail "bench gives no number for $1"
  echo "$value"
}

positive() {
  local key
  for key in "$@"; do
    number "$key" | awk '{ exit !($1 > 0) }' || fail "bench: $key is not positive"
  done
}

# only_json: stdout has exactly one JSON object, one value per line.
only_json() {
  local value='(\[|\{|\[\]|\{\}|\]|\}|null|"[^"]*"|-?[0-9][0-9.e+-]*)'
  [ "$(head -n 1 "$folder/out")" = "{" ] || fail "bench: stdout does not begin with an object"
  [ "$(grep -c '^}$' "$folder/out")" -eq 1 ] || fail "bench: not one object on stdout"
  [ "$(tail -n 1 "$folder/out")" = "}" ] || fail "bench: there is text after the object"
  if grep -vE "^ *(\"[a-z_]+\": )?$value,?$" "$folder/out"; then fail "bench: a line on stdout is not JSON"; fi
  [ "$(grep -c '[[{]$' "$folder/out")" -eq "$(grep -cE '^ *[]}],?$' "$folder/out")" ] || fail "bench: brackets do not match"
}

# ---- All numbers, and no files left.
for ranks in $(normally "1 2" 2); do
  succeeds "$ranks" bench "$folder/run.yaml" --repeats 1
  only_json
  [ ! -e "$folder/run" ] || fail "on $ranks ranks, bench leaves the folder that it made"
  for stage in forward ddim train_step gd_step; do
    positive "${stage}_images_per_second" "${stage}_gflops_per_second" "${stage}_share_of_matmul"
  done
  positive matmul_gflops_per_second memory_bytes_per_second visible_reduction_seconds optimiser_seconds \
    optimiser_bytes_per_second optimiser_share_of_memory checkpoint_seconds checkpoint_bytes \
    checkpoint_bytes_per_second plain_write_bytes_per_second checkpoint_share_of_plain_write peak_memory_bytes \
    parameters batch_size threads_per_rank repeats
  [ "$(number ranks)" -eq "$ranks" ] || fail "bench gives another number of ranks than $ranks"
  has "$folder/out" '"precision": "float32"' bench
  if [ "$ranks" -gt 1 ]; then
    positive reduction_seconds reduction_bytes_per_second
  else
    has "$folder/out" '"reduction_bytes_per_second": null' "bench on one rank, which reduces nothing"
  fi
  if grep -q '"profile"' "$folder/out"; then fail "bench profiles without being asked"; fi
  if grep -v "warn: node .*OpenMP threads" "$folder/err"; then fail "on $ranks ranks, bench writes to stderr"; fi
done

# A checkpoint has five arrays (parameters, teacher, m, v, EMA) and little more.
awk -v n="$(number parameters)" -v bytes="$(number checkpoint_bytes)" \
  'BEGIN { exit !(bytes > 5 * 4 * n && bytes < 5 * 4 * n + 500000) }' || fail "bench: wrong size of a checkpoint"

# ---- The work of a step, in forward passes per current image. A backward pass counts as two; there are 0.6 replay
# images per current image, except with lwf; the teacher samples in two steps.
work() { # STAGE: forward passes per image
  awk -v rate="$(number "$1_gflops_per_second")" -v images="$(number "$1_images_per_second")" \
    -v forward_rate="$(number forward_gflops_per_second)" -v forward_images="$(number forward_images_per_second)" \
    'BEGIN { printf "%.3f", rate / images / (forward_rate / forward_images) }'
}
for case in $(normally "finetune,0,3.000 generative_replay,6,6.000 generative_distillation,6,6.600 \
  generative_distillation,0,9.000 lwf,0,4.000 gaussian,6,5.400" generative_distillation,6,6.600); do
  IFS=, read -r strategy batch step <<<"$case"
  succeeds 1 bench "$folder/run.yaml" --repeats 1 --set "strategy.name=$strategy" --set "replay.batch=$batch"
  [ "$(work gd_step)" = "$step" ] || fail "$strategy: a GD step is $(work gd_step) forward passes per image, not $step"
  [ "$(work train_step)" = 3.000 ] || fail "$strategy: a training step is $(work train_step) forward passes per image"
  [ "$(work ddim)" = 10.000 ] || fail "$strategy: DDIM is $(work ddim) forward passes per image"
done

# ---- The profile: a table on stderr, the same in the object. An existing folder stays, with its content.
mkdir "$folder/there"
touch "$folder/there/file"
succeeds 2 bench "$folder/run.yaml" --repeats 2 --profile --directory "$folder/there" --set training.reduction=fast
only_json
[ "$(ls -A "$folder/there")" = file ] || fail "bench leaves files in --directory, or removes others"
for who in student teacher; do
  grep -q "^  *\"$who\": {" "$folder/out" || fail "no profile of the $who"
  grep -q "The $who's network" "$folder/err" || fail "no table of the $who"
done
[ "$(grep -c '"name": "mid_block.resnets.0.conv1"' "$folder/out")" -eq 2 ] || fail "a layer is missing in a profile"
[ "$(grep -cE '^mid_block.resnets.0.conv1 +convolution +4x4x16 +-> 4x4x16 .*[0-9]' "$folder/err")" -eq 2 ] ||
  fail "a layer is missing in a table"
grep -qE '^convolution +([0-9.]+ +){5}[0-9.]+$' "$folder/err" || fail "no line for the convolutions"
awk 'length > 140 { exit 1 }' "$folder/err" || fail "a table is wider than 140 columns"
succeeds 1 bench "$folder/run.yaml" --repeats 1 --profile --set strategy.name=finetune
if grep -q '"teacher"' "$folder/out"; then fail "a profile of a teacher although there is none"; fi

# a pool of replay images: takes no longer than a batch, whatever its size, and leaves no files
succeeds 2 bench "$folder/run.yaml" --repeats 1 --set replay.source=pool --set replay.pool_images=100000000
[ ! -e "$folder/run" ] || fail "a bench with a pool leaves its folder"

# ---- Refused.
refused 2 "--repeats: must be from 1 to 1000, is 0" 2 bench "$folder/run.yaml" --repeats 0
refused 2 "--directory: must name a folder" 1 bench "$folder/run.yaml" --directory=
refused 2 "--profile: takes no value" 1 bench "$folder/run.yaml" --profile=yes
refused 2 "bench: needs a configuration file" 2 bench
refused 2 "3 ranks, but training.slots is 2" 3 bench "$folder/run.yaml" --set training.slots=2
refused 1 "$folder/there/file" 2 bench "$folder/run.yaml" --directory "$folder/there/file"
[ ! -e "$folder/run" ] || fail "a refused bench leaves its folder"

# ---- A file system that refuses the checkpoint's size.
cat >"$folder/limited" <<END
#!/usr/bin/env bash
trap '' XFSZ
ulimit -f 600
exec "$program" "\$@"
END
chmod +x "$folder/limited"
program=$folder/limited
mkdir "$folder/run"
mpi_without_shared_memory refused 1 "cannot reserve disk space" 2 bench "$folder/run.yaml" --repeats 1
[ -z "$(ls -A "$folder/run")" ] || fail "a bench that failed leaves files"
[ ! -s "$folder/out" ] || fail "a bench that failed prints part of its result"
