#!/usr/bin/env bash
# The study of projection. ITS CLUSTER RESULTS ARE SIMULATIONS, made with SimGrid's SMPI from times measured on this
# machine; only what validation.md calls "measured" ran for real. Run it on a quiet machine of at least two cores,
# from the top folder of gendistill, with SimGrid there (tools/setup --simulate):
#
#   jobs/studies/projection/run.sh [STAGE]...        bench validate project plot; all of them by default
#
# Leaves in runs/projection: PRECISION-IMAGESxRANKS.json (bench), machine.txt (ping-pong), validation.md,
# projection.csv, breaks.md, projection.png. GENDISTILL names another program than build/release/gendistill; PRECISION
# (bfloat16) is that of the projection, MAX_NODES (1024) its end.
set -eu
export LC_ALL=C

# shellcheck source-path=SCRIPTDIR source=../../program.sh
. jobs/program.sh
precision=${PRECISION:-bfloat16}
max_nodes=${MAX_NODES:-1024}
results=runs/projection
tools=tools/projection
build=build/projection
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1

# Assumptions of the projection: speed of a node relative to the core measured here, and the storage hosts.
fast_node="speed=32 memory=8"
measured_node="speed=1 memory=1"
targets=8
checkpoint_seconds=600

value() { # KEY LINE: of a line of KEY=VALUE
  grep -o "\b$1=[^ ]*" <<<"$2" | cut -d = -f 2
}

number() { # KEY FILE: of a bench's JSON
  sed -n "s/^ *\"$1\": \([^,]*\),*$/\1/p" "$2"
}

# ---- Bench: real runs

bench_one() { # PRECISION IMAGES RANKS ARGUMENT...
  local name=$results/$1-$2x$3 precision=$1 images=$2 ranks=$3
  shift 3
  mpirun --bind-to none -n "$ranks" "${gendistill[@]}" bench configs/fashion_mnist_paper.yaml --directory "$results" \
    --set "training.batch_size=$((images * ranks))" --set "training.slots=$ranks" \
    --set "training.precision=$precision" "$@" >"$name.json" 2>"$name.txt"
  echo "measured: $precision, $images per rank, $ranks ranks: $(number gd_step_images_per_second "$name.json") images/s"
}

# Each pair one after the other, so that other work of the machine affects both alike.
bench() {
  local pair
  rm -rf "$results/parts"
  mpirun --bind-to none -n 2 "$build/pingpong" >"$results/machine.txt"
  cat "$results/machine.txt"
  for pair in "bfloat16 64" "float32 64" "bfloat16 4"; do
    # shellcheck disable=SC2086 # two words
    bench_one $pair 1 --profile
    # shellcheck disable=SC2086
    bench_one $pair 2
  done
}

# ---- Validation: the same two ranks, simulated

# The core's own copies, and additions as fast as they are while both ranks add.
pair() { # PROFILE KEY=VALUE...
  local machine profile=$1
  shift
  machine=$(cat "$results/machine.txt")
  "$tools/simulate" "$build/step" "$results/pair.xml" 2 "$profile" "copy_rate=$(value exchange "$machine")" \
    "add_rate=$(value add_alone "$machine")" "$@"
}

row() { # PRECISION IMAGES WHAT MEASURED SIMULATED: times in seconds
  awk -v OFS=' | ' -v p="$1" -v n="$2" -v what="$3" -v real="$4" -v simulated="$5" 'BEGIN {
    print "| " p, n, what, sprintf("%.4g", 1e3 * real), sprintf("%.4g", 1e3 * simulated),
      sprintf("%+.1f %% |", 100 * (simulated / real - 1)) }'
}

validate_pair() { # PRECISION IMAGES MEMORY
  local one=$results/$1-$2x1.json two=$results/$1-$2x2.json line after real
  line=$(pair "$one" "memory=$3")
  after=$(pair "$one" "memory=$3" reduction=tree-after)
  real=$(awk -v n=$((2 * $2)) -v rate="$(number gd_step_images_per_second "$two")" 'BEGIN { print n / rate }')
  row "$1" "$2" "step" "$real" "$(value step "$line")"
  row "$1" "$2" "reduction by itself" "$(number reduction_seconds "$two")" "$(value reduction "$after")"
  row "$1" "$2" "visible reduction" "$(number visible_reduction_seconds "$two")" "$(value reduction "$line")"
}

validate() {
  local machine memory
  machine=$(cat "$results/machine.txt")
  memory=$(awk -v a="$(value add_alone "$machine")" -v b="$(value add_both "$machine")" \
    'BEGIN { print b < a ? b / a : 1 }')
  "$tools/platform" pair "$(awk -v s="$(value latency "$machine")" 'BEGIN { print 1e6 * s }')" >"$results/pair.xml"
  {
    echo "| precision | images per rank | of two ranks | measured, ms | simulated, ms | error |"
    echo "| --- | --- | --- | --- | --- | --- |"
    validate_pair bfloat16 64 "$memory"
    validate_pair float32 64 "$memory"
    validate_pair bfloat16 4 "$memory"
  } >"$results/validation.md"
  cat "$results/validation.md"
}

