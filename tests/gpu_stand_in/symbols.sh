#!/usr/bin/env bash
# symbols.sh DIRECTORY PROGRAM...: every function that the programs take from NVIDIA's libraries is
# in the stand-ins of the directory, under the same version. Prints those that are not.
set -euo pipefail
directory=$1
shift
# Name and version of what a file defines or asks for, without the mark of a default version.
symbols() { nm --dynamic "$@" | awk '{print $NF}' | sed 's/@@/@/' | sort -u; }
missing=$(comm -13 <(symbols --defined-only "$directory"/lib*.so.* | grep -v '^$') \
  <(symbols --undefined-only "$@" | grep -E '^(cuda|__cuda|nccl|cublas)'))
[[ -z $missing ]] || { echo "the stand-ins lack:" $missing; exit 1; }
