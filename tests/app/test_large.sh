#!/usr/bin/env bash
# test_large.sh PROGRAM MAKE_FIXTURE BITS ROWS WIDTH RANKS...: gendistill frechet on features of 2 GiB, more bytes than
# an int can hold, and on features too wide for ScaLAPACK. Most values are zeros that take no disk space.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"
bits=$3 rows=$4 width=$5
shift 5
GD_PATIENCE=$((10 * ${GD_PATIENCE:-1})) # the largest takes a minute on an idle machine

# Eight values 1, 2 ... 8 times sqrt(rows), each in its own column: variances 1, 4 ... 64, which add up to 204.
"$fixture" features "$folder/large.h5" "$bits" "$rows" "$width" "$(awk "BEGIN {printf \"%.17g\", sqrt($rows)}")"
"$fixture" features "$folder/zeros.h5" 32 2 "$width" 0
expected=$(awk "BEGIN {printf \"%.10g\", 204 + 204 / $rows}")
for ranks in "$@"; do
  succeeds "$ranks" frechet --real "$folder/large.h5" --generated "$folder/zeros.h5"
  has "$folder/out" "real rows: $rows" frechet
  [ "$(tail -n 1 "$folder/out")" = "$expected" ] || fail "on $ranks ranks the last line is $(tail -n 1 "$folder/out"), not $expected"
done
rm "$folder/large.h5"

"$fixture" features "$folder/wide.h5" 32 2 23300 0
refused 2 "wide.h5: features of width 23300 are too wide for 1 ranks" 1 frechet --real "$folder/wide.h5" --generated "$folder/wide.h5"
"$fixture" features "$folder/wide.h5" 32 2 20000000 0
refused 2 "wide.h5: dataset '/features' holds features of width 20000000, the maximum is 16777216" 1 frechet \
  --real "$folder/wide.h5" --generated "$folder/wide.h5"
