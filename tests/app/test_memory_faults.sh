#!/usr/bin/env bash
# test_memory_faults.sh PROGRAM MAKE_FIXTURE PRELOAD_MEMORY STRIDE: memory runs out at every STRIDE-th of the places
# where a command allocates memory, for each command: there is one message, the exit status is 1 on any number of
# ranks, no file is damaged, and a resumed run ends with the same bits as an uninterrupted one. GD_TEST_SEED repeats
# the random choices of an earlier test.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

stride=$4
RANDOM=${GD_TEST_SEED:-$$}
echo "GD_TEST_SEED=${GD_TEST_SEED:-$$}"

n_places=0

# with RANK PLACE RANKS ARGUMENT...: like run.
with() {
  local fault="$1 $object $2" ranks=$3
  shift 3
  status=0
  GD_MEMORY=$fault timeout -k 5 100 "$tests/mpirun.sh" "$ranks" "$folder/with-pid" "$program" "$@" \
    >"$folder/out" 2>"$folder/err" </dev/null || status=$?
}

# places RANK RANKS ARGUMENT...: sets $n to the number of places on that rank.
places() {
  local rank=$1
  shift
  with "$rank" 0 "$@"
  [ "$status" -eq 0 ] || fail "exit status $status without a fault: gendistill ${*:2}"
  n=$(sed -n 's/^preload_memory: \([0-9]*\) places$/\1/p' "$folder/err" | tail -n 1) # gnuplot prints its own first
  [ "${n:-0}" -gt 0 ] || fail "$object allocates no memory: gendistill ${*:2}"
}

# fails RANK PLACE RANKS ARGUMENT...: memory runs out at PLACE, and the program ends as it should.
fails() {
  local files n_messages what="place $2 of $object, rank $1 of $3: gendistill ${*:4}"
  with "$@"
  [ "$status" -eq 1 ] || fail "exit status $status instead of 1: $what"
  n_messages=$(grep -c '^gendistill: .*\(rank [0-9]*: out of memory: .*What helps: \|error: .*memory\)' "$folder/err" || true)
  [ "$n_messages" -eq 1 ] || fail "$n_messages messages instead of one: $what"
  if grep -q 'HDF5-DIAG\|Sanitizer\|Segmentation' "$folder/err"; then fail "more than one message: $what"; fi
  mapfile -t files < <(find "$folder/new" -name '*.h5')
  [ "${#files[@]}" -eq 0 ] || "$fixture" check "${files[@]}" || fail "a damaged file: $what"
  n_places=$((n_places + 1))
}

# each OBJECT ARGUMENT...: every stride-th place of a command on one rank, which writes to $folder/new.
each() {
  object=$1
  shift
  local place first=$n_places
  mkdir -p "$folder/new"
  places 0 1 "$@"
  for ((place = 1 + RANDOM % stride; place <= n; place += stride)); do
    rm -rf "$folder/new"
    mkdir "$folder/new"
    fails 0 "$place" 1 "$@"
  done
  rm -rf "$folder/new"
  echo "${SECONDS}s: $((n_places - first)) of $n places of $object: gendistill $1"
}

write_config "$folder/run.yaml"
train=(train "$folder/run.yaml" --set replay.source=pool --set replay.pool_images=40 --set output.keep=20
  --set output.checkpoint_steps=2 --set "output.directory=$folder/new/run")
small=(--set dataset.image_size=16 --set training.epochs=1 --set classifier.epochs=1 --set classifier.batch_size=16
  --set classifier.slots=2 --set solver.epochs=1 --set solver.batch_size=10 --set evaluation.samples=40)
write_network_a
import=(import --safetensors "$folder/a.safetensors" --config "$folder/network_a.yaml")
succeeds 1 "${import[@]}" --output "$folder/a.h5"
succeeds 2 train "$folder/run.yaml" "${small[@]}" --set "output.directory=$folder/measured"
succeeds 2 evaluate "$folder/measured" --set "evaluation.cache=$folder/cache" # from now on there are a classifier and a solver
succeeds 2 "${train[@]}"
reference=$(digest)
mv "$folder/new/run" "$folder/whole"

# ---- Each command, on one rank

own=/gendistill
each "$own" "${train[@]}"
each libyaml "${train[@]}" --dry-run
each "$own" "${import[@]}" --output "$folder/new/a.h5"
each "$own" sample --checkpoint "$folder/a.h5" --count 5 --steps 2 --output "$folder/new/s.h5" --grid "$folder/new/s.png"
each libpng sample --checkpoint "$folder/a.h5" --count 5 --steps 2 --output "$folder/new/s.h5" --grid "$folder/new/s.png"
each "$own" info "$folder/a.h5"
each "$own" classifier "$folder/run.yaml" "${small[@]}" --set "evaluation.cache=$folder/new"
each "$own" evaluate "$folder/measured" --set "evaluation.cache=$folder/cache"
each "$own" report "$folder/measured" --output "$folder/new"

# ---- One rank of several, during a run

object=$own
for ranks in 2 3; do
  victim=$((RANDOM % 2 * (ranks - 1)))
  rm -rf "$folder/new/run"
  places "$victim" "$ranks" "${train[@]}"
  for part in 0 1; do
    rm -rf "$folder/new/run"
    fails "$victim" $((1 + part * n / 2 + RANDOM % (n / 2))) "$ranks" "${train[@]}"
  done
  succeeds $((5 - ranks)) "${train[@]}" --resume
  [ "$(digest)" = "$reference" ] || fail "resumed, the parameters are $(digest), uninterrupted $reference"
  same_run "$folder/whole" "$folder/new/run"
done
echo "${SECONDS}s: memory ran out in $n_places places"
