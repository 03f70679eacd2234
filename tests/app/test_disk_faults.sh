#!/usr/bin/env bash
# Disks that are full, fail or are read-only, for each file that the program writes: one message names the file and the
# reason, the exit status is 1 on any number of ranks, and no file is damaged or left incomplete. Once there is space
# again, the run continues and ends with the same bits as an uninterrupted one. The disks are small file systems in
# memory, mounted in a separate namespace; status 77, skipped, where that is not allowed. GD_TEST_SEED repeats the
# random choices of an earlier test.
set -eu

if [ -z "${GD_TEST_MOUNTS:-}" ]; then
  for way in --mount --map-root-user\ --mount; do
    # shellcheck disable=SC2086 # two words
    if unshare $way mount -t tmpfs none /tmp 2>/dev/null; then GD_TEST_MOUNTS=yes exec unshare $way "$0" "$@"; fi
  done
  echo "skipped: no file system can be mounted here"
  exit 77
fi
if [ "$(getconf PAGESIZE)" -ne 4096 ]; then
  echo "skipped: the sizes of the disks are made for pages of 4096 bytes"
  exit 77
fi

# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"
disk=$folder/disk
mkdir "$disk"
trap 'umount "$disk" 2>/dev/null || true; rm -rf "$folder"' EXIT

RANDOM=${GD_TEST_SEED:-$$}
echo "GD_TEST_SEED=${GD_TEST_SEED:-$$}"
write_config "$folder/run.yaml"
settings=(--set replay.source=pool --set replay.pool_images=40 --set output.keep=20)
run=$folder/run

# insert OPTIONS: mounts an empty disk.
insert() {
  umount "$disk" 2>/dev/null || true
  mount -t tmpfs -o "$1" none "$disk"
}

change() { # OPTIONS
  mount -o "remount,$1" "$disk"
}

# new_run PART: prepares a new run with PART of its folder on the disk; '.': everything except checkpoints, samples and
# pools.
new_run() {
  rm -rf "$run" "$folder/elsewhere"
  if [ "$1" = . ]; then
    ln -s "$disk" "$run"
    for part in checkpoints samples pools; do
      mkdir -p "$folder/elsewhere/$part"
      ln -s "$folder/elsewhere/$part" "$run/$part"
    done
  else
    mkdir "$run"
    ln -s "$disk" "$run/$1"
  fi
}

# fails RANKS TEXT COMMAND...: refused with status 1; every file with its final name is complete, and there are no
# others.
fails() {
  local ranks text=$2 files
  ranks=$(normally "$1" 2)
  shift 2
  refused 1 "$text" "$ranks" "$@"
  if grep -q 'HDF5-DIAG\|MPI_ABORT' "$folder/err"; then fail "more than one message: gendistill $*"; fi
  grep -h '^gendistill: error: ' "$folder/err" | sed "s|$folder/||g; s/^gendistill: error/on $ranks ranks/"
  files=$(find -L "$run" "$disk" -name '*.tmp' -o -name '*.h5.*')
  [ -z "$files" ] || fail "left behind by gendistill $*: $files"
  mapfile -t files < <(find -L "$run" "$disk" -name '*.h5')
  [ "${#files[@]}" -eq 0 ] || "$fixture" check "${files[@]}" || fail "damaged by gendistill $*"
}

