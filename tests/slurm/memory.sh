#!/usr/bin/env bash
# Jobs with a memory limit that Slurm enforces by control groups: one whose ranks need more is not requeued and says why,
# by srun and, for a rank on either node, by mpirun. With more memory the same job completes.
set -eu
if [ ! -e /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
  echo "skipped: no control groups v1 for memory"
  exit 77
fi
slurm_conf=(TaskPlugin=task/cgroup SelectTypeParameters=CR_Core_Memory)
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"

write_config "$folder/run.yaml"
nodes=(--nodes=2 --ntasks-per-node=1 --time=10)
large=(--set "model.block_out_channels=[128,384]" --set strategy.name=finetune --set "tasks.order=[[0,5]]"
  --set training.epochs=1 --set evaluation.samples=0)

# lacks NAME: the job ends for lack of memory, started once.
lacks() {
  submit "$1" "${nodes[@]}" --mem=300 jobs/train.sbatch run.yaml "${large[@]}" --set "output.directory=$1"
  within 90 ended "$job" || fail "a job without enough memory does not end: $(state "$job")"
  [[ $(state "$job") =~ ^(FAILED|OUT_OF_MEMORY)$ ]] || fail "without enough memory the job is $(state "$job")"
  logged "$1" "killed for lack of memory" || fail "the log does not tell why the job has ended"
  logged "$1" "not requeued. Ask for more (--mem)" || fail "the log does not tell what to do"
  ! logged "$1" "requeued, to go on" || fail "the job was requeued"
  [ "$(awk '{print $4}' "$RANKS" | paste -s -d ' ')" = "0 0" ] || fail "the ranks were not started once: $(cat "$RANKS")"
}

lacks srun
submit enough "${nodes[@]}" --mem=2000 jobs/train.sbatch run.yaml "${large[@]}" --set output.directory=enough
completes 120 "$job"

export LAUNCHER=mpirun LAUNCH_OPTIONS="--bind-to none"
lacks mpirun
# one rank alone, of a program whose other rank waits for it
for node in n1 n2; do
  cat >eats <<END
#!/bin/sh
echo "\$\$ \$PMIX_RANK \$(hostname) \${SLURM_RESTART_COUNT:-0}" >>"\$RANKS"
[ "\$(hostname)" = $node ] || exec sleep 60
exec dd if=/dev/zero of=/dev/null bs=1000M count=1
END
  chmod +x eats
  GENDISTILL=$folder/eats lacks "mpirun-$node"
done
