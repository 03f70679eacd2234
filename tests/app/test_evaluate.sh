#!/usr/bin/env bash
# Metrics after each task, from train and from evaluate: the same numbers on any number of ranks, also in metrics.jsonl;
# solvers and statistics are reused; sample sets and runs that cannot be evaluated are refused.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
# images large enough for the solver; little work; one cache for all runs
seed=9223372036854775809 # exceeds int64
settings=("seed=$seed" dataset.image_size=16 training.epochs=1 evaluation.measures=true "evaluation.cache=$folder/cache"
  "classifier.epochs=$(normally 3 1)" classifier.batch_size=16 classifier.slots=2 "solver.epochs=$(normally 2 1)" solver.batch_size=10)
for setting in "${settings[@]}"; do sets+=(--set "$setting"); done

# evaluations NAME: writes the run's evaluation lines to $folder/NAME.evaluations.
evaluations() {
  grep '"event": "evaluation"' "$folder/$1/metrics.jsonl" >"$folder/$1.evaluations" || fail "$1: no evaluation"
}

succeeds 1 train "$folder/run.yaml" "${sets[@]}" --set "output.directory=$folder/run-1"
evaluations run-1
[ "$(wc -l <"$folder/run-1.evaluations")" -eq 3 ] || fail "not one evaluation per task"
for key in frechet_resnet18 kld absolute_ratio_difference classifier_accuracy average_accuracy forgetting task_share \
  task_frechet n_real n_generated sampler checkpoint_digest frechet_infinity frechet_interval subset_size precision_3 \
  recall_3 density_5 coverage_5 coverage_by_class task_kid task_coverage backward_transfer real; do
  has "$folder/run-1.evaluations" "\"$key\"" "train with evaluation.measures"
done
has "$folder/run-1.evaluations" "\"seed\": \"$seed\"" "train with evaluation.measures"
[ "$(find "$folder/cache" -name 'classifier-*.h5' | wc -l)" -eq 1 ] || fail "not one classifier in the cache"
[ "$(find "$folder/cache" -name 'moments-*.h5' | wc -l)" -ge 3 ] || fail "not the statistics of the tasks so far"
[ "$(find "$folder/cache" -type f | wc -l)" -eq "$(find "$folder/cache" -name "*.h5" -o -name "floor-*.json" | wc -l)" ] ||
  fail "drafts are left in the cache"

# ---- Other numbers of ranks: with the cached classifier, and with one trained on them
for ranks in $(normally "2 3" 2); do
  succeeds "$ranks" train "$folder/run.yaml" "${sets[@]}" --set "output.directory=$folder/run-$ranks" \
    --set "evaluation.cache=$folder/cache-$((ranks % 2))"
  evaluations "run-$ranks"
  cmp "$folder/run-1.evaluations" "$folder/run-$ranks.evaluations" || fail "on $ranks ranks other numbers"
done

# ---- evaluate: prints the same lines and replaces the old ones; solvers are reused
for ranks in $(normally 3 1); do
  stamp=$(stat -c %Y.%i "$folder/run-2/solver/solver-task03.h5")
  succeeds "$ranks" evaluate "$folder/run-2"
  cmp "$folder/run-1.evaluations" "$folder/out" || fail "evaluate prints other numbers"
  evaluations run-2
  cmp "$folder/run-1.evaluations" "$folder/run-2.evaluations" || fail "evaluate stores other numbers"
  [ "$stamp" = "$(stat -c %Y.%i "$folder/run-2/solver/solver-task03.h5")" ] || fail "a solver was trained again"
done
"$fixture" flip "$folder/run-2/solver/solver-task02.h5"
succeeds 2 evaluate "$folder/run-2"
cmp "$folder/run-1.evaluations" "$folder/out" || fail "with a damaged solver other numbers"
rm -r "$folder/run-2/solver" "$folder/cache-0"
succeeds 2 evaluate "$folder/run-2"
cmp "$folder/run-1.evaluations" "$folder/out" || fail "with everything made again other numbers"

# ---- Resuming a finished run does not change its evaluations
succeeds 2 train "$folder/run.yaml" "${sets[@]}" --set "output.directory=$folder/run-1" --resume
evaluations run-1
cmp "$folder/run-2.evaluations" "$folder/run-1.evaluations" || fail "resumed, other numbers"

