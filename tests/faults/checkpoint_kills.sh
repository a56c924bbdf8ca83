#!/usr/bin/env bash
# checkpoint_kills.sh PROGRAM KILLS MPI_EVERY: trains with a checkpoint after every step, kills the
# run at KILLS random moments - the process of the threads, or, every MPI_EVERY times, one of two processes
# under mpirun - resumes each time, and expects the end that an undisturbed run has, to the last bit.
set -u
program=$1 kills=$2 mpi_every=$3
RANDOM=20240917  # the same moments in every run, as far as the machine lets them
steps=100000
job=(--schedule dualpipe --ranks 2 --microbatches 4 --model mlp --width 8 --layers 4
     --microbatch-size 2 --color never --checkpoint-every 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=detect_leaks=0

fail() {
  tail -n 20 "$work/log"
  echo "$*"
  exit 1
}
newest() {
  find "$work/disturbed" -name manifest.json 2>/dev/null | grep -oE 'step-[0-9]+' | sort | tail -n 1
}
# Starts a run that goes on from where the last one was killed; its process to kill in `victim`.
start() {
  if (($1 % mpi_every == 0)); then
    "${MPIEXEC:-mpirun}" --oversubscribe -n 2 "$program" "${job[@]}" --transport mpi \
      --steps "$steps" --checkpoint "$work/disturbed" --resume >"$work/log" 2>&1 </dev/null &
    launcher=$!
    victim=
    for ((wait = 0; wait < 200; ++wait)); do
      victim=$(pgrep -P "$launcher" | sed -n "$((RANDOM % 2 + 1))p")
      [[ -z $victim ]] || break
      sleep 0.02
    done
  else
    "$program" "${job[@]}" --transport inproc --steps "$steps" --checkpoint "$work/disturbed" \
      --resume >"$work/log" 2>&1 </dev/null &
    launcher=$! victim=$!
  fi
}

progressed=0
for ((kill = 1; kill <= kills; ++kill)); do
  before=$(newest)
  start "$kill"
  [[ -n $victim ]] || fail "no process to kill"
  # One in four at any moment from the start on; the others while checkpoints are being written.
  if ((RANDOM % 4 > 0)); then
    for ((wait = 0; wait < 1000; ++wait)); do
      [[ $(newest) == "$before" ]] || break
      sleep 0.02
    done
  fi
  sleep "0.$(printf '%03d' $((RANDOM % 300)))"
  kill -9 "$victim" 2>/dev/null || fail "the run had ended by itself"
  wait "$launcher" 2>/dev/null
  status=$?
  ((status == 137)) || fail "expected exit code 137 of a killed run, got $status"
  [[ $(newest) == "$before" ]] || ((++progressed))
done
((progressed > kills / 3)) || fail "only $progressed of $kills runs came to a checkpoint"

last=$(newest)
steps=$((10#${last#step-} + 3))
for run in disturbed undisturbed; do
  "$program" "${job[@]}" --transport inproc --steps "$steps" --checkpoint "$work/$run" --resume \
    >"$work/log" 2>&1 </dev/null || fail "the $run run failed"
done
end=$(printf 'step-%08d' "$steps")
diff -r "$work/disturbed/$end" "$work/undisturbed/$end" || fail "another end"
echo "$kills kills, $progressed with progress, $steps steps"
