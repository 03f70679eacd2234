#!/usr/bin/env bash
# Submits a sweep to Slurm: one run for each combination of values, its metrics, and a report on all of them, as jobs
# that wait for one another:
#
#   jobs/sweep.sh NAME CONFIG [KEY=V1,V2,...]... [-- SBATCH_OPTION...]
#
# classifier (if there are several runs) -> array: train -> array: evaluate -> report. Without values there is one run.
# KEY is a key of the configuration; a single value is a setting of all runs; if a KEY is given again, its last values
# count. Commas within brackets belong to a value. The SBATCH_OPTIONs (nodes, ranks, threads, time limit) are those of
# each run; the report takes one rank. Output, in the current folder:
#
#   runs/NAME/KEY=V-KEY=V       a run, named after the values that differ; runs/NAME/run if there is only one
#   runs/NAME/report            the report
#   runs/NAME/logs/STAGE-I.log  output of the I-th run
#
# More runs than Slurm's MaxArraySize allows in an array become several arrays, all of them in front of the report; the
# logs are STAGE-1-I.log of the first, STAGE-2-I.log of the second.
#
# Submitted again, the sweep goes on with what is not done. If a job fails, those that wait for it are cancelled.
# launch.sh lists the environment variables that choose program and launcher.
set -eu

usage="usage: jobs/sweep.sh NAME CONFIG [KEY=V1,V2,...]... [-- SBATCH_OPTION...]"
die() {
  echo "sweep: $*" >&2
  exit 2
}

# split VALUES: at the commas outside of brackets, into the array $values.
split() {
  local text=$1 value='' depth=0 i c
  values=()
  for ((i = 0; i < ${#text}; i++)); do
    c=${text:i:1}
    case $c in
      '[') depth=$((depth + 1)) ;;
      ']') depth=$((depth - 1)) ;;
    esac
    if [ "$c" = , ] && [ $depth -eq 0 ]; then
      values+=("$value")
      value=
    else
      value+=$c
    fi
  done
  values+=("$value")
}

# ---- The command line: $name, $config, the values of each key, $options for sbatch

[ $# -ge 2 ] || die "$usage"
name=$1 config=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=slurm.sh
. "$here/slurm.sh"
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] || die "'$name': a sweep's name has letters, digits and . _ -"
[ -f "$config" ] || die "$config: no such configuration file"
declare -A values_of=()
keys=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  [[ $1 =~ ^[a-z_.0-9]+=. ]] || die "'$1': must be KEY=VALUE[,VALUE...]"
  key=${1%%=*}
  split "${1#*=}"
  for value in "${values[@]}"; do [ -n "$value" ] || die "'$1': an empty value"; done
  [ "$key" != output.directory ] || die "output.directory: a sweep names its folders itself"
  [ -n "${values_of[$key]:-}" ] || keys+=("$key")
  values_of[$key]=${1#*=}
  shift
done
shift $(($# > 0))
options=("$@")
command -v sbatch >/dev/null || die "no sbatch here: is this a machine with Slurm?"
if slurm squeue --noheader --user="$(id -un)" --format='%Z %j' |
  grep -qxF -e "$PWD $name-train" -e "$PWD $name-evaluate" -e "$PWD $name-report"; then
  die "$name is in the queue already: two jobs would write to one folder"
fi

# ---- The runs: a folder's name, and a line of settings with tabs between them

folders=('')
settings=('')
for key in "${keys[@]}"; do
  split "${values_of[$key]}"
  longer_folders=() longer_settings=()
  for i in "${!settings[@]}"; do
    for value in "${values[@]}"; do
      folder=${folders[i]}
      [ ${#values[@]} -eq 1 ] || folder+=${folder:+-}$key=${value//[^A-Za-z0-9.+-]/_}
      longer_folders+=("$folder")
      longer_settings+=("${settings[i]}"$'\t--set\t'"$key=$value")
    done
  done
  folders=("${longer_folders[@]}") settings=("${longer_settings[@]}")
done
n=${#folders[@]}
same=$(printf '%s\n' "${folders[@]}" | sort | uniq -d)
[ -z "$same" ] || die "two runs would have the name ${same%%$'\n'*}"

runs=()
train=()
evaluate=()
for i in "${!folders[@]}"; do
  run=runs/$name/${folders[i]:-run}
  runs+=("$run")
  train+=("train"$'\t'"$config"$'\t--resume'"${settings[i]}"$'\t--set\t'"output.directory=$run")
  evaluate+=("evaluate"$'\t'"$run")
done

# ---- The jobs

# The largest index of an array is below MaxArraySize, by default 1001.
most=$(slurm scontrol show config | sed -n 's/^MaxArraySize *= *//p')
most=$((${most:-1001} - 1))
[ $most -gt 0 ] || die "this Slurm allows no job arrays (MaxArraySize)"

submitted=()
# submit STAGE LOG [SBATCH_OPTION...] -- LINE...: appends the job's id to $submitted, and says so.
submit() {
  local stage=$1 log=$2 id own=()
  shift 2
  while [ "$1" != -- ]; do
    own+=("$1")
    shift
  done
  shift
  # SBATCH_ARRAY_INX would make an array of each job
  if ! id=$(env -u SBATCH_ARRAY_INX -u SBATCH_WAIT sbatch --parsable --kill-on-invalid-dep=yes \
    --job-name="$name-$stage" --output="runs/$name/logs/$log.log" "${options[@]}" "${own[@]}" \
    "$here/array.sbatch" "$here" "$@"); then
    [ ${#submitted[@]} -eq 0 ] || scancel "${submitted[@]}"
    echo "sweep: the $stage job was not accepted; nothing is left submitted" >&2
    exit 1
  fi
  submitted+=("${id%%;*}")
  printf '  job %-8s %-10s %s\n' "${id%%;*}" "$stage" "$( ((${#own[@]} > 0)) && echo "${own[*]}")"
}

mkdir -p "runs/$name/logs"
echo "$name: $config, runs: $n"
after=()
if [ "$n" -gt 1 ]; then
  submit classifier classifier -- "classifier"$'\t'"$config${settings[0]}"
  after=("--dependency=afterok:${submitted[-1]}")
fi
evaluated=
for ((first = 0; first < n; first += most)); do
  array=--array=1-$((n - first < most ? n - first : most))
  index=%a
  [ "$n" -le $most ] || index=$((first / most + 1))-%a
  submit train "train-$index" "$array" "${after[@]}" -- "${train[@]:first:most}"
  submit evaluate "evaluate-$index" "$array" "--dependency=aftercorr:${submitted[-1]}" -- "${evaluate[@]:first:most}"
  evaluated+=:${submitted[-1]}
done
submit report report --nodes=1 --ntasks=1 --ntasks-per-node=1 "--dependency=afterok$evaluated" -- \
  report "${runs[@]}" --output "runs/$name/report"
printf '  run %s\n' "${runs[@]}"
echo "  logs in runs/$name/logs, at the end runs/$name/report/report.md"
