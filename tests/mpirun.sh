#!/bin/sh
# mpirun.sh RANKS PROGRAM [ARG ...]: runs a program with RANKS ranks on this machine, also as root and with fewer cores
# than ranks; one thread per rank unless OMP_NUM_THREADS is set. One rank runs without mpirun, whose start takes longer
# than most tests. GD_MPI_NAME is openmpi, if not set, or mpich. GD_EMULATOR runs programs of another kind of CPU, also
# mpirun.
# shellcheck disable=SC2086 # GD_EMULATOR is a command and its arguments, or nothing
ranks=$1
shift
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_base_warn_component_unused=0
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_mpi_yield_when_idle=1
export MPIR_CVAR_ENABLE_HEAVY_YIELD=1 MPIR_CVAR_POLLS_BEFORE_YIELD=10 # of MPICH
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OMP_WAIT_POLICY=passive
here=$(cd "$(dirname "$0")" && pwd)
export LSAN_OPTIONS="suppressions=$here/support/lsan.supp:print_suppressions=0"
if [ -n "${GD_VALGRIND:-}" ]; then # the folder for valgrind's reports
  openmpi=$(dirname "$(dirname "$(command -v mpirun)")")/share/openmpi/openmpi-valgrind.supp
  [ ! -f "$openmpi" ] || set -- --suppressions="$openmpi" "$@"
  export HWLOC_COMPONENTS=-x86 # does not work under valgrind and prints warnings
  # valgrind emulates fused multiply-adds one by one, which takes 80 % of the time: libraries run without them
  export ONEDNN_MAX_CPU_ISA=AVX OPENBLAS_CORETYPE=Sandybridge
  # blocks of at most 25 instructions: oneDNN's longest ones are too long for valgrind
  set -- valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
    --show-leak-kinds=definite --num-callers=40 --trace-children=yes --trace-children-skip="*gnuplot*" \
    --child-silent-after-fork=yes --vex-guest-max-insns=25 \
    --log-file="$GD_VALGRIND/%p" --suppressions="$here/support/valgrind.supp" "$@"
fi
set -- ${GD_EMULATOR:-} "$@"
# By default all processes started without mpirun share one folder for Open MPI's files, which the first to end removes.
[ "$ranks" -gt 1 ] ||
  exec env OMPI_MCA_ess_singleton_isolated=1 OMPI_MCA_orte_top_session_dir="${TMPDIR:-/tmp}/ompi-$$" "$@"
name=${GD_MPI_NAME:-openmpi}
mpirun=$(command -v "mpirun.$name") || mpirun=mpirun
case $name in
  openmpi)
    set -- -n "$ranks" "$@"
    # Open MPI 5 (to 5.0.7 at least) writes parts of long lines of stdout to stderr if it makes whole lines of them.
    ! command -v prterun >/dev/null || set -- --output :raw "$@"
    exec ${GD_EMULATOR:-} "$mpirun" --oversubscribe --bind-to none "$@"
    ;;
  *) exec ${GD_EMULATOR:-} "$mpirun" -bind-to none -n "$ranks" "$@" ;;
esac
