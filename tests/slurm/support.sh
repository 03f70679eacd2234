# Shared by the tests of the job scripts; sourced by tests/slurm/*.sh, which get the program and make_fixture as
# arguments. Adds to app/support.sh a cluster of two nodes and a folder with jobs/ to submit from. Status 77, with a
# message, where a cluster is not possible. The array $slurm_conf has further lines of slurm.conf.
# shellcheck shell=bash disable=SC2034,SC2154 # the tests read these variables, and set $slurm_conf
# shellcheck source=../app/support.sh
. "$(dirname "${BASH_SOURCE[0]}")/../app/support.sh"

cluster=$tests/slurm/cluster.sh
if ! missing=$("$cluster" available 2>&1); then
  echo "skipped: $missing"
  exit 77
fi

# When a test fails: also prints the output of the jobs, and what Slurm knows about them.
fail() {
  local file
  echo "FAILED: $*"
  for file in "$folder"/err "$folder"/*.log "$folder"/runs/*/logs/*.log "$GD_SLURM"/log/slurmctld.log; do
    [ -s "$file" ] || continue
    echo "--- $file:"
    tail -n 40 "$file"
  done
  echo "--- the jobs:"
  timeout 10 squeue --states=all --format='%i %j %T %r %M %N' || true
  exit 1
}

GD_SLURM=$(mktemp -d /tmp/gd-slurm-XXXXXX)
export GD_SLURM
trap '"$cluster" stop; rm -rf "$folder"' EXIT
"$cluster" start 2 "${slurm_conf[@]}" || fail "the cluster does not start"
eval "$("$cluster" env)"

# The program, with one line per rank in $RANKS: process id, rank, node, restarts of the job.
cat >"$folder/recorded" <<END
#!/bin/sh
echo "\$\$ \$PMIX_RANK \$(hostname) \${SLURM_RESTART_COUNT:-0}" >>"\$RANKS"
exec "$program" "\$@"
END
chmod +x "$folder/recorded"
export GENDISTILL="$folder/recorded" RANKS="$folder/ranks"
ln -s "$tests/../jobs" "$tests/../tools" "$folder"
cd "$folder" || exit

# within SECONDS COMMAND...: waits until the command succeeds; fails after SECONDS.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# tree JOBS PROGRAM: copies of the scripts and the program, at these paths.
tree() {
  mkdir -p "$folder/$1" "$folder/${2%/*}"
  cp "$tests"/../jobs/*.s* "$folder/$1"
  cp "$folder/recorded" "$folder/$2"
}

# submit NAME [SBATCH_OPTION...] SCRIPT [ARGUMENT...]: sets $job to the job's id; its output goes to NAME.log.
submit() {
  : >"$RANKS"
  : >"$folder/$1.log"
  job=$(sbatch --parsable --job-name="$1" --output="$folder/$1.log" "${@:2}") || fail "sbatch refuses: ${*:2}"
}

state() { # [JOB]: the states of all its tasks, or of all jobs
  squeue --noheader --states=all ${1:+--jobs="$1"} --format=%T | sort -u | paste -s -d ' '
}

ended() {
  [[ $(state "$1") =~ ^((COMPLETED|FAILED|CANCELLED|TIMEOUT|OUT_OF_MEMORY)\ ?)+$ ]]
}

exit_code() { # JOB
  scontrol show job "$1" | sed -n 's/.*ExitCode=\([0-9]*\).*/\1/p'
}

# completes SECONDS JOB
completes() {
  within "$1" ended "$2" || fail "job $2 does not end in $1 seconds: $(state "$2")"
  [ "$(state "$2")" = COMPLETED ] || fail "job $2 is $(state "$2"), its exit code $(exit_code "$2")"
}

logged() { # NAME TEXT [COUNT]
  [ "$(grep -cF -- "$2" "$folder/$1.log")" -ge "${3:-1}" ]
}

job_digest() { # NAME
  sed -n 's/^parameter digest: //p' "$folder/$1.log"
}

# Both ranks of the job run, after so many restarts of it.
ranks_are_there() { # RESTARTS
  [ "$(grep -c " $1\$" "$RANKS")" -eq 2 ]
}

# uninterrupted EPOCHS: a run on two ranks without Slurm; sets $digest and $milliseconds, its duration.
uninterrupted() {
  local start
  start=$(date +%s%N)
  rm -rf "$folder/uninterrupted"
  settings=(--set evaluation.samples=0 --set "training.epochs=$1")
  timeout 300 "$tests/mpirun.sh" 2 "$program" train "$folder/run.yaml" "${settings[@]}" \
    --set "output.directory=$folder/uninterrupted" >"$folder/out" 2>"$folder/err" || fail "the uninterrupted run has failed"
  milliseconds=$((($(date +%s%N) - start) / 1000000))
  digest=$(digest)
}

# uninterrupted_of SECONDS: the same, with a duration of about SECONDS on this machine; sets ${settings[@]} too. A
# machine that was busy at first may become faster, so a run that was too short is repeated with more epochs.
uninterrupted_of() {
  local epochs=60 wanted=$((1000 * $1))
  uninterrupted $epochs
  while [ "$milliseconds" -lt $((wanted * 9 / 10)) ]; do
    epochs=$((epochs * wanted / milliseconds))
    uninterrupted $epochs
  done
  echo "without Slurm: $milliseconds ms with ${settings[*]}"
}

# A run's metrics have each step once and in order.
steps_are_whole() { # DIRECTORY
  local n
  sed -n 's/.*"event": "step".*"global_step": \([0-9]*\).*/\1/p' "$1/metrics.jsonl" >"$folder/steps"
  n=$(grep -c '"event": "step"' "$folder/uninterrupted/metrics.jsonl")
  seq "$n" | cmp -s - "$folder/steps" || fail "$1/metrics.jsonl does not have the steps 1 to $n once each, in order"
}
