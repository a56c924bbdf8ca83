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
run "$program" --transport inproc --ranks "$ranks"
numbers() { tr -c '0-9.e+\n-' ' ' <<<"${1#*:}"; }
paste <(numbers "$over_nccl") <(numbers "$(losses)") |
  awk '{ half = NF / 2
         for (i = 1; i <= half; ++i) {
           difference = $i - $(i + half)
           if (difference < 0) difference = -difference
           if (difference > 1e-4 * $i) bad = 1
         } }
       END { exit bad }' || fail "on processors: losses far from $over_nccl"
