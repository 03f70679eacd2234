#!/usr/bin/env bash
# `cmake --install` gives a tree that works without the source, also after a move: the program with its manual page and
# completion, configurations, and the library for other programs, by CMake and by pkg-config. Further arguments: cmake,
# the build folder, the C compiler, the folders of the libraries outside of the system's, with colons between them.
set -eu
# shellcheck source=support.sh
. "$(dirname "$0")/support.sh"
cmake=$3 build=$4 compiler=$5 library_folders=$6
source=$(cd "$tests/.." && pwd)

"$cmake" --install "$build" --prefix "$folder/first" >"$folder/out" 2>"$folder/err" || fail "cmake --install"
mv "$folder/first" "$folder/tree"
tree=$folder/tree
program=$tree/bin/gendistill
unset LD_LIBRARY_PATH
cd "$folder" # relative paths of the source lead nowhere

# ---- The program finds its libraries; no file leads back to the source
runpath=$(readelf -d "$program" | sed -n 's/.*(R[A-Z]*PATH).*\[\(.*\)\]/\1/p')
IFS=: read -ra folders <<<"$library_folders"
for name in "${folders[@]}"; do
  case :$runpath: in *:"$name":*) ;; *) fail "the RPATH '$runpath' lacks $name" ;; esac
done
case $runpath in *"$build"*) fail "the RPATH '$runpath' has the build folder" ;; esac
! grep -rIF -e "$source" -e "$build" -e "$folder/first" "$tree" || fail "a file names source, build or prefix"

# ---- A run
write_config "$folder/run.yaml"
succeeds 2 train run.yaml --set training.epochs=1
succeeds 2 sample --checkpoint run/checkpoints/checkpoint-task03-step000003.h5 --count 3 --output more.h5
succeeds 1 info more.h5
has out "/images" "info"
succeeds 1 report run
has run/report/report.md "generative_distillation" "report.md"
succeeds 1 train "$tree/share/gendistill/configs/quickstart.yaml" --dry-run
for name in jobs/train.sbatch jobs/launch.sh jobs/sweep.sh tools/scaling; do
  [ -s "$tree/share/gendistill/$name" ] || fail "$name is not installed"
done
for name in README.md LICENSE CITATION.cff; do
  [ -s "$tree/share/doc/gendistill/$name" ] || fail "$name is not installed"
done

# ---- The manual page has every command with its options, and every key
page=$tree/share/man/man1/gendistill.1
succeeds 1 --help
sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' out >commands
[ "$(wc -l <commands)" -ge 12 ] || fail "--help names too few commands"
while read -r command; do
  grep -q "^\\\\fB$command\\\\fR" "$page" || fail "the manual page lacks $command"
done <commands
tr ' ' '\n' <out | grep -o '^\[*--[a-z-]*' | sed 's/^\[*//; s/-/\\-/g' | sort -u >options
while read -r option; do grep -qF -- "$option" "$page" || fail "the manual page lacks $option"; done <options
succeeds 1 config
n=$(sed -n '/^.SH CONF/,/^.SH EXIT/p' "$page" | grep -c '^.TP')
[ "$n" -eq "$(grep -c '#' out)" ] || fail "the manual page has $n keys, not those of the configuration"
if command -v groff >/dev/null; then
  groff -ww -man -Tutf8 "$page" >page.txt 2>err || fail "groff cannot format the manual page"
  [ ! -s err ] || fail "groff warns of the manual page"
fi

# ---- Completion
# shellcheck source=../../cmake/completion.bash
. "$tree/share/bash-completion/completions/gendistill"
# completes EXPECTED WORD...: the words behind the program's name, the last of them to be completed
completes() {
  local expected=$1
  shift
  COMP_WORDS=("$program" "$@") COMP_CWORD=$#
  _gendistill "$program" 2>err || true # compopt wants a key press
  [ "${COMPREPLY[*]-}" = "$expected" ] || fail "completion of '$*': '${COMPREPLY[*]-}' instead of '$expected'"
}
completes "train" tr
completes "--resume" train run.yaml --r
completes "--index --initial-noise" sample --in
completes "strategy.lambda=" train run.yaml --set strategy.la
completes "strategy.lambda=" evaluate run --set = strategy.la # bash splits --set=strategy.la
completes "" train run
completes "" train --set training.epochs = 2

# ---- Programs that use the library
mkdir user
cat >user/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.18)
project(user LANGUAGES C)
find_package(gendistill 0.1 REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE gendistill::gendistill)
END
cat >user/user.c <<'END'
#include <gendistill/comm.h>
#include <gendistill/config.h>
int main(int argc, char **argv) {
  gd_comm *comm;
  gd_config *config;
  gd_net *net;
  MPI_Init(&argc, &argv);
  gd_comm_create(&comm, MPI_COMM_WORLD);
  if (gd_config_read(&config, comm, argv[1], 0, NULL) != GD_OK) return 1;
  gd_model_create(&net, config);
  if (comm->rank == 0) printf("%d ranks, %lld parameters\n", comm->size, (long long)gd_net_params(net)->total);
  return MPI_Finalize();
}
END
parameters=$("$program" train run.yaml --dry-run 2>/dev/null | sed -n 's/^# parameters: //p')
# uses PROGRAM: it runs on two ranks and knows the network of run.yaml
uses() {
  program=$1 succeeds 2 run.yaml
  has out "2 ranks, $parameters parameters" "$1"
}
pkgconfig=$(dirname "$(find "$tree" -name gendistill.pc)")
"$cmake" -G Ninja -S user -B user/build -DCMAKE_PREFIX_PATH="$tree" -DCMAKE_C_COMPILER="$compiler" >out 2>err ||
  fail "find_package"
"$cmake" --build user/build >out 2>err || fail "a program with gendistill::gendistill"
uses user/build/user
read -ra flags <<<"$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs gendistill)"
"$compiler" -o user/by-pkg-config user/user.c "${flags[@]}" >out 2>err || fail "a program with pkg-config"
uses user/by-pkg-config
