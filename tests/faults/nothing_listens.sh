#!/usr/bin/env bash
# nothing_listens.sh PROGRAM [mpi]: no rank listens on a port while it trains. As threads, their
# process has no socket at all; as two processes under mpirun, with the flags that docs/failures.md
# names, none that listens - which some do without the flags, or this looks in the wrong place.
set -u
program=$1 way=${2:-inproc}
job=(--schedule 1f1b --microbatches 8 --model spin --steps 100000 --set costs.forward=5)
work=$(mktemp -d)
processes=()
launched=

clear_up() {
  [[ -z $launched ]] || kill "$launched" 2>/dev/null
  wait 2>/dev/null
  rm -rf "$work"
}
trap clear_up EXIT
fail() {
  echo "$*"
  exit 1
}

# The inodes of the sockets of a process; of those that listen, of the whole host.
sockets_of() {
  ls -l "/proc/$1/fd" 2>/dev/null | sed -nE 's/.*socket:\[([0-9]+)\]/\1/p' | sort
}
listening() {
  awk '$4 == "0A" { print $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | sort
}
# How many sockets of the ranks listen.
listening_ranks() {
  local process
  for process in "${processes[@]}"; do
    comm -12 <(sockets_of "$process") <(listening)
  done | wc -l
}

# launch COMMAND...: returns when the first step is done.
launch() {
  local attempt
  "$@" >"$work/output" 2>&1 </dev/null &
  launched=$!
  for ((attempt = 0; attempt < 600; ++attempt)); do
    grep -q 'step 1 of' "$work/output" && break
    sleep 0.05
  done
  processes=("$launched")
  [[ $way == inproc ]] || mapfile -t processes < <(pgrep -P "$launched")
  grep -q 'step 1 of' "$work/output" && return
  cat "$work/output"
  fail "no ranks came to life"
}
end() {
  kill "$launched"
  wait "$launched" 2>/dev/null
  launched=
}

if [[ $way == inproc ]]; then
  launch "$program" "${job[@]}" --ranks 2 --transport inproc
  [[ -z $(sockets_of "${processes[0]}") ]] || fail "sockets: $(ls -l "/proc/${processes[0]}/fd")"
  exit 0
fi
mpirun=("${MPIEXEC:-mpirun}" --oversubscribe -n 2)
launch "${mpirun[@]}" --mca btl self,vader --mca oob_tcp_if_include lo "$program" "${job[@]}"
((${#processes[@]} == 2)) || fail "expected two ranks, found ${processes[*]}"
[[ $(listening_ranks) == 0 ]] || fail "$(listening_ranks) sockets of the ranks listen"
end
launch "${mpirun[@]}" --mca btl self,vader,tcp "$program" "${job[@]}"
(($(listening_ranks) > 0)) || fail "expected ranks with the TCP transport to listen"
end
