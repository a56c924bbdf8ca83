#!/usr/bin/env bash
# Installs the build tree into a fresh prefix, builds the consumer project against it and runs it.
#   run.sh BUILD_DIR SOURCE_DIR CXX_FLAGS
set -euo pipefail
build=$1 source=$2 flags=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" >/dev/null
cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_FLAGS="$flags" >/dev/null
cmake --build "$work/build"
"$work/build/consumer"
"$work/prefix/bin/dualpipe-sim" --version