# ---- A run that goes on: what became of the earlier tasks is read from metrics.jsonl
cp -r "$folder/run-1" "$folder/run-r"
rm "$folder"/run-r/checkpoints/checkpoint-task03-*
succeeds 2 train "$folder/run.yaml" "${sets[@]}" --set "output.directory=$folder/run-r" --resume
evaluations run-r
cmp "$folder/run-1.evaluations" "$folder/run-r.evaluations" || fail "resumed in the third task, other numbers"
# row N: coverage of the tasks so far after task N
sed -n 's/.*"task_coverage": \[\([^]]*\)\].*/\1/p' "$folder/run-1.evaluations" | tr -d , >"$folder/rows"
sed -n '3s/.*"forgetting": {"coverage": \([0-9.e+-]*\),.*"backward_transfer": {"coverage": \([0-9.e+-]*\),.*/\1 \2/p' \
  "$folder/run-1.evaluations" >>"$folder/rows"
awk 'function max(a, b) { return a > b ? a : b }
  function near(a, b) { return a - b < 1e-6 && b - a < 1e-6 }
  { for (i = 1; i <= NF; i++) c[NR, i] = $i }
  END {
    for (i = 1; i <= 2; i++) # task 1 has too few test images alone
      if (c[i, i] != "null") {
        n++
        forgetting += max(c[i, i], c[2, i]) - c[3, i]
        transfer += c[3, i] - c[i, i]
      }
    exit !(NR == 4 && n > 0 && near(c[4, 1], forgetting / n) && near(c[4, 2], transfer / n))
  }' "$folder/rows" || fail "forgetting or backward transfer is not what the rows say: $(cat "$folder/rows")"

# subsets: the line through the distances as a function of 1/n, and the interval around the last one
sed -n '3s/, "real": .*//; 3s/.*"subsets": {"sizes": \[\([^]]*\)\], "frechet": \[\([^]]*\)\], "frechet_infinity": \([0-9.e+-]*\), "frechet_interval": \[\([^]]*\)\].*/\1 \2 \3 \4/p' \
  "$folder/run-1.evaluations" | tr -d , | awk 'function near(a, b) { return a - b < 1e-6 && b - a < 1e-6 }
  {
    for (i = 1; i <= 3; i++) { x = 1 / $i; y = $(i + 3); sx += x; sy += y; sxx += x * x; sxy += x * y }
    slope = (3 * sxy - sx * sy) / (3 * sxx - sx * sx)
    good = $3 == 70 && near($7, (sy - slope * sx) / 3) && $8 < $6 && near($9 - $6, $6 - $8)
  } END { exit !good }' || fail "the distance of infinitely many images is not that of the line"

# ---- One sample set
set=$folder/run-1/samples/samples-task03.h5
succeeds 2 evaluate "$set" --config "$folder/run-1/config.resolved.yaml"
value=$(sed -n '3s/, "real": .*//; 3s/.*"frechet_resnet18": \([0-9.e+-]*\).*/\1/p' "$folder/run-1.evaluations")
[ -n "$value" ] || fail "no distance after the third task"
has "$folder/out" "\"frechet_resnet18\": $value" "evaluate SAMPLES"

# ---- Tasks without test images: null, the means over the others, and a warning before the work
# only FOLDER OTHERS: the data set without test images of the classes OTHERS (tr's notation), which become class 9
only() {
  cp -r "$folder/data" "$folder/$1"
  local labels=$folder/$1/t10k-labels-idx1-ubyte
  { head -c 8 "$labels" && tail -c +9 "$labels" | tr "$2" '\011'; } >"$folder/labels"
  cp "$folder/labels" "$labels"
}
only without-2 '\002\007'
only without-1 '\000\005'
only without-all '\000\002\004\005\007\010'
succeeds 1 train "$folder/run.yaml" "${sets[@]}" --set "dataset.path=$folder/without-2" --set "output.directory=$folder/run-a"
has "$folder/err" "warn: task 2 has no test images of classes 2, 7" "train without test images of a task"
evaluations run-a
for n in 2 3; do # accuracies [a, null(, b)]: the mean is over the others
  sed -n "${n}s/.*\"task_accuracy\": \[\([0-9.]*\), null[, ]*\([0-9.]*\)\], \"average_accuracy\": \([0-9.]*\),.*/\1 \2 \3/p" \
    "$folder/run-a.evaluations" | awk '{ n++; m = NF == 3 ? ($1 + $2) / 2 : $1; if (m - $NF > 1e-6 || $NF - m > 1e-6) exit 1 }
    END { exit n != 1 }' || fail "without test images of task 2, another mean after task $n"
