#!/usr/bin/env bash
# Limits of the system (ulimit) on the size of a file and on CPU time. A message names what failed, no file is left
# incomplete, and `train` stops early if it can.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
train=(train "$folder/run.yaml" --set output.checkpoint_steps=1)

# limit OPTIONS: from now on the program runs with these options of ulimit.
real=$program
limit() {
  printf '#!/usr/bin/env bash\nulimit %s\nexec "%s" "$@"\n' "$1" "$real" >"$folder/limited"
  chmod +x "$folder/limited"
  program=$folder/limited
}

nothing_left() {
  local files
  files=$(find "$folder/run" "$folder/samples" -name '*.tmp')
  [ -z "$files" ] || fail "left behind: $files"
}

# ---- The size of a file
mkdir "$folder/samples" "$folder/run"
limit "-f 100"
mpi_without_shared_memory refused 1 "step000001.h5: cannot reserve disk space: File too large; once that is put right" 2 "${train[@]}"
nothing_left
rm -r "$folder/run"
limit "-f 1"
mpi_without_shared_memory refused 1 "run/config.resolved.yaml: cannot write the file: File too large" 1 "${train[@]}"
nothing_left
rm -r "$folder/run"

# ---- CPU time: train stops early at the soft limit, with a checkpoint; other commands end.
limit "-St 2"
run 1 "${train[@]}" --set training.epochs=100000 --set output.checkpoint_steps=0
[ "$status" -eq 75 ] || fail "exit status $status instead of 75 at the limit of CPU time"
has "$folder/err" "stopped early (the limit of CPU time is near): go on with --resume" "train at its limit of CPU time"
checkpoint=$(find "$folder/run/checkpoints" -name '*.h5')
"$fixture" check "$checkpoint" || fail "no checkpoint at the limit of CPU time"
refused 1 "the limit of CPU time is reached (ulimit -t)" 1 sample --checkpoint "$checkpoint" --count 10000000 \
  --output "$folder/samples/s.h5"
