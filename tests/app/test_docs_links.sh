#!/usr/bin/env bash
# The documents: each relative link leads to a file or folder, and to a heading where it names one. Where a document says
# "`NAME` in [file](path)", that file holds NAME. README.md leads to every other page, and is at most 8 KiB.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/../.."

mapfile -t pages < <(git ls-files '*.md' 2>/dev/null)
if [ ${#pages[@]} -eq 0 ]; then
  echo "skipped: no git repository here"
  exit 77
fi
failed=0
complain() {
  echo "FAILED: $*"
  failed=1
}

# links FILE: "LINE TARGET" of each relative link
links() {
  awk '{
    while (match($0, /\]\([^)]*\)/)) {
      target = substr($0, RSTART + 2, RLENGTH - 3)
      $0 = substr($0, RSTART + RLENGTH)
      if (target !~ /^[a-z]+:/) print FNR, target
    }
  }' "$1"
}

# names FILE: "LINE NAME TARGET" of each NAME of "`NAME`, `NAME` in [file](TARGET)"
names() {
  awk '{
    while (match($0, /(`[A-Za-z0-9_]+`(, | and ))*`[A-Za-z0-9_]+` in \[[^]]*\]\([^)]*\)/)) {
      found = substr($0, RSTART, RLENGTH)
      $0 = substr($0, RSTART + RLENGTH)
      target = found
      sub(/.*\(/, "", target)
      sub(/\)$/, "", target)
      sub(/ in \[.*/, "", found)
      n = split(found, part, "`")
      for (i = 2; i <= n; i += 2) print FNR, part[i], target
    }
  }' "$1"
}

# headings FILE: the anchors that its headings have
headings() {
  sed -n 's/^##* //p' "$1" 2>/dev/null | tr 'A-Z ' 'a-z-' | tr -cd 'a-z0-9_\n-'
}

# page_of PATH: the document that a link to a file or folder shows
page_of() {
  if [ -d "$1" ]; then echo "${1%/}/README.md"; else echo "$1"; fi
}

declare -A leads_to=() # page: the pages that it links to
for page in "${pages[@]}"; do
  while read -r line target; do
    path=$(dirname "$page")/${target%%#*}
    [ -n "${target%%#*}" ] || path=$page
    [ -e "$path" ] || complain "$page:$line: no such file: $target"
    path=$(page_of "$(realpath -m --relative-to=. "$path")")
    leads_to[$page]+=" $path"
    [ "$target" = "${target#*#}" ] || headings "$path" | grep -qxF -- "${target#*#}" ||
      complain "$page:$line: no such heading: $target"
  done < <(links "$page")
  while read -r line name target; do
    grep -qw -- "$name" "$(dirname "$page")/$target" || complain "$page:$line: $name is not in $target"
  done < <(names "$page")
done

declare -A reached=([README.md]=yes)
queue=(README.md)
while [ ${#queue[@]} -gt 0 ]; do
  page=${queue[0]}
  queue=("${queue[@]:1}")
  for next in ${leads_to[$page]:-}; do
    [ -z "${reached[$next]:-}" ] || continue
    reached[$next]=yes
    queue+=("$next")
  done
done
for page in "${pages[@]}"; do
  [ -n "${reached[$page]:-}" ] || complain "no links lead from README.md to $page"
done
[ "$(wc -c <README.md)" -le 8192 ] || complain "README.md has $(wc -c <README.md) bytes, at most 8192 are allowed"
exit $failed
