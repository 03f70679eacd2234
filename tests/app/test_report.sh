#!/usr/bin/env bash
# The report of real runs: its default folder, its output, and runs that it refuses.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
for seed in 1 2; do
  succeeds 2 train "$folder/run.yaml" --set training.epochs=1 --set "seed=$seed" --set "output.directory=$folder/run-$seed"
done

# ---- One run: the report is in its folder; all files printed exist
succeeds 2 report "$folder/run-1"
has "$folder/err" "run \`gendistill evaluate $folder/run-1\`" "report of a run without evaluations"
for name in report.md report.csv loss.dat loss.gp grid.gp; do
  has "$folder/out" "$folder/run-1/report/$name" "report of one run"
done
while read -r file; do
  [ -s "$file" ] || fail "the report has printed the name of $file, but not written it"
done <"$folder/out"
[ "$(wc -l <"$folder/out")" -eq "$(find "$folder/run-1/report" -type f | wc -l)" ] || fail "not all files are printed"
if command -v gnuplot >/dev/null; then
  has "$folder/run-1/report/report.md" "(grid.png)" "report.md"
  ! (cd "$folder/run-1/report" && LC_ALL=C.UTF-8 gnuplot loss.gp 2>&1) | grep . || fail "the script cannot draw the picture again"
fi

# ---- Several runs: the report is in ./report
cd "$folder"
succeeds 1 report run-1 run-2
[ -s "$folder/report/report.md" ] || fail "no report of two runs in ./report"
has "$folder/report/report.md" "# Continual training: 2 runs" "report.md"

# ---- Refused
refused 2 "report: needs a run's folder" 2 report --output "$folder/report"
refused 2 "run-1/../run-1: given twice" 2 report run-1 run-1/../run-1
refused 2 "nosuch: no such run folder" 3 report run-1 nosuch
refused 1 "$folder/run.yaml" 2 report run-1 --output "$folder/run.yaml"
