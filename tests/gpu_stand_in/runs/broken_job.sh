#!/usr/bin/env bash
# broken_job.sh PROGRAM SIGNAL CODE REGEX: four processes train over NCCL until one of them is sent
# the signal. The job ends within ten seconds of that with the code, stderr says what the regex
# wants, and no process is left.
set -u
program=$1 signal=$2 code=$3 regex=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=detect_leaks=0 work program signal

# Rank 1 is told to send itself the signal once a step has been done.
rank() {
  if [[ $OMPI_COMM_WORLD_RANK == 1 ]]; then
    self=$BASHPID
    (until grep -q 'step 1 of' "$work/errors"; do sleep 0.1 && kill -0 "$self" || exit; done
      date +%s >"$work/sent"
      kill -s "$signal" "$self") >/dev/null 2>&1 &
  fi
  exec "$program" --transport nccl --schedule dualpipe --microbatches 8 --model spin \
    --steps 100000 --op-timeout 2 --color never
}
export -f rank
"${MPIEXEC:-mpirun}" --oversubscribe -n 4 bash -c rank >/dev/null 2>"$work/errors" </dev/null
status=$?
end=$(date +%s)

fail() {
  cat "$work/errors"
  echo "$*"
  exit 1
}
[[ $status == "$code" ]] || fail "expected exit code $code, got $status"
grep -qE -- "$regex" "$work/errors" || fail "expected a line like '$regex'"
((end - $(<"$work/sent") <= 10)) || fail "took $((end - $(<"$work/sent"))) s to end"
# Every process of the job has this in its environment.
is_left() {
  local environment
  for environment in $(grep -lzsx "work=$work" /proc/[0-9]*/environ); do
    grep -qsa "${program##*/}" "${environment%/environ}/cmdline" && return 0
  done
  return 1
}
for _ in {1..20}; do
  is_left || exit 0
  sleep 0.1
done
fail "a process is left"
