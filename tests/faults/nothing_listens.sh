#!/usr/bin/env bash
# nothing_listens.sh PROGRAM: while ranks run as threads, their process listens on no port: it has no
# socket at all.
set -u
program=$1
"$program" --schedule 1f1b --ranks 2 --microbatches 8 --model spin --steps 1000 --transport inproc \
  --set costs.forward=5 >/dev/null 2>&1 </dev/null &
process=$!
trap 'kill "$process"; wait "$process" 2>/dev/null' EXIT
for ((attempt = 0; attempt < 200; ++attempt)); do
  threads=$(grep -c . < <(ls "/proc/$process/task" 2>/dev/null))
  ((threads >= 3)) && break # the ranks are there
  sleep 0.05
done
((threads >= 3)) || { echo "no ranks came to life"; exit 1; }
sockets=$(ls -l "/proc/$process/fd" | grep -c 'socket:')
[[ $sockets == 0 ]] || { ls -l "/proc/$process/fd"; exit 1; }
