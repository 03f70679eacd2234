#!/usr/bin/env bash
# A node: warnings where threads do not fit its cores, how idle threads wait, one copy of the data set for all ranks or,
# without room for it, one for each; hints to MPI-IO.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
small=(train "$folder/run.yaml" --set training.epochs=1)
cores=$(env -u OMP_NUM_THREADS nproc)

warnings() { # TEXT: how many of them
  grep -c "warn: node .*$1" "$folder/err" || true
}

# ---- Ranks times threads, and cores.
OMP_NUM_THREADS=$cores succeeds 2 "${small[@]}" --dry-run
[ "$(warnings "ranks: 2, OpenMP threads: $((2 * cores)), cores: .*slow each other down: ")" -eq 1 ] ||
  fail "no warning of $((2 * cores)) threads on $cores cores"
OMP_NUM_THREADS=1 succeeds $((cores + 1)) --version
[ "$(warnings "")" -eq 0 ] || fail "a warning from a command that does not compute"
several=2 # CPUs that are two cores for certain; with simultaneous multithreading more
[ "$(cat /sys/devices/system/cpu/smt/active 2>/dev/null || echo 0)" = 0 ] || several=16
if [ "$cores" -ge "$several" ]; then
  OMP_NUM_THREADS=1 succeeds 1 "${small[@]}" --dry-run
  [ "$(warnings "ranks: 1, OpenMP threads: 1, cores: .*unused: set OMP_NUM_THREADS=")" -eq 1 ] ||
    fail "no warning of unused cores"
  first=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
  OMP_NUM_THREADS=1 taskset -c "$first" "$tests/mpirun.sh" 1 "$program" "${small[@]}" --dry-run >"$folder/out" \
    2>"$folder/err"
  [ "$(warnings "")" -eq 0 ] || fail "a warning of one thread on the only core"
fi

# ---- How idle threads wait: as OpenMP does it unless the ranks have more threads than the node has CPUs.
spin_count() { # RANKS THREADS [NAME=VALUE]: of GNU's OpenMP; several if the program has started itself anew
  OMP_NUM_THREADS=$2 OMP_DISPLAY_ENV=verbose "$tests/mpirun.sh" "$1" env -u OMP_WAIT_POLICY "${@:3}" \
    "$program" --version 2>&1 |
    sed -n "s/.*GOMP_SPINCOUNT = '\(.*\)'.*/\1/p" | sort -n | head -n 1
}
if [ -n "$(spin_count 1 1)" ]; then
  [ "$(spin_count 2 "$cores")" = 0 ] || [ "$cores" -eq 1 ] || fail "idle threads of 2 ranks with $cores threads spin"
  [ "$(spin_count 1 "$cores")" != 0 ] || fail "idle threads do not spin on a node of their own"
  [ "$(spin_count 2 "$cores" OMP_WAIT_POLICY=active)" != 0 ] || fail "OMP_WAIT_POLICY is not the user's"
fi

# ---- One data set per node, or one per rank where there is no room to share it.
succeeds 2 "${small[@]}" --set "output.directory=$folder/shared"
expected=$(digest)
cat >"$folder/limited" <<'END'
#!/bin/sh
ulimit -f 10000
exec "$@"
END
chmod +x "$folder/limited"
mpi_without_shared_memory "$tests/mpirun.sh" 2 "$folder/limited" "$program" "${small[@]}" \
  --set "output.directory=$folder/copies" >"$folder/out" 2>"$folder/err" || fail "a run without room for shared memory ends with status $?"
# without shared memory MPICH takes ranks for those of several nodes
[ "${GD_MPI_NAME:-openmpi}" = mpich ] || [ "$(warnings "MiB within the limit of file size (ulimit -f): each of its ranks holds a copy")" -eq 1 ] ||
  fail "no warning that the ranks have copies of the data set"
[ "$(digest)" = "$expected" ] || fail "copies of the data set give another digest"

# ---- Hints to MPI-IO may change when a run is resumed; they change no bit.
hints=(--set "output.mpi_hints={cb_nodes: 2, no_such_hint: 1}")
succeeds 2 "${small[@]}" "${hints[@]}" --set "output.directory=$folder/hinted" --log-level debug
[ "$(digest)" = "$expected" ] || fail "hints to MPI-IO give another digest"
has "$folder/err" "hint cb_nodes=2: MPI " "train with hints"
has "$folder/err" "hint no_such_hint=1: MPI " "train with hints"
succeeds 2 "${small[@]}" --set "output.directory=$folder/hinted" --resume
has "$folder/err" 'output.mpi_hints: {"cb_nodes": "2", "no_such_hint": "1"} becomes {}' "train --resume without hints"
