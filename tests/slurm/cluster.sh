#!/usr/bin/env bash
# A Slurm cluster for tests: munged, slurmctld and N slurmd on this machine. It has one folder and its own namespaces
# (processes, mounts, host names): nothing under /etc changes, and stop ends everything started in it. Needs root and
# the packages that `tools/setup --slurm` installs.
#
#   cluster.sh start [N] [KEY=VALUE...]
#                                N nodes (default 2) n1, n2, ... of two processors each; further lines of slurm.conf.
#                                TaskPlugin=task/cgroup limits the memory of jobs, on a kernel with control groups v1
#   cluster.sh stop              ends the cluster with its jobs and removes the folder
#   cluster.sh env               prints what a shell needs to submit jobs: eval "$(cluster.sh env)"
#   cluster.sh enter COMMAND...  runs a command in the cluster's namespaces, to end processes by their ids there
#   cluster.sh available         status 0, or says what is missing
#
# GD_SLURM names the folder (default: /tmp/gd-slurm); the paths of sockets limit it to 60 characters.
set -eu
export LC_ALL=C

folder=${GD_SLURM:-/tmp/gd-slurm}
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$folder/slurm.conf
group=/sys/fs/cgroup/memory/${folder##*/} # the control group of a cluster that limits memory

die() {
  echo "cluster.sh: $*" >&2
  exit 1
}

available() {
  local missing=() program
  for program in munged slurmctld slurmd srun sbatch; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  [ ${#missing[@]} -eq 0 ] || die "not installed: ${missing[*]} (tools/setup --slurm)"
  [ "$(id -u)" -eq 0 ] || die "needs root"
  unshare --pid --mount --uts --fork true 2>/dev/null || die "this machine does not allow namespaces"
}

# The first of N + 1 consecutive unused ports.
free_ports() {
  local first port
  for first in $(seq 21000 100 30900 | shuf); do
    for port in $(seq "$first" $((first + $1))); do
      if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
    done
    echo "$first"
    return
  done
  die "no free ports"
}

write_files() { # N [KEY=VALUE...]
  local n=$1 port i memory setting
  shift
  port=$(free_ports "$n")
  memory=$(awk '/^MemTotal/ {print int($2 / 1024 / 2)}' /proc/meminfo)
  mkdir -p "$folder"/{munge,state,log}
  chmod 755 "$folder" "$folder/munge"
  head -c 128 /dev/urandom >"$folder/munge/key"
  chmod 400 "$folder/munge/key"
  echo "127.0.0.1 localhost head" >"$folder/hosts"
  # With the default fence of Slurm's PMIx plugin, a few per cent of the MPI_Init calls on several nodes crash.
  echo "PMIxCollFence=ring" >"$folder/mpi.conf"
  # TmpFS: for files of each node's PMIx plugin. cred_expire: a requeued job waits that long before it runs again.
  cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=head(127.0.0.1)
SlurmctldPort=$port
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n/spool
TmpFS=$folder/%n/tmp
SlurmctldPidFile=$folder/state/slurmctld.pid
SlurmdPidFile=$folder/%n/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/%n.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=pmix
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
KillWait=10
MinJobAge=3600
ReturnToService=2
SlurmdParameters=config_overrides
END
  for i in $(seq "$n"); do
    mkdir -p "$folder/n$i/spool" "$folder/n$i/tmp"
    chmod 1777 "$folder/n$i/tmp"
    echo "127.0.0.1 n$i" >>"$folder/hosts"
    echo "NodeName=n$i NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=2 RealMemory=$memory" >>"$SLURM_CONF"
  done
  echo "PartitionName=main Nodes=ALL Default=YES DefaultTime=10" >>"$SLURM_CONF"
  for setting in "$@"; do
    sed -i "/^${setting%%=*}=/d" "$SLURM_CONF"
    echo "$setting" >>"$SLURM_CONF"
  done
  printf '%s\n' CgroupPlugin=cgroup/v1 ConstrainRAMSpace=yes >"$folder/cgroup.conf"
}

limits_memory() {
  grep -qs '^TaskPlugin=task/cgroup' "$SLURM_CONF"
}

# The first process of the namespaces: starts the daemons as its children and reaps processes that end.
inside() { # N
  local i
  hostname head
  mount --bind "$folder/hosts" /etc/hosts
  if limits_memory; then # the cluster sees its own group only
    umount /sys/fs/cgroup/memory
    mount -t cgroup -o memory memory /sys/fs/cgroup/memory
  fi
  munged --foreground --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --seed-file="$folder/munge/seed" --log-file="$folder/log/munged.log" &
  until [ -S "$folder/munge/socket" ]; do sleep 0.05; done
  slurmctld -D &
  for i in $(seq "$1"); do
    # ranks with the same host name would use shared memory
    # shellcheck disable=SC2016 # that is for sh
    unshare --uts --mount sh -c 'hostname "$1"; mount -t tmpfs -o mode=1777 tmpfs /dev/shm; exec slurmd -D -N "$1"' \
      sh "n$i" &
  done
  while [ -e "$SLURM_CONF" ]; do sleep 1; done # ends when the folder is removed
}

# The process id, outside the namespaces, of their first process.
first_process() {
  local parent
  parent=$(cat "$folder/unshare.pid" 2>/dev/null) || return 1
  grep -o '[0-9]*' "/proc/$parent/task/$parent/children" 2>/dev/null
}

gone() { # PROCESS_ID: there is no such process, or it is a zombie
  case $(sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null) in '' | Z*) return 0 ;; *) return 1 ;; esac
}

start() { # N [KEY=VALUE...]
  local n=$1 end in_group=()
  [[ $n =~ ^[1-9][0-9]?$ ]] || die "start: the number of nodes must be 1 to 99"
  [[ $folder =~ ^/[A-Za-z0-9._/-]+$ && ${#folder} -le 60 ]] || die "GD_SLURM: must be a short absolute path"
  available
  [ ! -e "$SLURM_CONF" ] || die "$folder holds a cluster already: cluster.sh stop"
  write_files "$@"
  if limits_memory; then
    mkdir "$group" || die "no control groups v1 for memory"
    # shellcheck disable=SC2016 # that is for sh
    in_group=(sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$group")
  fi
  # These variables would be passed on to every job.
  env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 GD_SLURM="$folder" setsid "${in_group[@]}" \
    unshare --cgroup --pid --mount --uts --mount-proc --fork --kill-child "$0" inside "$n" \
    >"$folder/log/daemons.log" 2>&1 </dev/null &
  echo $! >"$folder/unshare.pid"
  end=$((SECONDS + 30))
  until [ "$(timeout 5 sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | grep -c .)" -eq "$n" ]; do
    if [ $SECONDS -ge $end ]; then
      tail -n 10 "$folder"/log/*.log >&2
      stop
      die "not all of $n nodes came up in 30 seconds"
    fi
    sleep 0.1
  done
}

stop() {
  local process
  if process=$(first_process); then
    kill -9 "$process"
    until gone "$process"; do sleep 0.05; done
  fi
  rm -rf "$folder"
  while [ -d "$group" ]; do # busy until the kernel has removed the last process
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
  done
}

print_env() {
  [ -e "$SLURM_CONF" ] || die "no cluster in $folder: cluster.sh start"
  # one machine: ranks share its processors and reach each other through the loopback interface
  cat <<END
export SLURM_CONF=$SLURM_CONF
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
END
}

case ${1:-} in
  start) start "${2:-2}" "${@:3}" ;;
  stop) stop ;;
  env) print_env ;;
  enter)
    shift
    exec nsenter --target "$(first_process)" --pid --mount "$@"
    ;;
  available) available ;;
  inside) inside "$2" ;;
  *)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
