#!/usr/bin/env bash
# mpi_fault.sh PROGRAM FAMILY FAULT CODE...: two processes under mpirun with one fault between them.
# CODE 0 expects the result of an undisturbed run on threads, to the last bit; another one that the
# job ends with it (or one of several) within half a minute, for the machine may be busy, saying
# which operation it was.
set -u
program=$1 family=$2 fault=$3
shift 3
job=(--schedule "$family" --microbatches 4 --model mlp --width 8 --layers 8 --microbatch-size 2
     --steps 2 --format json --verify --color never)
patience=30
[[ $1 == 0 ]] || patience=0.4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  cat "$work/result" "$work/errors"
  echo "$*"
  exit 1
}
# What a run has computed, without its times.
computed() {
  grep -oE '"(loss|max_gradient_difference)":(\[[^]]*\]|[^,]*)' "$1"
}

# Looking for leaks takes longer than all the rest; other tests of the transport do that.
export ASAN_OPTIONS=detect_leaks=0
begin=$SECONDS
"${MPIEXEC:-mpirun}" --oversubscribe -n 2 "$program" "${job[@]}" --op-timeout "$patience" \
  --transport fault:mpi --fault "$fault" --fault-seed 1 >"$work/result" 2>"$work/errors" </dev/null
status=$?
[[ " $* " == *" $status "* ]] || fail "expected exit code $*, got $status"
((SECONDS - begin <= 30)) || fail "took $((SECONDS - begin)) s"
if ((status == 0)); then
  "$program" "${job[@]}" --ranks 2 --transport inproc >"$work/undisturbed" 2>/dev/null </dev/null
  diff <(computed "$work/result") <(computed "$work/undisturbed") || fail "another result"
  grep -q '"max_gradient_difference":0.0,' "$work/result" || fail "other gradients"
else
  [[ ! -s $work/result ]] || fail "expected no result"
  grep -qE '(activation|gradient|replica|control) (of stage|[01]->)|is inside [0-9]|synchronize with' \
    "$work/errors" || fail "expected the name of an operation"
fi
