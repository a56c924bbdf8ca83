#!/usr/bin/env bash
# A sweep is the same bytes however it is worked out, and goes on where it was ended.
#   sweep.sh SIM COMMAND...      COMMAND: of the sweep to compare with one thread's; SIM, or mpirun .. SIM
set -euo pipefail
sim=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
points=(sweep dualpipe 1f1b chimera --vary ranks=3,8 --vary microbatches=16:76:6 --vary costs.p2p=0,0.1)
fail() {
  echo "$1"
  exit 1
}

"$sim" "${points[@]}" --jobs 1 -o expected.csv
"$@" "${points[@]}" --jobs 4 -o other.csv
cmp expected.csv other.csv

# Ends it with a signal once some rows are there, and goes on until none are missing.
end_with() {
  rm -f ended.csv
  "$@" "${points[@]}" -o ended.csv &
  while [[ ! -f ended.csv ]] || (($(wc -l <ended.csv) < 20)); do
    kill -0 $! 2>/dev/null || break
  done
  kill "-$signal" $! 2>/dev/null || true
  wait $! && status=0 || status=$?
  (($(wc -l <ended.csv) <= $(wc -l <expected.csv))) || fail "too many rows after SIG$signal"
  "$sim" "${points[@]}" -o ended.csv --resume
  cmp expected.csv ended.csv
}
signal=KILL
end_with "$sim"
((status == 137)) || fail "the sweep was over before it could be killed"
signal=TERM
end_with "$sim"
((status == 130)) || fail "expected exit 130 after SIGTERM, found $status"

# What a kill in the middle of a line leaves.
head -c 900 expected.csv >cut.csv
"$@" "${points[@]}" -o cut.csv --resume
cmp expected.csv cut.csv
