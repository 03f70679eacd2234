#!/usr/bin/env bash
# Files that an earlier version of the program wrote (old_run, made by old_run/make.sh): they are read, sampled from,
# resumed from and reported on.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

"$fixture" idx "$folder/data" || fail "no data set"
here=("dataset.path=$folder/data" "evaluation.cache=$folder/cache")
sets=()
for set in "${here[@]}"; do sets+=(--set "$set"); done

# ---- Every file is whole
while read -r file; do
  succeeds 2 info "$file"
  grep -q '^checksums: all .* match$' "$folder/out" || fail "$file: not all checksums match"
done < <(find "$tests/app/old_run" -name '*.h5')

# ---- A checkpoint in the middle of a task, with teacher, averages and a pool
unfinished=$tests/app/old_run/unfinished
checkpoint=$(find "$unfinished/checkpoints" -name 'checkpoint-task02-*')
succeeds 1 sample --checkpoint "$checkpoint" --count 3 --output "$folder/three.h5"
for ranks in 1 2 3; do
  rm -rf "$folder/run"
  cp -R "$unfinished" "$folder/run"
  succeeds "$ranks" train "$folder/run/config.resolved.yaml" --resume "${sets[@]}" --set "output.directory=$folder/run"
  has "$folder/err" "resuming from $folder/run/checkpoints/checkpoint-task02" "train --resume"
  [ "${first:=$(digest)}" = "$(digest)" ] || fail "on $ranks ranks the old run goes on with other bits"
  [ -s "$folder/run/samples/samples-task03.h5" ] || fail "the old run is not finished"
done

# ---- A finished run: its table and pictures, and its metrics again
finished=$tests/app/old_run/finished
succeeds 1 report "$finished" --output "$folder/report"
grep -q '^| generative_replay |' "$folder/report/report.md" || fail "no row for the old run in report.md"
cp -R "$finished" "$folder/finished"
succeeds 2 evaluate "$folder/finished" "${sets[@]}"
[ "$(grep -c '"event": "evaluation"' "$folder/finished/metrics.jsonl")" -eq 2 ] || fail "not one evaluation per task"
