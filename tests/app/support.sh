# Shared by the tests of the program; sourced by tests/app/test_*.sh, which get the program and make_fixture as
# arguments, some also a library to preload for faults. Makes a folder for the test, removed at the end.
# shellcheck shell=bash

export LC_ALL=C
program=$1
fixture=$2
export GD_FAULT_LIBRARY=${3:-}
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/gendistill-test-XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/tmp"
# killed ranks leave their shared memory behind: it must be in this folder
export TMPDIR="$folder/tmp" OMPI_MCA_btl_vader_backing_directory="$folder/tmp"
export OMPI_MCA_osc_sm_backing_directory="$folder/tmp"

fail() {
  echo "FAILED: $*"
  if [ -s "$folder/err" ]; then
    echo "--- the program's last lines on stderr:"
    tail -n 15 "$folder/err"
  fi
  exit 1
}

# normally A B: A, but B under valgrind, where a run takes 50 times as long, and far longer if ranks share a core.
normally() {
  if [ -z "${GD_VALGRIND:-}" ]; then echo "$1"; else echo "$2"; fi
}

# run RANKS ARGUMENT...: runs the program; leaves $status, and its output in $folder/out and $folder/err.
run() {
  local ranks=$1
  shift
  status=0
  timeout -k 5 $((100 * ${GD_PATIENCE:-1})) "$tests/mpirun.sh" "$ranks" "$program" "$@" >"$folder/out" 2>"$folder/err" </dev/null || status=$?
}

# succeeds RANKS ARGUMENT...
succeeds() {
  run "$@"
  [ "$status" -eq 0 ] || fail "on $1 ranks, exit status $status instead of 0: gendistill ${*:2}"
}

# refused STATUS TEXT RANKS ARGUMENT...: the program ends with STATUS and one error message, which contains TEXT.
refused() {
  local expected=$1 text=$2
  shift 2
  run "$@"
  [ "$status" -eq "$expected" ] || fail "on $1 ranks, exit status $status instead of $expected: gendistill ${*:2}"
  local n
  n=$(grep -c '^gendistill: .*error: ' "$folder/err" || true)
  [ "$n" -eq 1 ] || fail "on $1 ranks, $n error messages instead of one: gendistill ${*:2}"
  grep '^gendistill: error: ' "$folder/err" | grep -qF -- "$text" || fail "no '$text' in the message: gendistill ${*:2}"
}

# has FILE TEXT
has() {
  grep -qF -- "$2" "$1" || fail "no '$2' in the output of: $3"
}

# digest: prints the last parameter digest that `train` printed.
digest() {
  local text
  text=$(sed -n 's/^parameter digest: //p' "$folder/out")
  [ "${#text}" -eq 16 ] || fail "train printed no parameter digest"
  echo "$text"
}

# same_images FILE FILE: two sample sets have the same images.
same_images() {
  "$fixture" compare "$1" /images "$2" /images 0 || fail "images of $1 and $2 differ"
}

# write_config FILE: three tasks of 23 or 24 images, a batch size that no number of ranks divides, and a last batch
# smaller than the number of slots.
write_config() {
  "$fixture" idx "$folder/data" || fail "no data set"
  cat >"$1" <<END
seed: 7
dataset: {name: fashion_mnist, path: $folder/data, image_size: 8, horizontal_flip: true}
tasks: {order: [[0, 5], [2, 7], [4, 8]]}
model: {block_out_channels: [8, 16], layers_per_block: 1, attention: [false, true], attention_head_dim: 8,
        norm_num_groups: 4}
strategy: {name: generative_distillation, lambda: 0.75}
replay: {steps: 2, eta: 0.5, batch: 6}
training: {epochs: 2, batch_size: 10, slots: 4, ema_decay: 0.9}
evaluation: {samples: 70, steps: 3, eta: 0.5}
output: {directory: $folder/run, checkpoint_minutes: 0}
END
}

