#!/usr/bin/env bash
# A locale whose numbers have a decimal comma changes nothing: the tables of tools/scaling and of the report.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

if ! localedef -i de_DE -f UTF-8 "$folder/de_DE.UTF-8" 2>/dev/null; then
  echo "skipped: no source of a locale here (package locales)"
  exit 77
fi
comma() { # COMMAND...: in that locale
  LOCPATH=$folder LC_ALL=de_DE.UTF-8 "$@"
}
[ "$(comma bash -c 'printf %.1f 1,5')" = 1,5 ] || fail "this locale has no decimal comma: the test proves nothing"

write_config "$folder/run.yaml"
"$fixture" idx "$folder/data" 400 || fail "no data set"
cd "$tests/.."
GENDISTILL=$program comma tools/scaling --ranks 1 --images 8 --kinds strong --steps 3 --repeats 1 --output "$folder/scaling" \
  "$folder/run.yaml" >"$folder/out" 2>"$folder/err" || fail "tools/scaling fails"
for table in scaling summary; do
  [ "$(awk -F, '{ print NF }' "$folder/scaling/$table.csv" | sort -u | wc -l)" -eq 1 ] || fail "$table.csv: not as many values in each row"
done
grep -Eq '^strong,1,1,1,8,2,[0-9]+\.[0-9]{4},' "$folder/scaling/scaling.csv" || fail "scaling.csv: no number with a point"

succeeds 1 train "$folder/run.yaml" --set dataset.limit=100
comma succeeds 1 report "$folder/run" --output "$folder/report" 2>/dev/null # bash does not read LOCPATH and prints a warning
mv "$folder/report" "$folder/report-comma"
succeeds 1 report "$folder/run" --output "$folder/report"
diff -r "$folder/report-comma" "$folder/report" || fail "the report has other numbers or pictures"
