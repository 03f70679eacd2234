#!/usr/bin/env bash
# tools/projection: in a simulation of the profile of a bench, a step on a few nodes takes longer than the same step on
# one node, even longer on a slower network, and longer without overlap. Skipped where SimGrid is missing.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

if ! command -v smpicc >/dev/null; then
  echo "skipped: no SimGrid here (tools/setup --simulate)"
  exit 77
fi
write_config "$folder/run.yaml"
succeeds 1 bench "$folder/run.yaml" --repeats 1 --profile --directory "$folder/bench" \
  --set "model.block_out_channels=[64, 512]" --set "training.slots=1" --set "dataset.image_size=8"
cp "$folder/out" "$folder/profile.json"

cd "$tests/.."
tools/projection/build "$folder/build" >"$folder/out" 2>"$folder/err" || fail "tools/projection/build fails"
for gbits in 1 100; do tools/projection/platform tree "$gbits" >"$folder/tree-$gbits.xml"; done

# simulated KEY GBITS NODES REDUCTION: a time in seconds, with nodes a thousand times as fast as this core
simulated() {
  timeout 100 tools/projection/simulate "$folder/build/step" "$folder/tree-$2.xml" "$3" "$folder/profile.json" \
    speed=1000 memory=1000 "reduction=$4" >"$folder/out" 2>"$folder/err" || fail "the simulation on $3 nodes fails"
  grep -o "\b$1=[^ ]*" "$folder/out" | cut -d = -f 2
}

less() { # NUMBER NUMBER WHAT
  awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0 && a < b) }' || fail "$3: $1 is not less than $2"
}

alone=$(simulated alone 100 4 tree)
fast=$(simulated step 100 4 tree)
slow=$(simulated step 1 4 tree)
less "$alone" "$fast" "a step alone, and on four nodes"
less "$fast" "$slow" "at 100 Gbit/s, and at 1"
less "$fast" "$(simulated step 100 4 tree-after)" "with overlap, and without"
less "$(simulated reduction 1 2 blocking)" "$(simulated reduction 1 8 blocking)" "an all-reduce over 2 nodes, and over 8"
# 1 Gbit/s, of which 92 % carry data: each node sends two halves of the gradient
n=$(sed -n 's/^ *"parameters": \([0-9]*\).*/\1/p' "$folder/profile.json" | head -n 1)
wire=$(awk -v n="$n" 'BEGIN { print n * 4 * 8 / 0.92e9 }')
[ "$n" -gt 0 ] || fail "bench does not tell the number of parameters"
less "$wire" "$(simulated reduction 1 2 tree-after)" "the wire's time, and a reduction"
