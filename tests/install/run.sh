#!/usr/bin/env bash
# Installs the build tree into a fresh prefix, builds the consumer project against it and runs it.
#   run.sh BUILD_DIR SOURCE_DIR CXX_FLAGS EXAMPLES_DIR HAS_MPI
# HAS_MPI is 1 where the build tree has the MPI transport, which must then be there to be found.
set -euo pipefail
build=$1 source=$2 flags=$3 examples=$4 has_mpi=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >/dev/null
cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_FLAGS="$flags" -DEXAMPLES="$examples" \
  -DOVER_MPI="$source/../runtime/mpi_c_api_test.c" >/dev/null
cmake --build "$work/build"
"$work/build/consumer"
"$work/build/own_stage"
"$work/build/own_stage_c"
if [[ $has_mpi == 1 ]]; then
  for threads in "" multiple; do # a program that leaves MPI to the transport, and one that does not
    "${MPIEXEC:-mpirun}" --oversubscribe -n 2 "$work/build/over_mpi" $threads
  done
fi

# The same without CMake.
export PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig:$(echo "$work"/prefix/lib/*/pkgconfig)
read -ra compile <<<"$(pkg-config --cflags dualpipe-runtime)"
read -ra link <<<"$(pkg-config --libs dualpipe-runtime)"
read -ra extra <<<"$flags"
cc -c "$examples/own_stage.c" "${compile[@]}" -o "$work/own_stage.o"
c++ "${extra[@]}" "$work/own_stage.o" "${link[@]}" -o "$work/own_stage"
"$work/own_stage"
"$work/prefix/bin/dualpipe-sim" --version