# ---- Projection: simulations only

# Runs one simulation and writes a line of the CSV. Without overlap the length of the buckets changed the step by less
# than 0.1 % (tried on 16 and 64 nodes), so there long buckets save time from 256 nodes on. With overlap it matters, so
# `tree` always has the program's own length.
project_one() { # FILE GBITS NODE VARIANT NODES
  local program=$build/step reduction=$4 line
  case $4 in
    tree-long) program=$build/step_long reduction=tree ;;
    tree-after) [ "$5" -lt 256 ] || program=$build/step_long ;;
  esac
  # shellcheck disable=SC2086 # the node's settings are words
  line=$("$tools/simulate" "$program" "$results/tree-$2.xml" "$5" "$results/$precision-64x1.json" $3 \
    "targets=$targets" "add_rate=$(value add_alone "$(cat "$results/machine.txt")")" "reduction=$reduction")
  awk -v OFS=, -v p="$precision" -v node="$3" -v gbits="$2" -v what="$4" -v n="$5" -v t="$(value step "$line")" \
    -v alone="$(value alone "$line")" -v wait="$(value reduction "$line")" -v save="$(value checkpoint "$line")" \
    -v every="$checkpoint_seconds" 'BEGIN {
      split(node, key, /[ =]/)
      print p, key[2], key[4], gbits, what, n, t, alone, wait, alone / t, n * 64 / t, save, save / every }' >"$1.new"
  mv "$1.new" "$1"
}

# An interrupted projection goes on where it was.
project() {
  local gbits node variant nodes jobs=() job parts=$results/parts
  mkdir -p "$parts"
  for ((nodes = 2; nodes <= max_nodes; nodes *= 2)); do
    for gbits in 25 100 200; do
      for node in "$fast_node" "$measured_node"; do
        for variant in tree tree-long tree-after blocking; do
          job=$(printf '%s/%s-%03d-%s-%04d' "$parts" "${node%% *}" "$gbits" "$variant" "$nodes")
          # minutes each, for nodes that hide nearly all messages
          if [ "$node" = "$measured_node" ] && { [ "$nodes" -gt 256 ] || [ "$variant" = tree-long ]; }; then continue; fi
          [ -s "$job" ] || jobs+=("$job" "$gbits" "$node" "$variant" "$nodes")
        done
      done
    done
  done
  for gbits in 25 100 200; do "$tools/platform" tree "$gbits" >"$results/tree-$gbits.xml"; done
  echo "simulating $((${#jobs[@]} / 5)) steps"
  [ ${#jobs[@]} -eq 0 ] || printf '%s\0' "${jobs[@]}" | xargs -0 -n 5 -P "$(env -u OMP_NUM_THREADS nproc)" "$0" one
  {
    echo "precision,node_speed,node_memory,gbits,reduction,nodes,step_seconds,step_alone_seconds,\
visible_reduction_seconds,efficiency,images_per_second,checkpoint_seconds,checkpoint_share"
    cat "$parts"/*[0-9]
  } >"$results/projection.csv"
}

# ---- Tables and plot

# The largest count from which on, counted from 2, every one is above 90 %.
breaks() {
  awk -F, -v OFS=' | ' 'NR > 1 {
      key = $2 OFS $4 OFS $5
      if (!(key in last)) { order[++m] = key; last[key] = 1; holds[key] = 1 }
      if ($10 <= 0.9) holds[key] = 0
      if (holds[key]) last[key] = $6
      end[key] = 100 * $10; n[key] = $6
    }
    END {
      print "| node speed | Gbit/s | reduction | last above 90 % | efficiency at the largest node count simulated |"
      print "| --- | --- | --- | --- | --- |"
      for (i = 1; i <= m; i++)
        print "| " order[i], (last[order[i]] > 1 ? last[order[i]] : "none"),
          sprintf("%.1f %% at %d |", end[order[i]], n[order[i]])
    }' "$results/projection.csv" >"$results/breaks.md"
}

plot() {
  breaks
  cat "$results/breaks.md"
  LC_ALL=C.UTF-8 gnuplot -e "csv = '$results/projection.csv'; picture = '$results/projection.png'" \
    jobs/studies/projection/projection.gp
}

if [ "${1:-}" = one ]; then # by project
  shift
  project_one "$@"
  exit
fi
mkdir -p "$results"
"$tools/build" "$build"
[ $# -gt 0 ] || set -- bench validate project plot
for stage in "$@"; do
  case $stage in
    bench | validate | project | plot) "$stage" ;;
    *) sed -n '2,/^set/{s/^# \{0,1\}//;/^set/d;p}' "$0" >&2; exit 2 ;;
  esac
done
