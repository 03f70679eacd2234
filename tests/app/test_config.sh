#!/usr/bin/env bash
# What `gendistill config` prints is a configuration, and configs/README.md is the page that it prints: a row for every
# key, with default, values and meaning.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

page=$tests/../configs/README.md

succeeds 1 config
cp "$folder/out" "$folder/defaults.yaml"
succeeds 2 config --markdown
cmp "$folder/out" "$page" || fail "configs/README.md is stale: build/release/gendistill config --markdown >configs/README.md"

# keys FILE: "section.key" of each key of a dump, one per line
keys() {
  awk -F: '/^[a-z_]+:$/ { section = $1 "."; next }
    { top = sub(/^ +/, "", $1) ? section : ""; print top $1 }' "$1"
}

keys "$folder/defaults.yaml" >"$folder/keys"
[ "$(wc -l <"$folder/keys")" -ge 64 ] || fail "config prints too few keys"
while read -r key; do
  grep -Eq "^\| \`$key\` \| \`[^\`]+\` \| [^| ][^|]* \| (yes|no) \| [A-Za-z][^|]*\. \|$" "$page" ||
    fail "configs/README.md has no whole row for $key"
done <"$folder/keys"
[ "$(grep -c '^| `' "$page")" -eq "$(wc -l <"$folder/keys")" ] || fail "configs/README.md has rows that are no keys"

# ---- The defaults are a configuration; a smaller network, so that its plans are made at once
succeeds 1 train "$folder/defaults.yaml" --dry-run --set "model.block_out_channels=[8]" --set "model.attention=[false]" \
  --set model.norm_num_groups=4 --set dataset.image_size=8 --set training.batch_size=8
refused 2 "no option --html" 2 config --html