done
succeeds 1 report "$folder/run-a" --output "$folder/report"
grep -q '^| after 3 | [0-9.]* | - | [0-9.]* |$' "$folder/report/report.md" || fail "the report does not show the missing value"
succeeds 1 train "$folder/run.yaml" "${sets[@]}" --set "dataset.path=$folder/without-1" --set "output.directory=$folder/run-b"
evaluations run-b
has <(sed -n 1p "$folder/run-b.evaluations") '"frechet_resnet18": null, "frechet_clipped": null, "kld": null' "train without test images of task 1"
has <(sed -n 2p "$folder/run-b.evaluations") '"forgetting": null' "train without test images of task 1"
succeeds 1 evaluate "$folder/run-b"
has "$folder/err" "warn: task 1 has no test images of classes 0, 5" "evaluate without test images of a task"
refused 2 "$folder/without-all: no test images of any task" 2 train "$folder/run.yaml" "${sets[@]}" \
  --set "dataset.path=$folder/without-all" --set "output.directory=$folder/run-c"
[ ! -e "$folder/run-c/config.resolved.yaml" ] || fail "a run that cannot be evaluated has started"

# ---- The solver of the paper's authors: fresh images for each step, the softmaxes swapped
cp -r "$folder/run-1" "$folder/run-f"
cp -r "$folder/run-2" "$folder/run-g"
succeeds 1 evaluate "$folder/run-f" --set solver.replay=fresh --set solver.loss=reference
evaluations run-f
has "$folder/run-f.evaluations" '"solver": {"method": "generated", "loss": "reference", "replay": "fresh"' "evaluate with solver.replay=fresh"
[ "$(grep -o '"task_accuracy": [^]]*' "$folder/run-f.evaluations")" != "$(grep -o '"task_accuracy": [^]]*' "$folder/run-1.evaluations")" ] ||
  [ -n "$(cmp "$folder"/run-f/solver/solver-task03.h5 "$folder"/run-1/solver/solver-task03.h5)" ] ||
  fail "the solver is the same as with the sample set"
succeeds 3 evaluate "$folder/run-g" --set solver.replay=fresh --set solver.loss=reference
cmp "$folder/run-f.evaluations" "$folder/out" || fail "solver.replay=fresh: on 3 ranks other numbers"
stamp=$(stat -c %Y.%i "$folder/run-g/solver/solver-task03.h5")
succeeds 1 evaluate "$folder/run-g" --set solver.replay=fresh --set solver.loss=reference
[ "$stamp" = "$(stat -c %Y.%i "$folder/run-g/solver/solver-task03.h5")" ] || fail "a solver with fresh images was trained again"
rm "$folder"/run-g/checkpoints/checkpoint-task01-*
refused 2 "the checkpoint at the end of task 1 is gone" 2 evaluate "$folder/run-g" --set solver.replay=fresh

# ---- A report, on two ranks
succeeds 2 report "$folder/run-1" "$folder/run-2" --output "$folder/report"
has "$folder/out" "$folder/report/report.md" "report"
has "$folder/report/report.md" "| generative_distillation |" "report"
has "$folder/report/report.md" "| *real images* |" "report"
has "$folder/report/report.md" "| $seed |" "report"
[ "$(grep -c ',kld,' "$folder/report/report.csv")" -eq 6 ] || fail "not one KLD per task and run in report.csv"
refused 2 "report: needs a run's folder" 2 report --output "$folder/report"
refused 2 "$folder/nosuch: no such run" 2 report "$folder/run-1" "$folder/nosuch"

# ---- What cannot be evaluated
refused 2 "no such run" 2 evaluate "$folder/nosuch"
refused 2 "needs --config" 2 evaluate "$set"
refused 2 "its images are 16 x 16 x 1" 2 evaluate "$set" --config "$folder/run.yaml" "${sets[@]}" \
  --set dataset.image_size=32
refused 2 "the solver needs at least 12 pixels" 2 train "$folder/run.yaml" "${sets[@]}" --set dataset.image_size=8 \
  --set "output.directory=$folder/small"
refused 2 "evaluation.samples" 2 train "$folder/run.yaml" "${sets[@]}" --set evaluation.samples=0
refused 2 "classifier.batch_size" 2 classifier "$folder/run.yaml" --set classifier.batch_size=6
refused 2 "strategy.lambda" 2 evaluate "$folder/run-1" --config "$folder/run.yaml" "${sets[@]}" --set strategy.lambda=2
mkdir "$folder/empty"
refused 2 "config.resolved.yaml" 2 evaluate "$folder/empty"
"$fixture" flip "$set"
refused 2 "$set" 2 evaluate "$folder/run-1"