# write_network_a: the small network of the golden files, $folder/network_a.yaml, and its weights,
# $folder/a.safetensors.
write_network_a() {
  "$fixture" weights "$folder/a.safetensors" || fail "no weights"
  cat >"$folder/network_a.yaml" <<END
dataset: {name: fashion_mnist, image_size: 16}
model: {block_out_channels: [16, 16, 32], layers_per_block: 1, attention: [false, false, true], attention_head_dim: 8,
        norm_num_groups: 8}
END
}

# ---- A run in the background, to be killed or stopped.

# Runs a program with the faults of $GD_FAULT or $GD_MEMORY; writes its process id to $folder/pids.
cat >"$folder/with-pid" <<'END'
#!/bin/sh
echo $$ >>"$PID_FILE"
[ -z "${GD_FAULT:-}${GD_MEMORY:-}" ] || export LD_PRELOAD="$GD_FAULT_LIBRARY" ASAN_OPTIONS=verify_asan_link_order=0
exec "$@"
END
chmod +x "$folder/with-pid"
export PID_FILE="$folder/pids"

# mpi_without_shared_memory COMMAND...: for tests with full disks or small files, since MPI's shared memory is in files too.
mpi_without_shared_memory() {
  OMPI_MCA_btl=self,tcp UCX_TLS=self,tcp MPIR_CVAR_NOLOCAL=1 "$@"
}

# gone PID: there is no such process, or it is a zombie.
gone() {
  case $(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null) in '' | Z*) return 0 ;; *) return 1 ;; esac
}

# wait_until SECONDS COMMAND...: waits until the command succeeds; fails after SECONDS.
wait_until() {
  local end=$((SECONDS + $1 * ${GD_PATIENCE:-1}))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.01
  done
}

# lines_reached FILE COUNT: the file has COUNT lines, or the run has ended.
lines_reached() {
  local n
  n=$(grep -c '' "$1" 2>/dev/null || true)
  [ "${n:-0}" -ge "$2" ] || gone "$mpirun"
}

ranks_started() { # COUNT
  [ "$(grep -c '' "$PID_FILE" || true)" -ge "$1" ] || gone "$mpirun"
}

# start RANKS ARGUMENT...: starts the program in the background; sets $mpirun and, once all ranks have started, their
# process ids ${pids[@]}.
start() {
  local ranks=$1 in_time=0
  shift
  : >"$PID_FILE"
  # no `timeout`, whose process id would be in $mpirun; wait_until has the limit
  "$tests/mpirun.sh" "$ranks" "$folder/with-pid" "$program" "$@" >"$folder/out" 2>"$folder/err" </dev/null &
  mpirun=$!
  # the metrics of a resumed run already have lines at its start: wait for the ranks themselves
  wait_until 100 ranks_started "$ranks" || in_time=1
  # shellcheck disable=SC2034 # for the tests
  mapfile -t pids <"$PID_FILE"
  return $in_time
}

# all_gone: mpirun and the ranks of the run started last have ended.
all_gone() {
  local pid
  for pid in "$mpirun" "${pids[@]}"; do gone "$pid" || return 1; done
}

# kill_all: kills the whole run started last.
kill_all() {
  kill -9 "$mpirun" "${pids[@]}" 2>/dev/null || true
  wait "$mpirun" 2>/dev/null || true
  wait_until 20 all_gone || fail "processes do not end after SIGKILL: ${pids[*]}"
}

# same_run WHOLE OTHER: two finished runs have the same steps with the same losses, each once and in order, and the same
# sample sets; the second folder has no other files.
same_run() {
  local name
  steps() { sed -n 's/.*"event": "step".*\("global_step".*"gradient_norm": [^,]*\).*/\1/p' "$1/metrics.jsonl"; }
  cmp -s <(steps "$1") <(steps "$2") || fail "$2/metrics.jsonl does not have the steps and losses of $1, once each, in order"
  for name in "$1"/samples/*.h5; do same_images "$name" "$2/samples/${name##*/}"; done
  files() { find -L "$1" -type f ! -name 'checkpoint-task[0-9][0-9]-step[0-9][0-9][0-9][0-9][0-9][0-9].h5' -printf '%P\n' | sort; }
  cmp -s <(files "$1") <(files "$2") || fail "other files than in $1: $(comm -3 <(files "$1") <(files "$2"))"
}
