#!/usr/bin/env bash
# The solver by methods that need no generator: the same numbers on any number of ranks and from stored solvers, also
# where those of the last tasks are gone.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
sets=(--set dataset.image_size=16 --set solver.epochs=6 --set solver.batch_size=10 --set strategy.fisher_images=9)

# solver_lines RANKS METHOD FOLDER [ARGUMENT ...]: into $folder/lines
solver_lines() {
  local ranks=$1 method=$2 run=$3
  shift 3
  succeeds "$ranks" solver "$folder/run.yaml" "${sets[@]}" --set "solver.method=$method" \
    --set "output.directory=$folder/$run" "$@"
  cp "$folder/out" "$folder/lines"
}

average() { # TASK
  sed -n "s/.*\"task\": $1,.*\"average_accuracy\": \([0-9.]*\).*/\1/p" "$folder/lines"
}

for method in finetune cumulative lwf ewc si; do
  lambda=1
  [ $method != ewc ] || lambda=100000
  solver_lines 1 $method alone --set solver.lambda=$lambda
  cp "$folder/lines" "$folder/$method.lines"
  [ "$(grep -c "\"method\": \"$method\"" "$folder/lines")" -eq 3 ] || fail "$method: not a line per task"
  ranks=$(normally 3 2)
  solver_lines "$ranks" $method "together" --set solver.lambda=$lambda
  cmp "$folder/$method.lines" "$folder/lines" || fail "$method: other numbers on $ranks ranks"
  rm "$folder/together/solver_$method/solver-task03.h5" # the state of the second task must come from its file
  solver_lines "$(normally 2 1)" $method "together" --set solver.lambda=$lambda
  cmp "$folder/$method.lines" "$folder/lines" || fail "$method: other numbers after the second task"
  stamp=$(stat -c %Y.%i "$folder/together/solver_$method/solver-task03.h5")
  solver_lines 1 $method "together" --set solver.lambda=$lambda
  cmp "$folder/$method.lines" "$folder/lines" || fail "$method: other numbers of stored solvers"
  [ "$stamp" = "$(stat -c %Y.%i "$folder/together/solver_$method/solver-task03.h5")" ] || fail "$method: trained again"
done

# Each method has solvers of its own; the data of all tasks keep what fine-tuning forgets.
for method in cumulative lwf ewc si; do
  [ -n "$(cmp "$folder/alone/solver_finetune/solver-task03.h5" "$folder/alone/solver_$method/solver-task03.h5")" ] ||
    fail "$method: the solver of finetune"
done
cp "$folder/finetune.lines" "$folder/lines"
finetuned=$(average 3)
cp "$folder/cumulative.lines" "$folder/lines"
awk "BEGIN { exit !($(average 3) > $finetuned + 0.1) }" || fail "cumulative: $(average 3), finetune: $finetuned"

refused 2 "key 'solver.method': 'generated' is for runs" 2 solver "$folder/run.yaml" "${sets[@]}"
refused 2 "key 'solver.epochs': must be above 0" 2 solver "$folder/run.yaml" --set solver.method=lwf --set solver.epochs=0
refused 2 "key 'solver.method': must be generated for strategy joint" 2 solver "$folder/run.yaml" \
  --set solver.method=lwf --set strategy.name=joint
refused 2 "2 ranks, but training.slots is 1: with solver.method si a rank needs a slot" 2 solver "$folder/run.yaml" \
  "${sets[@]}" --set solver.method=si --set training.slots=1 --set "output.directory=$folder/slots"