train=(train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$run" --set output.checkpoint_steps=1)

# goes_on RANKS ARGUMENT...: the resumed run ends like the uninterrupted one.
goes_on() {
  local ranks
  ranks=$(normally "$1" 2)
  shift
  succeeds "$ranks" "${train[@]}" "$@" --resume
  [ "$(digest)" = "$reference" ] || fail "on $ranks ranks, resumed, the parameters are $(digest), uninterrupted $reference"
  same_run "$folder/whole" "$run"
}

succeeds 2 train "$folder/run.yaml" "${settings[@]}" --set "output.directory=$folder/whole"
reference=$(digest)

# ---- The disk is full

for ranks in $(normally "1 3" 2); do
  insert size=8m
  new_run checkpoints
  fails "$ranks" "h5: cannot reserve disk space: No space left on device; once that is put right, train --resume" "${train[@]}"
  [ "$(find "$disk" -name '*.h5' | wc -l)" -ge 3 ] || fail "fewer than three checkpoints were written before"
  change size=100m
  goes_on $((4 - ranks))
done

insert size=64k
new_run samples
fails 3 "run/samples/samples-task01.h5: cannot reserve disk space: No space left on device" "${train[@]}"
change size=1m,nr_inodes=2
fails 2 "run/samples/samples-task01.png: cannot create the file: No space left on device" "${train[@]}" --resume
change nr_inodes=100
goes_on 1

insert size=64k
new_run pools
fails 2 "run/pools/pool-task02.h5: cannot reserve disk space: No space left on device" "${train[@]}"
change size=1m
goes_on 2

insert size=4k
new_run .
echo full >"$disk/file"
fails 1 "run/run.lock: cannot write the file: No space left on device" "${train[@]}"
change size=8k
fails 2 "run/config.resolved.yaml: cannot write the file: No space left on device" "${train[@]}"
rm "$disk/file"
# The configuration takes some pages, and as many again while a resume replaces it, as does metrics.jsonl. Where the
# configuration is removed first, metrics.jsonl is what finds no room. run.lock has one page.
pages_of() { # FILE of the whole run
  echo $((($(wc -c <"$folder/whole/$1") + 4095) / 4096))
}
config_pages=$(pages_of config.resolved.yaml) metrics_pages=$(pages_of metrics.jsonl)
pages() { # N: a size of N pages
  echo "size=$((4 * $1))k"
}
change "$(pages $((1 + config_pages)))"
fails 1 "run/metrics.jsonl: cannot write: No space left on device" "${train[@]}"
fails 2 "run/config.resolved.yaml: cannot write the file: No space left on device" "${train[@]}" --resume
rm "$run/config.resolved.yaml"
change "$(pages $((2 + config_pages)))"
fails 3 "run/metrics.jsonl: cannot write: No space left on device" "${train[@]}" --resume
change "$(pages $((1 + metrics_pages + 2 * config_pages)))"
goes_on 2
cp "$run/metrics.jsonl" "$folder/metrics.jsonl"
rm "$run/config.resolved.yaml"
change "$(pages $((2 + metrics_pages + config_pages)))"
fails 2 "run/metrics.jsonl: cannot write the file: No space left on device" "${train[@]}" --resume
cmp "$folder/metrics.jsonl" "$run/metrics.jsonl" || fail "a full disk has changed metrics.jsonl"
change size=1m
goes_on 1

# ---- The disk is read-only

insert size=1m
new_run .
change ro
fails 3 "run/run.lock: cannot create the file: Read-only file system" "${train[@]}"
fails 2 "disk/new: cannot make the folder: Read-only file system" "${train[@]}" --set "output.directory=$disk/new"
change rw
fails_later() { # RANKS: the disk becomes read-only during the run
  local ranks=$1
  new_run checkpoints
  start "$ranks" "${train[@]}" --set training.epochs=400 --set output.checkpoint_steps=9
  wait_until 100 made 2 || fail "no checkpoint in 100 seconds"
  wait_until 60 change ro 2>/dev/null || fail "the disk does not become read-only"
  wait_until 60 gone "$mpirun" || fail "on $ranks ranks the run does not end when its disk becomes read-only"
  status=0
  wait "$mpirun" || status=$?
  [ "$status" -eq 1 ] || fail "on $ranks ranks, exit status $status instead of 1"
  [ "$(grep -c 'error: .*h5: cannot .*: Read-only file system; once' "$folder/err")" -eq 1 ] ||
    fail "on $ranks ranks no message, or more than one, of the read-only disk"
  grep -h '^gendistill: error: ' "$folder/err" | sed "s|$folder/||g; s/^gendistill: error/on $ranks ranks/"
  "$fixture" check "$disk"/*.h5 || fail "a checkpoint is damaged"
}
made() {
  [ "$(find "$disk" -name '*.h5' | wc -l)" -ge "$1" ] || gone "$mpirun"
}
insert size=100m
fails_later 2

# ---- Calls that fail in the middle of a file, among them each opening of a checkpoint: rank 0 opens it to empty it,
# to write it, by MPI, to reserve space and to sync it; another rank opens it too. The first argument is the program
# itself.

insert size=100m
real=$program
program=$folder/with-pid
faults=(
  "0 1 open /checkpoints/ 1 fail 30:Read-only file system"
  "0 0 open /checkpoints/ 2 fail 5:Input/output error"
  "0 1 open /checkpoints/ 3 fail 30:Read-only file system"
  "0 0 open /checkpoints/ 3 fail 122:Disk quota exceeded"
  "0 1 open /checkpoints/ 4 fail 30:Read-only file system"
  "0 1 open /checkpoints/ 5 fail 30:Read-only file system"
  "last 0 open /checkpoints/ 3 fail 30:Read-only file system"
  "0 2 write /checkpoints/ 30 fail 28:No space left on device"
  "0 1 write /checkpoints/ 200 full 5:Input/output error"
  "last 0 write /checkpoints/ 40 fail 122:Disk quota exceeded"
  "last 0 sync /checkpoints/ 2 fail 5:Input/output error"
  "0 3 sync /checkpoints/ 4 fail 28:No space left on device"
  "0 2 rename /checkpoints/ 1 fail 5:Input/output error"
  "0 3 unlink /checkpoints/ 1 fail 5:Input/output error"
  "0 0 write /samples/ 2 full 28:No space left on device"
  "last 0 write /pools/ 1 fail 28:No space left on device"
  "0 0 sync metrics.jsonl 2 fail 5:Input/output error"
  "0 0 sync config.resolved 1 fail 122:Disk quota exceeded"
)
# is_spared RANKS: whether the run ends well, as may be with another MPI than Open MPI, which makes other calls
is_spared() {
  [ "${GD_MPI_NAME:-openmpi}" != openmpi ] || return 1
  run "$1" "$real" "${train[@]}" --set output.keep=1
  [ "$status" -ne 0 ] || return 0
  rm -rf "$run"
  return 1
}
for fault in "${faults[@]}"; do
  ranks=$((1 + RANDOM % 2 * 2))
  case $fault in last*) ranks=$((ranks + 1)) ;; esac
  ranks=$(normally $ranks 2)
  rm -rf "$run"
  export GD_FAULT=${fault%:*}
  GD_FAULT=${GD_FAULT/last/$((ranks - 1))}
  is_spared "$ranks" || fails "$ranks" ": ${fault#*:}" "$real" "${train[@]}" --set output.keep=1
  unset GD_FAULT
done
program=$real
goes_on 2 --set output.keep=1

# ---- Other commands

runs=$folder/whole
checkpoint=$(find "$runs/checkpoints" -name '*.h5' | sort | tail -n 1)
sample=(sample --checkpoint "$checkpoint" --count 40 --output "$disk/s.h5" --grid "$disk/s.png")
insert size=16k
fails 2 "disk/s.h5: cannot reserve disk space: No space left on device" "${sample[@]}"
insert size=1m,nr_inodes=2
fails 3 "disk/s.png: cannot create the file: No space left on device" "${sample[@]}"
insert size=1m,ro
fails 1 "disk/s.h5: cannot create the file: Read-only file system" "${sample[@]}"

insert size=1m
succeeds 2 report "$runs" --output "$disk"
needed=$(du -sk "$disk" | cut -f 1)
step=$(normally 24 60)
for ((size = 4; size < needed; size += step)); do
  insert "size=${size}k"
  fails 2 "disk/" report "$runs" --output "$disk"
  while read -r name; do [ -s "$name" ] || fail "the report has printed the name of $name, but not written it"; done <"$folder/out"
done
insert size=1m,ro
fails 1 "disk/report.csv: cannot create the file: Read-only file system" report "$runs" --output "$disk"

write_network_a
insert size=100k
fails 2 "disk/a.h5: cannot reserve disk space: No space left on device" import --safetensors "$folder/a.safetensors" \
  --config "$folder/network_a.yaml" --output "$disk/a.h5"
fails 2 ": cannot reserve disk space: No space left on device" bench "$folder/run.yaml" --repeats 1 --directory "$disk"
[ -z "$(ls "$disk")" ] || fail "bench has left files behind"

small=(--set dataset.image_size=16 --set training.epochs=1 --set classifier.epochs=1 --set classifier.batch_size=16
  --set classifier.slots=2 --set solver.epochs=1 --set solver.batch_size=10)
succeeds 2 train "$folder/run.yaml" "${small[@]}" --set "output.directory=$folder/measured"
insert size=1m
fails 2 ": cannot reserve disk space: No space left on device" classifier "$folder/run.yaml" "${small[@]}" --set "evaluation.cache=$disk"
change ro
fails 3 "disk: cannot write to the folder: Read-only file system" classifier "$folder/run.yaml" "${small[@]}" \
  --set "evaluation.cache=$disk"
cp -r "$folder/measured/." "$folder/small"
succeeds 2 evaluate "$folder/small" --set "evaluation.cache=$folder/cache"
[ "$(grep -c '"event": "evaluation"' "$folder/small/metrics.jsonl")" -eq 3 ] || fail "not three evaluations"
insert size=100m
cp -r "$folder/measured/." "$folder/small/solver" "$disk"
change ro
fails 2 "disk/run.lock: cannot create the file: Read-only file system" evaluate "$disk" --set "evaluation.cache=$folder/cache"
change rw
dd if=/dev/zero of="$disk/full" bs=4096 2>/dev/null || true
fails 3 "disk/metrics.jsonl: cannot write the file: No space left on device" evaluate "$disk" --set "evaluation.cache=$folder/cache"
cmp "$folder/measured/metrics.jsonl" "$disk/metrics.jsonl" || fail "a full disk has changed metrics.jsonl"
rm "$disk/full" "$disk/solver/solver-task03.h5"
dd if=/dev/zero of="$disk/full" bs=4096 2>/dev/null || true
fails 2 "disk/solver/solver-task03.h5: cannot" evaluate "$disk" --set "evaluation.cache=$folder/cache"
rm "$disk/full"
succeeds 1 evaluate "$disk" --set "evaluation.cache=$folder/cache"
cmp <(grep evaluation "$folder/small/metrics.jsonl") <(grep evaluation "$disk/metrics.jsonl") || fail "other metrics than without faults"

# ---- Shared memory without room: each rank has a copy of the data set.
mount -t tmpfs -o size=1m none /dev/shm
succeeds 2 train "$folder/run.yaml" --dry-run
umount /dev/shm
has "$folder/err" "shared memory has room for 1.0 MiB in /dev/shm: each of its ranks holds a copy" "train --dry-run"

if "$program" --version >/dev/full 2>"$folder/err"; then fail "a full standard output gives no error"; fi
has "$folder/err" "standard output: cannot write: No space left on device" "gendistill --version >/dev/full"
