#!/usr/bin/env bash
# overlap.sh PROGRAM: a run over NCCL whose kernels and messages take their time. In its trace a forward
# and a backward that are a pair take less than the two of them, for they have a stream each; and
# messages are under way while both their ends compute, for they have streams of their own.
set -u
program=$1 message_us=100000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=detect_leaks=0 STAND_IN_KERNEL_US=20000 STAND_IN_MESSAGE_US=$message_us
fail() {
  cat "$work"/*
  echo "$*"
  exit 1
}
"$program" --transport nccl --schedule dualpipe --ranks 2 --microbatches 4 --steps 1 --model gpt --layers 2 \
  --width 8 --sequence-length 4 --microbatch-size 1 --trace "$work/trace" >"$work/words" 2>&1 || fail "ended with $?"

# A message takes at least so long once both ends have come. A rank that is idle for less than that,
# between its send and when the receiver has it, computes while it is under way.
tr -d '"' <"$work/trace" | awk -v least=$((message_us * 1000)) '
  function idle(rank, from, to, slot, left) {
    left = to - from
    for (slot = 0; slot < slots[rank]; ++slot) {
      begin = begins[rank, slot] > from ? begins[rank, slot] : from
      end = ends[rank, slot] < to ? ends[rank, slot] : to
      if (end > begin) left -= end - begin
    }
    return left
  }
  function shorter(kind, time) { if (!(kind in shortest) || time < shortest[kind]) shortest[kind] = time }
  /^ranks:/ { part = "ranks"; next }
  /^transfers:/ { part = "transfers"; next }
  /^[a-z_]+:/ { part = ""; next }
  part == "ranks" {
    rank = ranks + 0
    ++ranks
    count = split($0, piece, /\],\[/)
    for (i = 1; i <= count; ++i) {
      gsub(/[][]/, "", piece[i])
      split(piece[i], field, ",")
      begins[rank, i - 1] = field[2]
      ends[rank, i - 1] = field[3]
      kind = field[1] ~ /OVERLAP/ ? "pair" : field[1] ~ /F/ ? "F" : field[1] ~ /B/ ? "B" : "half"
      shorter(kind, field[3] - field[2])
    }
    slots[rank] = count
  }
  part == "transfers" {
    gsub(/[][]/, "")
    split($0, field, ",")
    ++messages
    if (idle(field[4], field[6], field[7]) < least && idle(field[5], field[6], field[7]) < least) ++beside
  }
  END {
    printf "forward %.1f ms, backward %.1f ms, pair %.1f ms; %d of %d messages under way while both ends compute\n",
           shortest["F"] / 1e6, shortest["B"] / 1e6, shortest["pair"] / 1e6, beside, messages
    exit !(shortest["pair"] < 0.85 * (shortest["F"] + shortest["B"]) && beside > 0 && messages == 8)
  }' || fail "nothing overlaps"
