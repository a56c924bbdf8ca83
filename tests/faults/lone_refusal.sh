#!/usr/bin/env bash
# lone_refusal.sh PROGRAM: what a rank of a job under mpirun refuses before it trains is told: where
# that is one rank alone, under its name; where it is every rank, once. At once, not when the
# others' patience with the missing rank ends.
set -u
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=detect_leaks=0
there=$work/there.toml missing=$work/missing.toml
echo '[pipeline]' >"$there"

# expect CODE LINE CONFIG_OF_RANK_0 CONFIG_OF_RANK_1
expect() {
  local code=$1 line=$2 begin=$SECONDS status lines
  local job=("$program" --schedule 1f1b --microbatches 4 --model mlp --steps 2 --color never)
  "${MPIEXEC:-mpirun}" --oversubscribe -n 1 "${job[@]}" --config "$3" : \
    -n 1 "${job[@]}" --config "$4" >"$work/output" 2>&1 </dev/null
  status=$?
  lines=$(grep -cF "cannot read '$missing'" "$work/output")
  grep -qF "$line" "$work/output" && [[ $status == "$code" && $lines == 1 ]] &&
    ((SECONDS - begin <= 20)) && return
  cat "$work/output"
  echo "expected exit code $code and one line '$line'; got $status, $lines of them, in" \
    "$((SECONDS - begin)) s"
  exit 1
}
expect 5 "rank 1: cannot read '$missing'" "$there" "$missing"
expect 5 "cannot read '$missing'" "$missing" "$there"
expect 5 "cannot read '$missing'" "$missing" "$missing"
