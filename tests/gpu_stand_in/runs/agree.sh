#!/usr/bin/env bash
# agree.sh PROGRAM RANKS JOB...: the job on RANKS processes over NCCL gives the same gradients as
# without a pipeline, to the last bit; the same losses as on threads that share GPUs, to the last
# bit; and the losses of processors to one part in ten thousand, for those add in another order.
set -u
program=$1 ranks=$2
shift 2
job=("$@" --steps 2 --format json --color never)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  cat "$work"/*
  echo "$*"
  exit 1
}
run() { "$@" "${job[@]}" >"$work/result" 2>"$work/errors" </dev/null || fail "ended with $?: $*"; }
losses() { grep -oE '"loss":\[[^]]*\]' "$work/result"; }
verified() { grep -q '"max_gradient_difference":0.0,' "$work/result"; }

# Other tests look for leaks.
export ASAN_OPTIONS=detect_leaks=0
run "${MPIEXEC:-mpirun}" --oversubscribe -n "$ranks" "$program" --transport nccl --verify
verified || fail "over NCCL: other gradients than without a pipeline"
over_nccl=$(losses)
[[ -n $over_nccl ]] || fail "no losses"
run "$program" --transport cuda-inproc --ranks "$ranks" --verify
verified || fail "on threads: other gradients than without a pipeline"
[[ $(losses) == "$over_nccl" ]] || fail "on threads: other losses than $over_nccl"
cp "$work/result" "$work/on_threads"
run "$program" --transport inproc --ranks "$ranks"
difference=$("$(dirname "$0")/../../support/near_losses.sh" "$work/on_threads" "$work/result" 1e-4) ||
  fail "on processors: $difference"
