#!/usr/bin/env bash
# gendistill frechet on the golden feature sets, on 1 to 4 ranks, and wrong input.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

sets=$tests/golden/metrics.h5
for ranks in $(normally "1 2 3 4" 2); do
  succeeds "$ranks" frechet --real "$sets:/full_rank/a" --generated "$sets:/full_rank/b"
  [ "$(tail -n 1 "$folder/out")" = 32.25676512 ] || fail "on $ranks ranks the last line is $(tail -n 1 "$folder/out")"
  has "$folder/out" "generated rows: 400" "frechet"
done
near=$tests/golden/metrics2.h5:/near
succeeds 2 frechet --real "$near/a" --generated "$near/b" --neighbours
has "$folder/out" "precision_3: 1" "frechet --neighbours"
has "$folder/out" "coverage_5: 0.944" "frechet --neighbours"
has "$folder/out" "kid: -0.03026301" "frechet --neighbours"
refused 2 "features of width 48" 2 frechet --real "$sets:/full_rank/a" --generated "$sets:/identical/b"
refused 2 "'/features' is missing" 2 frechet --real "$sets" --generated "$sets"
refused 2 "$folder/nosuch.h5" 2 frechet --real "$folder/nosuch.h5" --generated "$sets:/full_rank/a"
refused 2 "needs --generated" 1 frechet --real "$sets:/full_rank/a"
