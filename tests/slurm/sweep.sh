#!/usr/bin/env bash
# jobs/strategies.sh with two strategies and two seeds: an array of runs, one of which is requeued alone, their metrics,
# and one report of all four. jobs/sweep.sh without values: a run, its metrics, its report. Wrong calls are refused. A
# sweep of more runs than an array may have, of scripts that are installed, from another folder.
set -eu
slurm_conf=(MaxArraySize=5) # arrays of at most 4 runs
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
small=(tasks.order='[[0,5],[2,7]]' dataset.image_size=16 evaluation.steps=2 evaluation.cache=cache classifier.epochs=1
  classifier.batch_size=16 classifier.slots=2 solver.epochs=1 solver.batch_size=10)

# sweep SCRIPT ARGUMENT...: its output goes to $folder/printed.
sweep() {
  "jobs/$1" "${@:2}" >printed 2>err || fail "exit status $? instead of 0: jobs/$*"
}
job_of() { # STAGE
  awk -v stage="$1" '$1 == "job" && $3 == stage {print $2}' printed
}

# ---- Refused before anything is submitted
refuses() { # TEXT ARGUMENT...
  local status=0
  jobs/sweep.sh "${@:2}" >printed 2>err || status=$?
  [ $status -eq 2 ] || fail "exit status $status instead of 2: jobs/sweep.sh ${*:2}"
  [ "$(wc -l <err)" -eq 1 ] || fail "not one message: jobs/sweep.sh ${*:2}"
  has err "$1" "jobs/sweep.sh ${*:2}"
  [ -z "$(state)$(cat printed)" ] || fail "something was submitted: jobs/sweep.sh ${*:2}"
}
refuses "usage:"
refuses "usage:" name
refuses "nosuch.yaml: no such" name nosuch.yaml seed=1,2
refuses "'seed=': must be" name run.yaml seed=
refuses "'seed': must be" name run.yaml seed
refuses "'seed=1,,2': an empty" name run.yaml seed=1,,2
refuses "the name seed=1" name run.yaml seed=1,2,1
refuses "output.directory" name run.yaml output.directory=x
refuses "letters" ../name run.yaml
[ ! -e runs ] || fail "a refused sweep has made a folder"

# ---- Two strategies, two seeds
sweep strategies.sh run.yaml strategy.name=finetune,generative_distillation seed=1,2 "${small[@]}" \
  training.epochs=150 -- --ntasks=1 --time=5
has printed "--dependency=afterok:$(job_of classifier)" "jobs/strategies.sh" # otherwise each run would train a classifier
refuses_again=0
jobs/strategies.sh run.yaml >again 2>&1 || refuses_again=$?
[ $refuses_again -eq 2 ] && has again "in the queue already" "the same sweep at once"

# the job id of the array is that of its last task
last=$(job_of train)_4
runs=runs/strategies-run
within 120 grep -qs '"event": "step"' "$runs/strategy.name=generative_distillation-seed=2/metrics.jsonl" ||
  fail "the last run does not start"
scancel --signal=TERM "$last"
within 20 grep -qs "job $last: requeued" "$runs/logs/train-4.log" || fail "the last run is not requeued"

within 240 ended "$(job_of report)" || fail "the report does not end: $(state "$(job_of report)")"
for stage in classifier train evaluate report; do
  [ "$(state "$(job_of $stage)")" = COMPLETED ] || fail "the $stage job is $(state "$(job_of $stage)")"
done
for i in 1 2 3; do
  [ "$(grep -c "^job .*: train " $runs/logs/train-$i.log)" -eq 1 ] || fail "run $i was not started once"
done
[ "$(grep -c "^job .*: train " $runs/logs/train-4.log)" -eq 2 ] || fail "run 4 was not started twice"
has $runs/report/report.md "4 runs" "the report"
for strategy in finetune generative_distillation; do
  grep -q "^| $strategy |.*| 2 |\$" $runs/report/report.md || fail "no group of two runs of $strategy in the report"
  for seed in 1 2; do
    has "$runs/strategy.name=$strategy-seed=$seed/metrics.jsonl" '"event": "evaluation"' "evaluate"
  done
done
[ "$(find cache -name 'classifier-*.h5' | wc -l)" -eq 1 ] || fail "not one classifier in the cache"
has $runs/logs/classifier.log "evaluation classifier, epoch 1" "the classifier job"
! grep -q "evaluation classifier, epoch" $runs/logs/evaluate-*.log || fail "a run has trained the classifier again"

# ---- A run, its metrics, its report
sweep sweep.sh one run.yaml "${small[@]}" training.epochs=2 -- --nodes=2 --ntasks-per-node=1 --time=5
[ -z "$(job_of classifier)" ] || fail "a classifier job for one run"
completes 120 "$(job_of report)"
has runs/one/logs/train-1.log "2 ranks of 1 threads on 2 nodes" "the chain's training"
has runs/one/run/metrics.jsonl '"event": "evaluation"' "the chain's evaluation"
[ -s runs/one/report/report.md ] || fail "no report of one run"

# ---- Several arrays
tree prefix/share/gendistill/jobs prefix/bin/gendistill
mkdir elsewhere
cd elsewhere
GENDISTILL='' ../prefix/share/gendistill/jobs/sweep.sh parts ../run.yaml seed=1,2,3,4,5,6 "${small[@]}" \
  evaluation.cache=../cache training.epochs=1 -- --ntasks=1 --time=5 >../printed || fail "exit status $?: a sweep of six runs"
cd "$folder"
[ "$(grep -oE '(train|evaluate) .*--array=1-[0-9]*' printed | tr -s ' ' | paste -s -d ,)" = \
  "train --array=1-4,evaluate --array=1-4,train --array=1-2,evaluate --array=1-2" ] || fail "other arrays: $(cat printed)"
completes 240 "$(job_of report)"
has elsewhere/runs/parts/report/report.md "6 runs" "the report of several arrays"
for i in 1 2 3 4 5 6; do
  has elsewhere/runs/parts/seed=$i/metrics.jsonl '"event": "evaluation"' "run $i of several arrays"
done
has elsewhere/runs/parts/logs/train-2-1.log "output.directory=runs/parts/seed=5" "the second array's first run"

# ---- Jobs that wait for a failed job are cancelled
sweep sweep.sh wrong run.yaml seed=1,2 nosuch.key=1 -- --ntasks=1 --time=5
within 60 ended "$(job_of report)" || fail "the report waits for ever"
[ "$(state "$(job_of report)")" = CANCELLED ] || fail "the report is $(state "$(job_of report)")"
has runs/wrong/logs/classifier.log "nosuch.key" "a wrong key"
